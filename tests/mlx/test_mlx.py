"""The gateway in front of real mlx_lm and mlx_vlm servers. Their models are random: what is looked at is what becomes
of a request, not what the words mean."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from tests.faults import rawclient
from tests.faults.rawclient import RawClient, Response
from tests.faults.running import CHAT, Running
from tests.mlx.conftest import Servers
from tests.real.content import WEATHER, audio, image, text, user, video

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

BOTH = pytest.mark.parametrize("model", ["text", "all"])
MEDIA = {"image": image, "audio": audio, "video": video}


async def ask(gateway: Running, model: str, content: Any = "hello", **fields: Any) -> Response:
    body = {"model": model, "messages": user(content), "max_tokens": 12, "temperature": 0, **fields}
    return await rawclient.post(gateway.url, CHAT, body)


def said(r: Response) -> str:
    assert r.status == 200, r.body
    if r.header("content-type") == "text/event-stream":
        assert r.done, r.body
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in r.chunks if c["choices"])
    return str(r.json()["choices"][0]["message"]["content"] or "")


async def test_what_they_are_is_found_out(gateway: Running, servers: Servers):
    cards = {c["id"]: c for c in (await rawclient.get(gateway.url, "/v1/models")).json()["data"]}
    [lm], [vlm] = (cards[name]["gateway"]["targets"] for name in ("text", "all"))
    assert (lm["kind"], lm["state"], lm["target"]) == ("mlx_lm", "ready", "lm/tiny-text")
    assert (vlm["kind"], vlm["state"], vlm["target"]) == ("mlx_vlm", "ready", "vlm/tiny-gemma-4-E4B-it")
    facts = {k: v["value"] for k, v in vlm["facts"].items()}
    assert (facts["context"], facts["tools"], facts["version"]) == (8192, True, "0.7.10")
    assert facts["image"] and facts["audio"] and facts["video"]
    assert not any(lm["facts"][m]["value"] for m in MEDIA)


@BOTH
async def test_text_whole_and_streamed(gateway: Running, model: str):
    whole = await ask(gateway, model)
    usage = whole.json()["usage"]
    assert usage["completion_tokens"] == 12 and usage["prompt_tokens"] > 10
    assert (whole.json()["model"], whole.json()["choices"][0]["finish_reason"]) == (model, "length")
    streamed = await ask(gateway, model, stream=True, stream_options={"include_usage": True})
    assert said(streamed) == said(whole)
    assert streamed.chunks[-1]["usage"]["completion_tokens"] == 12


@BOTH
async def test_a_stop_text_ends_the_answer_here(gateway: Running, model: str):
    words = said(await ask(gateway, model))
    mark = words[len(words) // 2]
    for stream in (False, True):
        r = await ask(gateway, model, stop=[mark], stream=stream)
        assert said(r) == words.partition(mark)[0]


@pytest.mark.parametrize("modality", MEDIA)
async def test_a_medium_is_in_the_prompt(gateway: Running, modality: str):
    bare = (await ask(gateway, "all", [text("hello")])).json()["usage"]["prompt_tokens"]
    r = await ask(gateway, "all", [text("hello"), MEDIA[modality]()])
    assert r.status == 200, r.body
    assert r.json()["usage"]["prompt_tokens"] > bare + 10
    assert (r.header("x-gateway-parts") or "").startswith(f"0=text,1={modality}")


@pytest.mark.parametrize("modality", MEDIA)
async def test_a_server_of_text_is_not_sent_one(gateway: Running, modality: str):
    r = await ask(gateway, "text", [text("hello"), MEDIA[modality]()])
    assert (r.status, r.json()["error"]["code"]) == (400, "no_target_fits")
    assert "mlx-vlm" in r.json()["error"]["message"]


@BOTH
async def test_what_neither_can_is_refused_before_it_is_asked(gateway: Running, model: str):
    r = await ask(gateway, model, n=2)
    assert (r.status, r.json()["error"]["code"]) == (400, "no_target_fits")


@BOTH
async def test_no_name_of_a_client_reaches_a_server_that_would_load_it(gateway: Running, servers: Servers, model: str):
    assert (await ask(gateway, "mlx-community/something-else")).status == 404
    assert (await ask(gateway, model)).status == 200
    async with httpx2.AsyncClient(trust_env=False) as http:
        health = (await http.get(f"{servers.vlm}/health")).json()
    assert health["loaded_model"] == str(servers.seeing)


@BOTH
async def test_the_path_of_a_model_is_shown_to_nobody(gateway: Running, servers: Servers, model: str):
    for r in (await ask(gateway, model), await rawclient.get(gateway.url, "/v1/models")):
        assert str(servers.text.parent).encode() not in r.raw_head + r.body


@BOTH
async def test_a_random_model_that_must_call_is_an_honest_error(gateway: Running, model: str):
    """Neither holds its model to a call: it is asked once more, then that is said."""
    r = await ask(gateway, model, tools=[WEATHER], tool_choice="required", max_tokens=8)
    if r.status == 200:
        assert r.json()["choices"][0]["finish_reason"] in ("length", "tool_calls"), r.body
    else:
        assert (r.status, r.json()["error"]["code"]) == (502, "tool_choice_not_satisfied")


@BOTH
async def test_a_client_that_leaves_ends_its_answer(gateway: Running, model: str):
    body = {"model": model, "messages": user("on"), "max_tokens": 4000, "temperature": 1.0, "stream": True}
    async with RawClient(gateway.url) as client:
        await client.send(rawclient.json_request(CHAT, body))
        async with asyncio.timeout(30):
            while not (await rawclient.get(gateway.url, "/metrics")).body.count(b"gateway_in_flight{"):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
    async with asyncio.timeout(10):
        while (await gateway.metrics()).sum("gateway_in_flight"):
            await asyncio.sleep(0.05)
    begun = asyncio.get_running_loop().time()
    assert (await ask(gateway, model)).status == 200
    assert asyncio.get_running_loop().time() - begun < 10, "the server still works on what nobody waits for"


async def test_a_prompt_that_is_too_long(gateway: Running):
    r = await ask(gateway, "all", "x" * 20_000)
    assert (r.status, r.json()["error"]["code"]) == (400, "context_length_exceeded")
