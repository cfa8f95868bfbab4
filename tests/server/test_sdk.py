"""The official clients read what is written for them, over a real socket; those that are not installed are left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import CANARY, PUBLIC, Running, config
from tests.faults.steps import Answer, Events, Finish, Head, Json, Reset, Sleep

CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "read", "arguments": '{"path": "hello.txt"}'},
}
THOUGHTS_AND_CALL = [
    answers.chunk({"role": "assistant", "content": ""}),
    answers.chunk({"reasoning_content": "I shall "}),
    answers.chunk({"reasoning_content": "read."}),
    answers.chunk({"content": "Look:"}),
    answers.chunk({"tool_calls": [{**CALL, "function": {"name": "read", "arguments": ""}}]}),
    answers.chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"path": '}}]}),
    answers.chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"hello.txt"}'}}]}),
    answers.chunk({}, finish="tool_calls"),
    answers.chunk(None, usage={**answers.USAGE, "prompt_tokens_details": {"cached_tokens": 4}}),
]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def thoughts_and_call(wire: Any) -> None:
    wire.answer(Head(), Events([*THOUGHTS_AND_CALL, None]), Finish())


async def served(
    upstreams: Upstreams, gateway_for: GatewayFor, kind: str = "openai", **more: Any
) -> tuple[Any, Running]:
    [wire] = await upstreams(kind=kind)
    wire.answer(Answer())
    return wire, await gateway_for(config(wire, **more))


# ---- Anthropic ----


@asynccontextmanager
async def messages_client(gateway: Running) -> AsyncIterator[Any]:
    anthropic = pytest.importorskip("anthropic")
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=CANARY, max_retries=0, timeout=10) as sdk:
        yield sdk


async def test_messages(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    async with messages_client(gateway) as sdk:
        ask: Any = {"model": PUBLIC, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
        gateway.sent += 2
        message = await sdk.messages.create(**ask, system="be brief", metadata={"user_id": "u"})
        assert (message.content[0].text, message.stop_reason, message.model) == (answers.TEXT, "end_turn", PUBLIC)
        assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 5)
        async with sdk.messages.stream(**ask) as stream:
            assert "".join([text async for text in stream.text_stream]) == answers.TEXT
            assert (await stream.get_final_message()).usage.output_tokens == 5
        assert [m.id for m in (await sdk.models.list()).data]
        assert (await sdk.models.retrieve(PUBLIC)).id == PUBLIC


async def test_messages_with_thoughts_and_calls(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    thoughts_and_call(wire)
    tool = {"name": "read", "description": "reads", "input_schema": SCHEMA}
    ask: Any = {
        "model": PUBLIC,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [tool],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    async with messages_client(gateway) as sdk:
        gateway.sent += 2
        async with sdk.messages.stream(**ask) as stream:
            kinds = [event.type async for event in stream]
            message = await stream.get_final_message()
        assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
        thought, text, call = message.content
        assert (thought.thinking, text.text) == ("I shall read.", "Look:") and thought.signature
        assert (call.name, call.input, message.stop_reason) == ("read", {"path": "hello.txt"}, "tool_use")
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (3, 4)
        wire.answer(Answer())
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "Hello world"}
        turns = [
            *ask["messages"],
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result]},
        ]
        await sdk.messages.create(**{**ask, "messages": turns})
    sent = wire.requests[-1].json()["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "call_1"


async def test_messages_that_fail(upstreams: Upstreams, gateway_for: GatewayFor):
    anthropic = pytest.importorskip("anthropic")
    wire, gateway = await served(upstreams, gateway_for)
    ask: Any = {"model": PUBLIC, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
    async with messages_client(gateway) as sdk:
        gateway.sent += 4
        with pytest.raises(anthropic.NotFoundError):
            await sdk.messages.create(**{**ask, "model": "nobody"})
        with pytest.raises(anthropic.BadRequestError) as wrong:
            await sdk.messages.create(**{**ask, "messages": [{"role": "user", "content": [{"type": "x"}]}]})
        assert "messages[0].content[0].type" in str(wrong.value)
        wire.answer(Json(answers.error("full"), status=503, headers={"Retry-After": "3"}))
        with pytest.raises(anthropic.APIStatusError) as busy:
            await sdk.messages.create(**ask)
        assert busy.value.status_code == 503 and busy.value.response.headers["retry-after"] == "3"
        wire.answer(Head(), Events(answers.chunks(["Hello"], finish=None)), Reset())
        with pytest.raises(anthropic.APIStatusError):
            async with sdk.messages.stream(**ask) as stream:
                await stream.get_final_message()


async def test_counting(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="vllm")
    wire.answer(Json({"count": 42, "max_model_len": 100, "tokens": []}), path="/tokenize")
    gateway = await gateway_for(config(wire))
    async with messages_client(gateway) as sdk:
        gateway.sent += 1
        counted = await sdk.messages.count_tokens(model=PUBLIC, messages=[{"role": "user", "content": "hi"}])
    assert counted.input_tokens == 42


# ---- Responses ----


@asynccontextmanager
async def responses_client(gateway: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CANARY, max_retries=0, timeout=10) as sdk:
        yield sdk


async def test_responses(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    async with responses_client(gateway) as sdk:
        gateway.sent += 2
        response = await sdk.responses.create(model=PUBLIC, input="hi", instructions="be brief", store=False)
        assert (response.output_text, response.status, response.model) == (answers.TEXT, "completed", PUBLIC)
        assert response.usage is not None and response.usage.total_tokens == 12
        async with sdk.responses.stream(model=PUBLIC, input="hi") as stream:
            said = "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])
            final = await stream.get_final_response()
        assert said == final.output_text == answers.TEXT


async def test_responses_with_thoughts_and_calls(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    thoughts_and_call(wire)
    tool: Any = {"type": "function", "name": "read", "parameters": SCHEMA, "strict": True}
    for summary in (None, "auto"):
        async with responses_client(gateway) as sdk:
            gateway.sent += 2
            thoughts_and_call(wire)
            ask: Any = {"model": PUBLIC, "tools": [tool], "reasoning": {"effort": "low", "summary": summary}}
            async with sdk.responses.stream(input="hi", **ask) as stream:
                kinds = [event.type async for event in stream]
                final = await stream.get_final_response()
            assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
            thought, text, call = final.output
            assert thought.type == "reasoning" and text.type == "message" and call.type == "function_call"
            told = thought.summary if summary else thought.content
            assert told is not None and told[0].text == "I shall read."
            assert final.output_text == "Look:" and call.arguments == '{"path": "hello.txt"}'
            wire.answer(Answer())
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "Hello world"}
            turns: Any = [{"role": "user", "content": "hi"}, *[o.model_dump() for o in final.output], result]
            await sdk.responses.create(input=turns, **ask)
        sent = wire.requests[-1].json()["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "tool"]
        assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "call_1"


async def test_a_custom_tool_takes_free_text(upstreams: Upstreams, gateway_for: GatewayFor):
    """The server is told a function; the client has a tool that takes text, in a namespace."""
    wire, gateway = await served(upstreams, gateway_for, kind="vllm")
    pieces = ['{"input": "*** Be', "gin\\", 'nline \\"x\\""}']
    calls = [answers.chunk({"tool_calls": [{**CALL, "function": {"name": "patch", "arguments": ""}}]})]
    calls += [answers.chunk({"tool_calls": [{"index": 0, "function": {"arguments": p}}]}) for p in pieces]
    wire.answer(Head(), Events([*calls, answers.chunk({}, finish="tool_calls"), None]), Finish())
    patch = {
        "type": "custom",
        "name": "patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
    }
    space: Any = {"type": "namespace", "name": "edits", "description": "", "tools": [patch]}
    async with responses_client(gateway) as sdk:
        gateway.sent += 2
        async with sdk.responses.stream(model=PUBLIC, input="hi", tools=[space]) as stream:
            told = "".join([e.delta async for e in stream if e.type == "response.custom_tool_call_input.delta"])
            final = await stream.get_final_response()
        [call] = final.output
        assert call.type == "custom_tool_call" and call.input == told == '*** Begin\nline "x"'
        assert (call.name, call.model_dump()["namespace"]) == ("patch", "edits")
        wire.answer(Answer())
        result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"}
        turns: Any = [{"role": "user", "content": "hi"}, call.model_dump(), result]
        await sdk.responses.create(model=PUBLIC, input=turns, tools=[space])
    sent = wire.requests[-1].json()
    assert sent["tools"][0]["type"] == "function" and "start: X" in str(sent["tools"][0])
    assert sent["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"input":"*** Begin\\nline \\"x\\""}'


async def test_responses_that_fail(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    async with responses_client(gateway) as sdk:
        gateway.sent += 3
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="nobody", input="hi")
        with pytest.raises(openai.BadRequestError) as wrong:
            await sdk.responses.create(model=PUBLIC, input=[{"type": "hologram"}])  # type: ignore[list-item,misc]
        assert wrong.value.param == "input[0].type"
        wire.answer(Head(), Events(answers.chunks(["Hello"], finish=None)), Reset())
        seen = []
        with pytest.raises(openai.APIError) as cut:
            async for event in await sdk.responses.create(model=PUBLIC, input="hi", stream=True):
                seen.append(event.type)  # noqa: PERF401  # it breaks off, and what came before it counts
        assert seen[-1] == "response.failed" and cut.value.code == "upstream_reset"


async def test_responses_after_a_long_silence(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(
        upstreams, gateway_for, timeouts={"life_sign": 0.1, "first_byte": 3, "first_byte_unknown": 3}
    )
    wire.answer(Head(), Sleep(0.4), Events([*answers.chunks(), None]), Finish())
    async with responses_client(gateway) as sdk:
        gateway.sent += 1
        async with sdk.responses.stream(model=PUBLIC, input="hi") as stream:
            kinds = [event.type async for event in stream]
            assert (await stream.get_final_response()).output_text == answers.TEXT
        assert kinds.count("response.created") == 1 and kinds.count("response.in_progress") > 2


# ---- Ollama ----


def ollama_client(gateway: Running) -> Any:
    ollama = pytest.importorskip("ollama")
    return ollama.AsyncClient(host=gateway.url, timeout=10)


async def test_ollama(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    sdk = ollama_client(gateway)
    turns = [{"role": "user", "content": "hi"}]
    gateway.sent += 5
    answer = await sdk.chat(model=PUBLIC, messages=turns, options={"temperature": 0.5, "num_ctx": 4096})
    assert (answer.message.content, answer.done_reason) == (answers.TEXT, "stop") and answer.eval_count == 5
    said = [part async for part in await sdk.chat(model=PUBLIC, messages=turns, stream=True)]
    assert "".join(p.message.content or "" for p in said) == answers.TEXT and said[-1].done
    assert (await sdk.generate(model=PUBLIC, prompt="hi")).response == answers.TEXT
    assert (
        "".join([p.response async for p in await sdk.generate(model=PUBLIC, prompt="hi", stream=True)]) == answers.TEXT
    )
    assert (await sdk.embed(model=PUBLIC, input=["a", "b"])).embeddings[1] == [0.5, -0.25, 0.125]
    assert PUBLIC in [m.model for m in (await sdk.list()).models]
    assert PUBLIC in [m.model for m in (await sdk.ps()).models]
    assert "completion" in (await sdk.show(PUBLIC)).capabilities
    await sdk._client.aclose()


async def test_ollama_with_thoughts_and_calls(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    thoughts_and_call(wire)
    sdk = ollama_client(gateway)
    tool = {"type": "function", "function": {"name": "read", "description": "reads", "parameters": SCHEMA}}
    turns: list[Any] = [{"role": "user", "content": "hi"}]
    gateway.sent += 2
    parts = [
        p.message async for p in await sdk.chat(model=PUBLIC, messages=turns, tools=[tool], think=True, stream=True)
    ]
    assert "".join(p.thinking or "" for p in parts) == "I shall read."
    [call] = [c for p in parts for c in p.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == ("read", {"path": "hello.txt"})
    turns.append({"role": "assistant", "content": "Look:", "tool_calls": [call]})
    turns.append({"role": "tool", "content": "Hello world", "tool_name": "read"})
    wire.answer(Answer())
    assert (await sdk.chat(model=PUBLIC, messages=turns, tools=[tool])).message.content == answers.TEXT
    sent = wire.requests[-1].json()["messages"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]
    await sdk._client.aclose()


async def test_ollama_that_fails(upstreams: Upstreams, gateway_for: GatewayFor):
    ollama = pytest.importorskip("ollama")
    wire, gateway = await served(upstreams, gateway_for)
    sdk = ollama_client(gateway)
    turns = [{"role": "user", "content": "hi"}]
    gateway.sent += 2
    with pytest.raises(ollama.ResponseError) as missing:
        await sdk.chat(model="nobody", messages=turns)
    assert missing.value.status_code == 404 and "nobody" in missing.value.error
    wire.answer(Head(), Events(answers.chunks(["Hello"], finish=None)), Reset())
    with pytest.raises(ollama.ResponseError):
        async for _ in await sdk.chat(model=PUBLIC, messages=turns, stream=True):
            pass
    await sdk._client.aclose()
