"""The gateway in front of a real vLLM server. Its model is random: what is looked at is what becomes of a request, not
what the words mean."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from gateway.report.asking import built, running
from gateway.report.caps import rows
from gateway.report.deep import look
from gateway.report.doctor import examine
from gateway.settings import parse
from tests.faults import rawclient
from tests.faults.rawclient import RawClient, Response
from tests.faults.running import CHAT, Metrics, Running
from tests.real.content import WEATHER, audio, image, text, user, video
from tests.vllm.conftest import NAME, Server

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

MEDIA = {"image": image, "audio": audio, "video": video}
CITIES: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}


async def ask(gateway: Running, content: Any = "hello", **fields: Any) -> Response:
    body = {"model": "all", "messages": user(content), "max_tokens": 12, "temperature": 0, **fields}
    return await rawclient.post(gateway.url, CHAT, body)


def said(r: Response) -> str:
    assert r.status == 200, r.body
    if r.header("content-type") == "text/event-stream":
        assert r.done, r.body
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in r.chunks if c["choices"])
    return str(r.json()["choices"][0]["message"]["content"] or "")


async def test_what_it_is_is_found_out(gateway: Running, server: Server):
    cards = {c["id"]: c for c in (await rawclient.get(gateway.url, "/v1/models")).json()["data"]}
    [target] = cards["all"]["gateway"]["targets"]
    assert (target["kind"], target["state"], target["target"]) == ("vllm", "ready", f"gpu/{NAME}")
    known = {k: v["value"] for k, v in target["facts"].items() if v["source"] == "probed"}
    assert known["image"] and known["audio"] and known["video"] and known["tools"] and known["counts"]
    assert (known["context"], known["version"], known["media_knobs"]) == (2048, "0.32.0", False)
    assert known["audio_limit"] == known["video_limit"] == 1, "two at once are one too many"
    assert str(server.model).encode() not in (await rawclient.get(gateway.url, "/v1/models")).body


async def test_text_whole_and_streamed(gateway: Running, server: Server):
    whole = await ask(gateway)
    streamed = await ask(gateway, stream=True, stream_options={"include_usage": True})
    assert said(whole) == said(streamed) and said(whole)
    used = whole.json()["usage"]
    assert used["prompt_tokens"] == streamed.chunks[-1]["usage"]["prompt_tokens"] > 10
    assert used["completion_tokens"] == streamed.chunks[-1]["usage"]["completion_tokens"]
    assert whole.json()["model"] == "all" and str(server.model).encode() not in whole.raw_head + whole.body


async def test_a_stop_text_is_the_server_s(gateway: Running):
    words = said(await ask(gateway))
    mark = words[len(words) // 2]
    for stream in (False, True):
        assert said(await ask(gateway, stop=[mark], stream=stream)) == words.partition(mark)[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("modality", MEDIA)
async def test_a_medium_is_in_the_prompt(gateway: Running, modality: str, stream: bool):
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    bare = (await ask(gateway, [text("hello")])).json()["usage"]["prompt_tokens"]
    r = await ask(gateway, [text("hello"), MEDIA[modality]()], **more)
    assert r.status == 200, r.body
    used = r.chunks[-1]["usage"] if stream else r.json()["usage"]
    assert used["prompt_tokens"] > bare + 5
    assert (r.header("x-gateway-parts") or "").startswith(f"0=text,1={modality}")


async def test_more_than_it_takes_is_refused_by_its_path(gateway: Running):
    r = await ask(gateway, [text("hello"), audio(), audio()])
    assert (r.status, r.json()["error"]["code"]) == (400, "no_target_fits")
    assert "--limit-mm-per-prompt" in r.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_call_that_is_demanded_is_written_or_its_lack_is_said(gateway: Running, choice: Any, stream: bool):
    """Its parser does not hold the model to it: a constraint on the text does, within which a random model babbles on
    until its room is used up."""
    r = await ask(gateway, tools=[WEATHER], tool_choice=choice, max_tokens=40, stream=stream)
    if r.status == 502:
        assert r.json()["error"]["code"] == "tool_choice_not_satisfied"
        return
    assert r.status == 200, r.body
    last = r.chunks[-1] if stream else r.json()
    assert last["choices"][0]["finish_reason"] in ("length", "tool_calls"), r.body
    assert b"<|tool_call>" not in r.body


async def test_a_schema_is_the_server_s(gateway: Running):
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": CITIES}}
    r = await ask(gateway, response_format=form, max_tokens=200, temperature=0)
    assert json.loads(said(r))["city"] in ("Paris", "Rome")


async def test_choices_and_logprobs(gateway: Running):
    r = await ask(gateway, n=2, logprobs=True, top_logprobs=2, temperature=1.0)
    first, second = r.json()["choices"]
    for choice in (first, second):
        assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 2


async def test_thinking_on_and_off(gateway: Running):
    for effort in ("none", "high"):
        r = await ask(gateway, reasoning_effort=effort)
        assert r.status == 200, r.body
        assert b"<|channel>" not in r.body


async def test_tokens_are_counted_without_an_answer(gateway: Running):
    used = (await ask(gateway, [text("hello"), image()])).json()["usage"]["prompt_tokens"]
    url = image()["image_url"]["url"]
    source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
    content = [{"type": "text", "text": "hello"}, {"type": "image", "source": source}]
    body = {"model": "all", "messages": user(content)}
    headers = {"anthropic-version": "2023-06-01"}
    r = await rawclient.post(gateway.url, "/v1/messages/count_tokens", body, headers)
    assert r.json()["input_tokens"] == used and "estimated" not in r.json()


async def test_a_prompt_that_is_too_long(gateway: Running):
    r = await ask(gateway, "x" * 20_000)
    assert (r.status, r.json()["error"]["code"]) == (400, "context_length_exceeded")


async def running_there(http: httpx2.AsyncClient, server: Server) -> float:
    return Metrics.read((await http.get(f"{server.url}/metrics")).text).sum("vllm:num_requests_running")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_its_answer(gateway: Running, server: Server, stream: bool):
    body = {"model": "all", "messages": user("on"), "max_tokens": 1900, "ignore_eos": True, "stream": stream}
    async with httpx2.AsyncClient(trust_env=False) as http:
        async with RawClient(gateway.url) as client:
            await client.send(rawclient.json_request(CHAT, body))
            async with asyncio.timeout(60):
                while not await running_there(http, server):
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            while await running_there(http, server):
                await asyncio.sleep(0.05)


async def test_what_caps_sees_come_through(gateway: Running):
    """The model is random: everything is in the prompt, and it can't say what it is."""
    async with running(gateway.url) as asking:
        found = rows(await asking.cards())
        await look(found, asking.chat)
    [row] = found
    for modality in MEDIA:
        check = row["deep"][modality]
        assert check["verdict"] == "too weak to tell", check
        bare, *each = check["tokens"]
        assert min(each) > bare


async def test_nothing_is_wrong_with_it_but_its_context(server: Server):
    settings = parse(f"{{backends: {{gpu: {server.url!r}}}, limits: {{body: 1MiB}}, timeouts: {{probe: 20}}}}", {})
    async with built(settings) as (gateway, _):
        found = await examine(gateway.fleet, gateway.prober, gateway.upstream, in_container=False)
    assert {c.finding.code for c in found} == {"small-context"}
