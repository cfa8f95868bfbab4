"""A server that comes back with another model is never used for the old one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.demo.fixture import Fixture, ensure
from gateway.demo.fleet import EYES
from tests.real.conftest import Client, ClientFor, Start, until
from tests.real.content import chat, error, image, said
from tests.real.servers import RealServer

pytestmark = pytest.mark.real

ONE_NAME = {"gemma": {"targets": [{"backend": "one"}]}}


async def swap(server: RealServer, fixture: Fixture, alias: str, cache: Any) -> None:
    """The server is gone, and another model answers at its address."""
    model, mmproj = ensure(fixture, cache)
    server.kill()
    server.serve_instead(model=model, mmproj=mmproj, alias=alias)
    await server.restart()


async def becomes(client: Client, state: str, within: float) -> None:
    async def it_is() -> bool:
        return any(t["state"] == state for t in await targets(client, "gemma"))

    await until(it_is, within)


async def down(client: Client) -> bool:
    return (await client.gateway.metrics()).sum("gateway_target_state", backend="one", state="down") > 0


async def targets(client: Client, name: str) -> list[dict[str, Any]]:
    card = (await client.http.get(f"/v1/models/{name}")).json()
    found: list[dict[str, Any]] = card["gateway"]["targets"]
    return found


async def test_noticed_by_the_prober(start: Start, client_for: ClientFor, cache: Any):
    one = start("one")
    client = await client_for({"one": one}, models=ONE_NAME, timeouts={"liveness": 0.3, "probe": 1.0})
    assert (await client.post(chat("gemma"))).headers["x-gateway-target"] == "one/one"
    one.kill()
    await until(lambda: down(client), 3)
    await swap(one, EYES, "another", cache)
    await becomes(client, "mismatch", 3)

    got = await client.post(chat("gemma"))
    assert (got.status_code, error(got.content)["code"]) == (503, "no_healthy_backend")
    assert "another model" in error(got.content)["message"]
    [target] = await targets(client, "gemma")
    assert "it now serves another, not one" in target["detail"]
    assert (await client.gateway.metrics()).sum("gateway_target_state", backend="one", state="mismatch") == 1
    assert any(line["event"] == "mismatch" for line in client.gateway.log_lines)

    found = await client.post(chat("another", [image()]))
    assert (found.status_code, found.headers["x-gateway-target"]) == (200, "one/another"), (
        "under its own name it serves"
    )
    assert found.json()["choices"][0]["message"]["content"] == EYES.reply
    explained = (await client.explain(chat("gemma"))).json()
    assert explained["chosen"] is None and explained["error"]["status"] == 503


async def test_and_the_right_one_is_used_again(start: Start, client_for: ClientFor, cache: Any):
    one = start("one")
    was = one.about
    client = await client_for({"one": one}, models=ONE_NAME, timeouts={"liveness": 0.3, "probe": 1.0})
    await swap(one, EYES, "another", cache)
    await client.post(chat("gemma"))  # the answer tells, and is not shown
    await becomes(client, "mismatch", 3)
    one.kill()
    await until(lambda: down(client), 3)
    one.about = was
    await one.restart()
    await becomes(client, "ready", 3)
    got = await client.post(chat("gemma"))
    assert (got.status_code, got.headers["x-gateway-target"]) == (200, "one/one")


async def test_and_at_once(start: Start, client_for: ClientFor, cache: Any):
    """Between two looks at its health, which is never bad: nothing but its identity tells that it is back."""
    one = start("one")
    was = one.about
    client = await client_for({"one": one}, models=ONE_NAME, timeouts={"liveness": 1.0, "probe": 1.0})
    await swap(one, EYES, "another", cache)
    await client.post(chat("gemma"))
    await becomes(client, "mismatch", 3)
    one.kill()
    one.about = was
    await one.restart()
    await becomes(client, "ready", 2.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_swapped_before_anybody_looked(start: Start, client_for: ClientFor, cache: Any, stream: bool):
    """llama.cpp answers for any name: what tells is the name in its answer."""
    one = start("one")
    client = await client_for({"one": one}, models=ONE_NAME, timeouts={"liveness": 60.0, "facts": 60.0})
    assert (await client.post(chat("gemma"))).status_code == 200
    await swap(one, EYES, "another", cache)
    for _ in range(3):
        got = await client.post(chat("gemma", stream=stream))
        assert got.status_code == 503, "never an answer of the other model"
        assert "[fixture]" not in got.text
    await becomes(client, "mismatch", 2)


async def test_swapped_and_another_target_has_the_model(start: Start, client_for: ClientFor, cache: Any):
    one, two = start("one"), start("two")
    names = {"gemma": {"targets": [{"backend": "one"}, {"backend": "two"}]}}
    client = await client_for({"one": one, "two": two}, models=names, timeouts={"liveness": 60.0, "facts": 60.0})
    body = chat("gemma", stream=True, gateway={"prefer": [{"backend": "one"}]})
    assert (await client.post(body)).headers["x-gateway-target"] == "one/one"
    await swap(one, EYES, "another", cache)
    got = await client.post(body)
    assert (got.status_code, got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == (
        200,
        "two/two",
        "2",
    )
    assert said(got.content).startswith("[fixture] I heard")


async def test_a_model_that_is_named_in_the_configuration(start: Start, client_for: ClientFor):
    """A server that never had it: its own model is served under its own name, the configured one is not."""
    one = start("one")
    names = {"gemma": {"targets": [{"backend": "one", "model": "gemma-4-e4b"}]}}
    client = await client_for({"one": one}, models=names)
    got = await client.post(chat("gemma"))
    assert (got.status_code, error(got.content)["code"]) == (503, "no_healthy_backend")
    assert (await client.post(chat("one"))).status_code == 200
    assert (await client.post(chat("auto"))).headers["x-gateway-target"] == "one/one"
