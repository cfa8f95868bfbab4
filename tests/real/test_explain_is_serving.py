"""What `POST /v1/route/explain` says is what serving does: the same target, receipt, dropped fields, or the same error.

One gateway over the real fleet, whose servers stand in its configuration several times with different facts, so that
every reason to refuse a target occurs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gateway.demo.fixture import ensure
from gateway.demo.fleet import EARS, Server, free_ports
from tests.real.conftest import Client, RealFleet, backend, until
from tests.real.content import CITY, CLOCK, WEATHER, audio, chat, dropped, endless, error, image, receipt, text, video
from tests.real.servers import RealServer

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def dead(cache: Path) -> Iterator[RealServer]:
    """A server that is there when the gateway starts, and then is not."""
    model, _ = ensure(EARS, cache)
    server = RealServer(Server("dead", model, "dead", free_ports(1)[0]), cache / "dead.log")
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def client(client: Client, dead: RealServer) -> Client:
    if dead.alive:
        dead.kill()
        await client.post(chat("gone"))

        async def down() -> bool:
            return await client.state("dead") == "down"

        await until(down, 3)
    return client


@pytest.fixture(scope="module")
def settings(fleet: RealFleet, dead: RealServer) -> dict[str, Any]:
    ears, eyes = fleet.servers["ears"], fleet.servers["eyes"]
    dull = {"tools": False, "thinking": False, "json_schema": "ignored", "choices": 1, "logprobs": False, "seed": False}
    return {
        "listen": "127.0.0.1:0",
        "auth": "none",
        "backends": {
            **fleet.backends(),
            "deaf": backend(ears, facts={"audio": False}),
            "small": backend(eyes, facts={"context": 400, "image_limit": 1}),
            "dull": backend(ears, facts=dull, hardware="old"),
            "hosted": {"kind": "openai", "url": eyes.url, "local": False, "facts": {"image": True, "audio": True}},
            "dead": backend(dead),
        },
        "models": {
            "all": {"aliases": ["gpt-4o", "claude-*"], "targets": _targets("ears", "eyes", "deaf", "small", "dull")},
            "pair": {"targets": _targets("ears", "eyes")},
            "thinker": {"targets": _targets("dull"), "thinking": "on", "defaults": {"temperature": 0.5}},
            "away": {"targets": _targets("hosted")},
            "half": {"targets": _targets("dead", "small")},
            "gone": {"targets": _targets("dead")},
        },
        "routes": [
            {"match": {"modality": ["audio"]}, "prefer": [{"backend": "ears"}]},
            {"match": {"model": ["all"], "tools": True}, "prefer": [{"backend": "eyes"}]},
            {"match": {"hardware": ["old"]}, "require": {"hardware": ["old"]}},
        ],
    }  # fmt: skip


def _targets(*names: str) -> list[dict[str, Any]]:
    return [{"backend": name} for name in names]


async def same(client: Client, body: Any, **headers: str) -> str | None:
    """Asks both, while nothing else is under way, and compares. Returns the target, None for an error."""
    await client.gateway.settled()
    explained = await client.explain(body, **headers)
    served = await client.post(body, **headers)
    assert "x-gateway-target" not in explained.headers
    if explained.status_code != 200:  # the request itself is at fault
        assert (served.status_code, error(served.content)) == (explained.status_code, error(explained.content))
        return None
    told = explained.json()
    if told["error"] is not None:
        assert told["chosen"] is None
        found = error(served.content)
        got = {"status": served.status_code, **{k: found[k] for k in ("code", "message", "param")}}
        assert got == {k: told["error"][k] for k in got}
        assert "x-gateway-target" not in served.headers
        return None
    if served.status_code != 200:
        # What only a server knows: how long a prompt with media is (then the others that fit are tried, too), and all
        # that a kind of which little is known may refuse.
        standing = {c["target"]: c["verdict"] for c in told["candidates"]}
        tried: str = served.headers["x-gateway-target"]
        assert standing[tried] in ("chosen", "fits")
        code = error(served.content)["code"]
        if served.status_code == 502:  # whatever is demanded, a stand-in says its sentence where no server enforces it
            assert code in ("schema_not_satisfied", "tool_choice_not_satisfied"), served.text
            return tried
        assert served.status_code == 400, served.text
        if not tried.startswith("hosted/"):
            assert code == "context_length_exceeded" and "modalities" in told["needs"]
        return tried
    assert served.headers["x-gateway-target"] == told["chosen"]
    assert receipt(served.headers) == told["parts"]
    assert dropped(served.headers) == told["dropped"]
    assert "server_error" not in served.text
    chosen: str = told["chosen"]
    return chosen


# ---- a table ---------------------------------------------------------------------------------------------------------

REQUIRED = {"tools": [WEATHER], "tool_choice": "required"}
BETWEEN = "a b " * 300
"""1,200 bytes: too long for `small` by a count, which the bounds alone don't tell."""

NOBODY = [None]
ALL = {"require_parameters": True}
EITHER = ["ears/fixture-ears", "eyes/fixture-eyes"]
SEE = ["eyes/fixture-eyes", "small/fixture-eyes"]
"""A hash decides between targets that are equal."""

TABLE: dict[str, tuple[Any, Sequence[str | None]]] = {
    "text": (chat("pair", max_tokens=4), EITHER),
    "image": (chat("all", [text(), image()]), SEE),
    "audio": (chat("all", [text(), audio()]), ["ears/fixture-ears"]),
    "audio, by a glob": (chat("claude-x[1m]"[:8], [text(), audio()]), ["ears/fixture-ears"]),
    "image and audio": (chat("all", [image(), audio()]), NOBODY),
    "two images": (chat("half", [image(), image()]), NOBODY),
    "one image": (chat("half", [image()]), ["small/fixture-eyes"]),
    "tools": (chat("all", **REQUIRED), ["eyes/fixture-eyes"]),
    "tools elsewhere": (chat("gpt-4o", **REQUIRED), ["eyes/fixture-eyes"]),
    "tools of a model that has none": (chat("thinker", **REQUIRED), NOBODY),
    "schema": (chat("pair", response_format=CITY), EITHER),
    "schema ignored": (chat("thinker", response_format=CITY), NOBODY),
    "tools and schema": (chat("pair", response_format=CITY, **REQUIRED), NOBODY),
    "two choices": (chat("pair", n=2), EITHER),
    "three choices": (chat("all", n=3), NOBODY),
    "too long for one": (chat("half", BETWEEN), NOBODY),
    "perhaps too long for one of two": (chat("all", [text(BETWEEN), image()]), SEE),  # nobody counts media
    "too long for all": (chat("all", "hello " * 5000), NOBODY),
    "too long for all by count": (chat("pair", "a b " * 2500), NOBODY),
    "unknown model": (chat("nobody"), NOBODY),
    "unknown fields": (chat("pair", a_field=1, user="me", **{"odd name": 1}), EITHER),
    "seed of a model that has none": (chat("thinker", seed=1), ["dull/fixture-ears"]),
    "hosted": (chat("away"), ["hosted/fixture-eyes"]),
    "a picture to a hosted one": (chat("away", [image()]), ["hosted/fixture-eyes"]),
    "sound to a hosted one": (chat("away", [audio()]), NOBODY),
    "down": (chat("gone"), NOBODY),
    "require a backend": (chat("all", gateway={"require": {"backend": "deaf"}}), ["deaf/fixture-ears"]),
    "require what nobody is": (chat("all", gateway={"require": {"kind": "vllm"}}), NOBODY),
    "require what can't take it": (chat("all", [audio()], gateway={"require": {"backend": ["deaf", "small"]}}), NOBODY),
    "require nonsense": (chat("all", gateway={"require": {"nonsense": "x"}}), NOBODY),
    "prefer": (chat("all", gateway={"prefer": [{"backend": "dull"}]}), ["dull/fixture-ears"]),
    "prefer what can't take it": (chat("all", [image()], gateway={"prefer": [{"backend": "dull"}]}), SEE),
    "provider": (chat("all", provider={"only": ["deaf", "dull"], "order": ["dull"]}), ["dull/fixture-ears"]),
    "a seed that one takes": (chat("all", seed=1, provider={**ALL, "order": ["dull", "deaf"]}), ["deaf/fixture-ears"]),
    "a seed for one that has none": (chat("thinker", seed=1, provider=ALL), NOBODY),
    "a label that nobody gets": (chat("pair", user="me", provider=ALL), NOBODY),
    "defaults that one does not get": (chat("thinker", provider=ALL), ["dull/fixture-ears"]),
    "strict parts": (chat("all", [text(), image()], gateway={"parts": "strict"}), SEE),
    "a field of a part": (chat("pair", [{**text(), "cache_control": {}}], gateway={"parts": "strict"}), NOBODY),
    "logprobs in a stream with tools": (chat("pair", stream=True, logprobs=True, **REQUIRED), NOBODY),
    "a grammar": (chat("pair", grammar='root ::= "yes"'), EITHER),
    "a grammar where none is": (chat("away", grammar='root ::= "yes"'), NOBODY),
    "a URL": (chat("pair", [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]), NOBODY),
    "sound out": (chat("pair", modalities=["text", "audio"]), NOBODY),
    "a document": (chat("pair", [{"type": "file", "file": {"file_data": "JVBERi0x", "filename": "a.pdf"}}]), NOBODY),
    "broken": ({"model": "pair", "messages": "hello"}, NOBODY),
    "no model": ({"messages": []}, NOBODY),
    "not an object": ([], NOBODY),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
async def test_table(client: Client, case: str):
    body, target = TABLE[case]
    assert await same(client, body) in target


async def test_video(client: Client, needs_ffmpeg: None):
    assert await same(client, chat("pair", [text(), video()])) == "eyes/fixture-eyes"


async def test_the_text_model(client: Client, text_model: str):
    assert await same(client, chat("auto", "Hi", max_tokens=2)) == f"text/{text_model}"
    assert await same(client, chat("auto", "Hi", max_tokens=2, stream=True, top_k=3)) == f"text/{text_model}"
    assert await same(client, chat(text_model, [image()])) is None


async def test_options_in_the_header(client: Client):
    options = json.dumps({"require": {"backend": "deaf"}})
    assert await same(client, chat("all"), **{"x-gateway-options": options}) == "deaf/fixture-ears"
    assert await same(client, chat("all"), **{"x-gateway-options": "{"}) is None


async def test_where_a_request_would_wait(client: Client, fleet: RealFleet):
    """All at their limit: explain names the one to wait for, and there it is served when its turn comes."""
    body = chat("all", gateway={"require": {"backend": "deaf"}})
    busy = endless("all", 2_500, stream=True, gateway={"require": {"backend": "deaf"}})
    path = "/v1/chat/completions"
    async with client.http.stream("POST", path, json=busy) as one, client.http.stream("POST", path, json=busy) as two:
        readers = [asyncio.create_task(s.aread()) for s in (one, two)]
        told = (await client.explain(body)).json()
        served = await client.post(body)
        await asyncio.gather(*readers)
    assert [c["verdict"] for c in told["candidates"] if c["target"] == "deaf/fixture-ears"] == ["busy"]
    assert told["chosen"] == served.headers["x-gateway-target"] == "deaf/fixture-ears"


async def test_nothing_is_generated(client: Client, fleet: RealFleet):
    before = [(await s.counters())["tokens_predicted_total"] for s in fleet.servers.values()]
    asked = (await client.gateway.settled()).labels("gateway_requests_total", "operation")
    for body in (chat("all", [image()]), chat("pair", **REQUIRED), chat("all", [text(BETWEEN), image()])):
        assert (await client.explain(body)).json()["chosen"]
    assert [(await s.counters())["tokens_predicted_total"] for s in fleet.servers.values()] == before
    now = (await client.gateway.settled()).labels("gateway_requests_total", "operation")
    assert now == {**asked, "explain": asked.get("explain", 0) + 3}


async def test_what_the_configuration_adds_to_a_request(client: Client):
    """`thinker` thinks unless told otherwise, and its target can't: that is dropped, and both say so."""
    assert await same(client, chat("thinker")) == "dull/fixture-ears"
    assert (await client.explain(chat("thinker"))).json()["dropped"] == ["thinking"]
    assert (await client.explain(chat("thinker", reasoning_effort="none"))).json()["dropped"] == []


# ---- anything --------------------------------------------------------------------------------------------------------

PARTS = st.lists(st.sampled_from(["text", "text", "image", "audio", "refusal"]), min_size=1, max_size=4)
SOME: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.booleans(),
    "n": st.integers(1, 3),
    "logprobs": st.booleans(),
    "seed": st.integers(0, 9),
    "stop": st.sampled_from(["x", ["a", "b"]]),
    "temperature": st.sampled_from([0, 1, 2, 3]),
    "top_k": st.integers(1, 3),
    "user": st.just("me"),
    "metadata": st.just({"a": "b"}),
    "store": st.booleans(),
    "a_new_field": st.integers(),
    "reasoning_effort": st.sampled_from(["none", "low", "high", "wrong"]),
    "chat_template_kwargs": st.just({"a": 1}),
    "parallel_tool_calls": st.booleans(),
    "grammar": st.just('root ::= "yes"'),
    "guided_regex": st.just("a"),
    "stream_options": st.just({"include_usage": True}),
    "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}, CITY, {"type": "wrong"}]),
    "provider": st.sampled_from([{"order": ["deaf"]}, {"only": ["eyes", "dead"]}, {"sort": "price"}]),
    "gateway": st.fixed_dictionaries(
        {},
        optional={
            "require": st.fixed_dictionaries(
                {},
                optional={
                    "backend": st.sampled_from(["ears", ["small", "dull"], "dead"]),
                    "kind": st.sampled_from(["llamacpp", "openai"]),
                    "hardware": st.just("old"),
                    "local": st.booleans(),
                },
            ),
            "prefer": st.lists(
                st.sampled_from([{"backend": "deaf"}, {"kind": "llamacpp"}, {"hardware": "old"}]), max_size=2
            ),
        },
    ),
}  # fmt: skip
TOOLS = st.sampled_from(
    [
        {},
        {"tools": []},
        {"tools": [WEATHER]},
        {"tools": [WEATHER, CLOCK], "tool_choice": "none"},
        {"tools": [WEATHER, CLOCK], "tool_choice": "required"},
        {"tools": [WEATHER, CLOCK], "tool_choice": {"type": "function", "function": {"name": "get_time"}}},
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "nobody"}}},
        {"tool_choice": "required"},
    ]
)
LENGTHS = st.sampled_from([1, 1, 1, 1, 60, 300, 2500, 20_000])
NAMES = ["all", "pair", "away", "half", "gone", "fixture-ears", "fixture-eyes", "claude-3", "nobody"]


RECIPES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(NAMES),
        "parts": PARTS,
        "length": LENGTHS,
        "system": st.booleans(),
        "tools": TOOLS,
        "fields": st.fixed_dictionaries({}, optional=SOME),
    }
)
"""What to make a request of: hypothesis prints it when a request fails, and media would fill the page."""


def made(recipe: dict[str, Any]) -> dict[str, Any]:
    forms = {"text": text("a b " * recipe["length"]), "image": image(), "audio": audio()}
    content = [forms[part] for part in recipe["parts"] if part in forms]
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be short."}] if recipe["system"] else []
    messages.append({"role": "user", "content": content or "hello"})
    if "refusal" in recipe["parts"]:
        messages.append({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})
        messages.append({"role": "user", "content": "Please."})
    return {"model": recipe["model"], "messages": messages, "max_tokens": 4, **recipe["tools"], **recipe["fields"]}


@given(recipe=RECIPES)
@examples(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_anything(client: Client, recipe: dict[str, Any]):
    await same(client, made(recipe))


# ---- the command -----------------------------------------------------------------------------------------------------


async def explain_command(client: Client, body: Any, tmp_path: Path, *more: str) -> tuple[int, str]:
    client.gateway.sent += 1
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "explain", str(path), "--url", client.gateway.url, *more,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "GATEWAY_API_KEY": ""},
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_command_names_the_same_target(client: Client, tmp_path: Path):
    body = chat("all", [text(), audio()], user="me")
    told: dict[str, str] = {}
    out = ""

    async def agreed() -> bool:
        """A server at which something of an earlier test is still at work spills over until it is looked at again."""
        nonlocal told, out
        served = await client.post(body)
        code, out = await explain_command(client, body, tmp_path)
        assert code == 0, out
        told = dict(line.split(None, 1) for line in out.splitlines() if len(line.split(None, 1)) == 2)
        return told["goes"] == f"to   {served.headers['x-gateway-target']}"

    await until(agreed, 10)
    assert (told["parts"], told["dropped"]) == ("0=text, 1=audio", "user")
    assert told["rules"] == "routes[0]"
    for name in ("deaf", "small", "dull"):
        [line] = [line for line in out.splitlines() if line.startswith(f"{name}/")]
        assert ("does not take audio" in line) == (name != "dull")


async def test_the_command_says_why_not(client: Client, tmp_path: Path):
    body = chat("pair", [image(), audio()])
    code, out = await explain_command(client, body, tmp_path)
    assert code == 1, out
    assert "goes to   nowhere" in out and "error     no_target_fits" in out
    assert "--mmproj" in out
    code, out = await explain_command(client, chat("nobody"), tmp_path, "--json")
    assert code == 1
    assert json.loads(out)["error"]["code"] == "model_not_found"
