"""The worker's HTTP side on a real socket, around a model that follows a script."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from gateway.backends import Reply, load, run_probe
from gateway.demo.media import wav
from gateway.worker.keras import app as app_module
from gateway.worker.keras.app import About, App
from gateway.worker.keras.engine import Engine
from gateway.worker.keras.model import Gemma
from gateway.worker.keras.serve import _server
from tests.faults.rawclient import RawClient, Response, get, json_request, post
from tests.faults.running import running
from tests.worker.keras.fake import Fake

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav(0.1)).decode(), "format": "wav"}}
TOOLS = [{"type": "function", "function": {"name": n}} for n in ("get_f", "get_g")]
CHAT, COUNT = "/v1/chat/completions", "/v1/chat/completions/input_tokens"
Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`url = await serve(model, queue=8, key=None)`; a model of None is still loading."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(model: Fake | None, queue: int = 8, key: str | None = None) -> str:
            app = App(About("tiny", "gemma4_instruct_2b", "bfloat16", key))
            if model is not None:
                app.engine = Engine(cast(Gemma, model), queue + 1)
                stack.callback(app.engine.close)
                stack.callback(model.gate.set)
            listening = socket.create_server(("127.0.0.1", 0))
            server = _server(app)
            task = asyncio.create_task(server.serve(sockets=[listening]))

            async def stop() -> None:
                server.should_exit = server.force_exit = True
                await task
                listening.close()

            stack.push_async_callback(stop)
            return f"http://127.0.0.1:{listening.getsockname()[1]}"

        yield start


def body(content: Any = "hi", **fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **fields}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


async def busy(url: str, requests: int) -> None:
    """Returns when so many requests are answered or wait."""
    async with asyncio.timeout(5):
        while (await get(url, "/health")).json()["requests"] != requests:
            await asyncio.sleep(0.005)


def message(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json()["choices"][0]["message"]
    return told


async def test_a_whole_answer(serve: Serve) -> None:
    model = Fake("Hello there.")
    answer = await post(await serve(model), CHAT, body())
    told = answer.json()
    assert message(answer) == {"role": "assistant", "content": "Hello there.", "refusal": None}
    assert told["usage"] == {
        "prompt_tokens": len(model.tokenize(model.prompts[0])),
        "completion_tokens": 13,
        "total_tokens": told["usage"]["prompt_tokens"] + 13,
    }
    assert (told["object"], told["model"]) == ("chat.completion", "tiny")
    assert model.prompts == ["<bos><|turn>user\nhi<turn|>\n<|turn>model\n"]


async def test_a_stream(serve: Serve) -> None:
    url = await serve(Fake("<|channel>thought\nhm<channel|>Hello"))
    answer = await post(url, CHAT, body(stream=True, stream_options={"include_usage": True}))
    assert answer.header("content-type") == "text/event-stream"
    deltas = [c["choices"][0]["delta"] for c in answer.chunks if c["choices"]]
    assert "".join(d.get("content") or "" for d in deltas) == "Hello"
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "hm"
    assert len([d for d in deltas if d.get("content")]) == 5
    assert answer.chunks[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 10}
    assert answer.done
    assert any(c.startswith(": keepalive ") for c in answer.comments)


async def test_without_being_asked_a_stream_tells_no_usage(serve: Serve) -> None:
    answer = await post(await serve(Fake("x")), CHAT, body(stream=True))
    assert not any("usage" in c for c in answer.chunks)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_call(serve: Serve, stream: bool) -> None:
    url = await serve(Fake('<|tool_call>call:get_f{q:<|"|>a"b<|"|>,n:2}<tool_call|>'))
    answer = await post(url, CHAT, body(tools=TOOLS, stream=stream))
    if stream:
        calls = [c for k in answer.chunks for c in k["choices"][0]["delta"].get("tool_calls", ())]
        arguments = "".join(c["function"].get("arguments", "") for c in calls)
        finish = [k["choices"][0]["finish_reason"] for k in answer.chunks][-1]
    else:
        [call] = message(answer)["tool_calls"]
        arguments, finish = call["function"]["arguments"], answer.json()["choices"][0]["finish_reason"]
        calls = [call]
    assert calls[0]["function"]["name"] == "get_f"
    assert arguments == '{"q":"a\\"b","n":2}'
    assert finish == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "name"), [("required", "get_f"), ({"type": "function", "function": {"name": "get_g"}}, "get_g")]
)
async def test_a_forced_call_is_made_whatever_the_model_would_rather_say(serve: Serve, choice: Any, name: str) -> None:
    # it wants to chat; behind the opening brace it says what closes the call
    head = len(Fake().tokenize(f"<|tool_call>call:{name}{{"))
    model = Fake("x" * head + "}<tool_call|>")
    answer = await post(await serve(model), CHAT, body(tools=TOOLS, tool_choice=choice, temperature=0))
    [call] = message(answer)["tool_calls"]
    assert call["function"]["name"].startswith("get_")
    assert name == "get_f" or call["function"]["name"] == name
    assert call["function"]["arguments"] == "{}"


async def test_thinking_and_what_the_prompt_says_of_it(serve: Serve) -> None:
    model = Fake("a", "b")
    url = await serve(model)
    await post(url, CHAT, body(chat_template_kwargs={"enable_thinking": True}))
    await post(url, CHAT, body(reasoning_effort="none"))
    assert model.prompts[0].startswith("<bos><|turn>system\n<|think|>\n<turn|>\n")
    assert model.prompts[1].startswith("<bos><|turn>user\n")


async def test_pictures_are_counted(serve: Serve) -> None:
    url = await serve(Fake("x"))
    plain = (await post(url, COUNT, body("a"))).json()
    assert plain["input_tokens"] == (await post(url, CHAT, body("a"))).json()["usage"]["prompt_tokens"]
    seen = (await post(url, COUNT, body([PICTURE, {"type": "text", "text": "a"}]))).json()
    assert seen["input_tokens"] == plain["input_tokens"] + 3


async def test_an_answer_ends_where_it_should(serve: Serve) -> None:
    url = await serve(Fake("one two", "one two", "one two"))
    cut = (await post(url, CHAT, body(max_tokens=3))).json()["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("one", "length")
    stopped = (await post(url, CHAT, body(stop=[" t"]))).json()["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("one", "stop")
    long = (await post(url, CHAT, body(max_tokens=10**9))).json()["choices"][0]
    assert (long["message"]["content"], long["finish_reason"]) == ("one two", "stop")


async def test_a_full_context_ends_an_answer_by_length(serve: Serve) -> None:
    model = Fake("x" * 500, context=100)
    told = (await post(await serve(model), CHAT, body())).json()
    assert told["choices"][0]["finish_reason"] == "length"
    assert told["usage"]["total_tokens"] == 100


REFUSED = [
    ({"n": 2}, 400, "n"),
    ({"logprobs": True}, 400, "logprobs"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"modalities": ["text", "audio"]}, 400, "modalities"),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, 400, "tools[0]"),
    ({"grammar": "x"}, 400, "grammar"),
    ({"temperature": 9}, 400, "temperature"),
    ({"logit_bias": {"99999": 1}}, 400, "logit_bias"),
    ({"model": "other"}, 404, "model"),
    ({"messages": [{"role": "user", "content": [SOUND]}]}, 400, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": "x" * 3000}]}, 400, "messages"),
    ({"messages": []}, 400, "messages"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "status", "param"), REFUSED)
async def test_what_it_can_not_do_is_refused_by_name(
    serve: Serve, fields: dict[str, Any], status: int, param: str, stream: bool
) -> None:
    model = Fake("never", "ok")
    url = await serve(model, queue=0)
    answer = await post(url, CHAT, {**body(stream=stream), **fields})
    assert (answer.status, answer.json()["error"]["param"]) == (status, param)
    assert model.generated == 0
    assert (await post(url, CHAT, body())).status == 200  # its place is free again


async def test_paths_methods_and_bodies(serve: Serve) -> None:
    url = await serve(Fake())
    assert (await get(url, "/nothing")).status == 404
    assert (await get(url, CHAT)).status == 405
    assert (await post(url, CHAT, b"{")).json()["error"]["code"] == "invalid_json"
    assert (await post(url, CHAT, [1])).json()["error"]["code"] == "invalid_json"
    assert (await get(url, "/health")).json() == {"status": "ok", "requests": 0}


async def test_a_body_that_is_too_large(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "MOST_OCTETS", 1000)
    assert (await post(await serve(Fake()), CHAT, body("x" * 1000))).status == 413


async def test_while_it_loads_every_route_says_so(serve: Serve) -> None:
    url = await serve(None)
    for answer in (await get(url, "/health"), await get(url, "/v1/models"), await post(url, CHAT, body())):
        assert (answer.status, answer.json()["error"]["message"]) == (503, "Loading model")
        assert answer.header("retry-after") == "5"


async def test_the_key(serve: Serve) -> None:
    url = await serve(Fake("x"), key="s3cret")
    assert (await get(url, "/health")).status == 200
    assert (await get(url, "/v1/models")).status == 401
    assert (await post(url, CHAT, body(), {"Authorization": "Bearer other"})).status == 401
    assert (await post(url, CHAT, body(), {"Authorization": "Bearer s3cret"})).status == 200


async def test_one_at_a_time_and_the_others_wait_or_come_again(serve: Serve) -> None:
    model = Fake("one", "two")
    model.gate.clear()
    url = await serve(model, queue=1)
    first = asyncio.create_task(post(url, CHAT, body("first")))
    await until(lambda: len(model.prompts) == 1)
    second = asyncio.create_task(post(url, CHAT, body("second", stream=True)))
    await busy(url, 2)
    third = await post(url, CHAT, body("third"))
    assert (third.status, third.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert int(third.header("retry-after") or 0) >= 1
    assert len(model.prompts) == 1  # nobody is answered beside the first
    model.gate.set()
    assert (await first).text == "one"
    assert (await second).text == "two"
    assert (await get(url, "/health")).json()["requests"] == 0


async def test_a_stream_shows_that_it_lives(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "LIFE_SIGN", 0.02)
    model = Fake("one", "two")
    model.gate.clear()
    url = await serve(model)
    async with RawClient(url) as one, RawClient(url) as two:
        await one.send(json_request(CHAT, body(stream=True)))
        first = await one.read_head()
        await one.read_until(first, b": keepalive")
        await two.send(json_request(CHAT, body(stream=True)))
        second = await two.read_head()
        await two.read_until(second, b": waiting\n\n")  # behind the first
        model.gate.set()
        await one.read_until(first, b"[DONE]")
        await two.read_until(second, b"[DONE]")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("orderly", [False, True])
async def test_the_model_stops_when_its_client_leaves(serve: Serve, stream: bool, orderly: bool) -> None:
    model = Fake("x" * 1000, "next")
    model.gate.clear()
    url = await serve(model)
    async with RawClient(url) as client:
        await client.send(json_request(CHAT, body(stream=stream)))
        await until(lambda: len(model.prompts) == 1)
        await (client.leave() if orderly else client.abort())
        await until(model.over.is_set)
    assert model.generated == 0
    model.gate.set()
    assert (await post(url, CHAT, body())).text == "next"


async def test_who_leaves_while_he_waits_is_never_answered(serve: Serve) -> None:
    model = Fake("one", "two")
    model.gate.clear()
    url = await serve(model)
    first = asyncio.create_task(post(url, CHAT, body("first")))
    await until(lambda: len(model.prompts) == 1)
    async with RawClient(url) as client:
        await client.send(json_request(CHAT, body("gone")))
        await busy(url, 2)
        await client.leave()
        await busy(url, 1)
    model.gate.set()
    assert (await first).text == "one"
    assert (await post(url, CHAT, body("last"))).text == "two"
    assert not any("gone" in p for p in model.prompts)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_fails_ends_one_answer(serve: Serve, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = Fake("ok")
    model.fails = RuntimeError("out of memory at /some/path")
    url = await serve(model, queue=0)
    answer = await post(url, CHAT, body(stream=stream))
    assert answer.status == (200 if stream else 500)
    assert answer.error is not None
    assert answer.error["message"] == "the model failed: RuntimeError"
    assert not stream or not answer.done
    assert "out of memory" in caplog.text
    model.fails = None
    assert (await post(url, CHAT, body())).text == "ok"


async def test_its_backend_reads_it(serve: Serve) -> None:
    url = await serve(Fake())
    listed = await get(url, "/v1/models")
    backend = load("keras")
    assert backend.claims(Reply(200, {}, listed.body))
    found = run_probe(backend.probe(), iter([Reply(200, {}, listed.body)]))
    [model] = found.models
    assert (found.state, model.id, model.root) == ("ready", "tiny", "gemma4_instruct_2b")
    facts = model.facts
    assert (facts.image, facts.audio, facts.video, facts.context) == (True, False, True, 2000)
    assert (facts.quantization, facts.size, facts.fixture) == ("bf16", 7.0, None)


async def test_through_the_gateway(serve: Serve) -> None:
    model = Fake("<|channel>thought\nhm<channel|>Hello", "<|tool_call>call:get_f{n:2}<tool_call|>", "Seen.")
    url = await serve(model)
    async with running({"listen": "127.0.0.1:0", "backends": {"k": {"kind": "keras", "url": url}}}) as gateway:
        answer = await gateway.post(CHAT, body(reasoning_effort="high"))
        assert message(answer)["content"] == "Hello"
        assert message(answer)["reasoning_content"] == "hm"
        assert "<|think|>" in model.prompts[0]
        answer = await gateway.post(CHAT, body(tools=TOOLS, stream=True))
        calls = [c for k in answer.chunks if k.get("choices") for c in k["choices"][0]["delta"].get("tool_calls", ())]
        assert calls[0]["function"]["name"] == "get_f"
        assert "<|think|>" not in model.prompts[1]
        png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 40).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
        answer = await gateway.post(CHAT, body([picture]))
        assert message(answer)["content"] == "Seen."
        assert "<|image|>" in model.prompts[2]
        answer = await gateway.post(CHAT, body([SOUND]))
        assert answer.status == 400
        assert "gemma4_instruct_4b" in answer.body.decode()
