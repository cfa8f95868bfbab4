"""The official Gemini client over a real socket, by its base URL alone; left out where it is not installed."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import CANARY, PUBLIC, Running, config
from tests.faults.steps import Answer, Events, Finish, Head, Json, Reset, Sleep

genai = pytest.importorskip("google.genai")
types: Any = genai.types
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, of its own models
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
CALLS = [answers.chunk({"role": "assistant", "content": ""}), answers.chunk({"tool_calls": [CALL]})]
CALLS += [answers.chunk({}, finish="tool_calls"), answers.chunk(None, usage=answers.USAGE)]


def client(gateway: Running, version: str = "") -> Any:
    options = types.HttpOptions(base_url=gateway.url, **({"api_version": version} if version else {}))
    return genai.Client(api_key=CANARY, http_options=options)


async def served(
    upstreams: Upstreams, gateway_for: GatewayFor, kind: str = "openai", **more: Any
) -> tuple[Any, Running]:
    [wire] = await upstreams(kind=kind)
    wire.answer(Answer())
    return wire, await gateway_for(config(wire, **more))


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_generate(version: str, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    models = client(gateway, version).aio.models
    gateway.sent += 2
    got = await models.generate_content(model=PUBLIC, contents="hi")
    assert got.text == answers.TEXT and got.usage_metadata.total_token_count == 12
    assert got.candidates[0].finish_reason.value == "STOP"
    pieces = [c.text async for c in await models.generate_content_stream(model=PUBLIC, contents="hi")]
    assert "".join(p or "" for p in pieces) == answers.TEXT and len(pieces) > 2
    assert [r.json()["messages"] for r in wire.requests] == [[{"role": "user", "content": "hi"}]] * 2


async def test_everything_that_a_config_says(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for, "vllm")
    gateway.sent += 1
    await client(gateway).aio.models.generate_content(
        model=PUBLIC,
        contents=["what?", types.Part.from_bytes(data=PNG, mime_type="image/png")],
        config=types.GenerateContentConfig(
            system_instruction=["be", "brief"],
            temperature=0.5,
            top_k=40,
            max_output_tokens=9,
            stop_sequences=["X"],
            seed=7,
            response_mime_type="application/json",
            response_schema={"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}},
            thinking_config=types.ThinkingConfig(thinking_budget=0),
            safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")],
        ),
    )
    body = wire.requests[0].json()
    assert body["messages"][0] == {"role": "system", "content": "be\nbrief"}
    assert [p["type"] for p in body["messages"][1]["content"]] == ["text", "image_url"]
    assert (body["temperature"], body["top_k"], body["max_tokens"], body["stop"], body["seed"]) == (
        0.5,
        40,
        9,
        ["X"],
        7,
    )
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["a"]["type"] == ["string", "null"]
    assert body["chat_template_kwargs"]["enable_thinking"] is False


@pytest.mark.parametrize("streamed", [False, True])
async def test_functions_are_called_by_the_client_itself(streamed: bool, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    asked: list[str] = []

    def weather(city: str) -> dict[str, Any]:
        """Tells the weather of a city."""
        asked.append(city)
        return {"t": 20}

    whole = {"role": "assistant", "content": None, "tool_calls": [{k: v for k, v in CALL.items() if k != "index"}]}
    answer = answers.chat(finish="tool_calls")
    answer["choices"][0]["message"] = whole
    wire.answer(Head(), Events(CALLS), Finish(), nth=0) if streamed else wire.answer(Json(answer), nth=0)
    gateway.sent += 2
    chat = client(gateway).aio.chats.create(model=PUBLIC, config=types.GenerateContentConfig(tools=[weather]))
    if streamed:
        chunks = [c async for c in await chat.send_message_stream("weather?")]
        text = "".join(p.text or "" for c in chunks for p in c.candidates[0].content.parts)
    else:
        text = (await chat.send_message("weather?")).text
    assert text == answers.TEXT and asked == ["Paris"]
    tool = wire.requests[0].json()["tools"][0]["function"]
    assert tool["name"] == "weather" and tool["parameters"]["properties"]["city"]["type"] == "string"
    again = wire.requests[1].json()["messages"]
    assert [m["role"] for m in again] == ["user", "assistant", "tool"]
    assert again[1]["tool_calls"][0]["id"] == again[2]["tool_call_id"] == "call_1"
    assert again[2]["content"] == '{"t": 20}'


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_keeps_its_turns(streamed: bool, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    chat = client(gateway).aio.chats.create(model=PUBLIC)
    gateway.sent += 2
    for words in ("one", "two"):
        if streamed:
            async for _ in await chat.send_message_stream(words):
                pass
        else:
            await chat.send_message(words)
    assert len(chat.get_history(curated=True)) >= 4
    assert wire.requests[1].json()["messages"] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": answers.TEXT},
        {"role": "user", "content": "two"},
    ]


async def test_life_signs_do_not_disturb(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for, timeouts={"life_sign": 0.1, "queue": 0.05})
    wire.answer(Sleep(0.45), Head(), Events(answers.chunks()), Finish())
    gateway.sent += 1
    stream = await client(gateway).aio.models.generate_content_stream(model=PUBLIC, contents="hi")
    assert "".join([c.text or "" async for c in stream]) == answers.TEXT


async def test_errors(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    models = client(gateway).aio.models
    gateway.sent += 3
    with pytest.raises(genai.errors.ClientError) as missing:
        await models.generate_content(model="nobody", contents="hi")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    with pytest.raises(genai.errors.ClientError) as wrong:
        await models.generate_content(model=PUBLIC, contents="hi", config={"temperature": 9})
    assert (wrong.value.code, wrong.value.status) == (400, "INVALID_ARGUMENT")
    wire.answer(Head(), Events(answers.chunks()[:3]), Reset())
    with pytest.raises(genai.errors.ServerError) as broken:
        async for _ in await models.generate_content_stream(model=PUBLIC, contents="hi"):
            pass
    assert (broken.value.code, broken.value.status) == (503, "UNAVAILABLE")


async def test_lists_counts_and_vectors(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    models = client(gateway).aio.models
    listed = [m.name async for m in await models.list()]
    assert f"models/{PUBLIC}" in listed
    assert (await models.get(model=PUBLIC)).display_name == PUBLIC
    gateway.sent += 1
    found = await models.embed_content(model=PUBLIC, contents=["a", "b"])
    assert [e.values for e in found.embeddings] == [[0.5, -0.25, 0.125]] * 2
    [counting] = await upstreams(kind="vllm")
    other = await gateway_for(config(counting))
    other.sent += 1
    assert (await client(other).aio.models.count_tokens(model=PUBLIC, contents="hi")).total_tokens > 0


async def test_vertex_paths(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    options = types.HttpOptions(base_url=gateway.url)
    sdk = genai.Client(vertexai=True, api_key=CANARY, http_options=options)
    gateway.sent += 1
    assert (await sdk.aio.models.generate_content(model=PUBLIC, contents="hi")).text == answers.TEXT
