"""What a chat may ask of its answer: tools, schemas, thinking, usage, logprobs, choices, stops."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import pytest

from gateway.demo.fleet import EARS
from tests.real.conftest import Client, RealFleet
from tests.real.content import CITY, CLOCK, WEATHER, chat, chunks, endless, error, said, user

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

MODEL = "fixture-ears"


# ---- tools -----------------------------------------------------------------------------------------------------------


async def test_a_required_tool_is_called(client: Client):
    answer = await client.sdk.chat.completions.create(
        model="auto",
        messages=user("Weather?"),
        tools=[WEATHER],
        tool_choice="required",  # type: ignore[arg-type,list-item]
    )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls or []
    assert call.id and call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})


async def test_and_streamed(client: Client):
    stream: Any = client.sdk.chat.completions.stream(
        model=MODEL,
        messages=user("Weather?"),
        tools=[WEATHER],
        tool_choice="required",  # type: ignore[arg-type,list-item]
    )
    names, arguments, ids = [], "", set()
    async with stream as events:
        async for event in events:
            if event.type == "chunk":
                for call in event.chunk.choices[0].delta.tool_calls or [] if event.chunk.choices else []:
                    assert call.index == 0
                    ids |= {call.id} if call.id else set()
                    names += [call.function.name] if call.function.name else []
                    arguments += call.function.arguments or ""
        final = await events.get_final_completion()
    assert (names, json.loads(arguments), len(ids)) == (["get_weather"], {"city": "Paris"}, 1)
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls[0].function.arguments == arguments


@pytest.mark.parametrize("stream", [False, True])
async def test_a_named_tool_is_the_one_that_is_called(client: Client, stream: bool):
    """llama.cpp ignores a named choice: the gateway asks it for `required` with that tool alone."""
    body = chat(
        MODEL,
        tools=[CLOCK, WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        stream=stream,
    )
    got = await client.post(body)
    if stream:
        calls = [t for c in chunks(got.content) if c["choices"] for t in c["choices"][0]["delta"].get("tool_calls", [])]
        assert [c["function"]["name"] for c in calls if "name" in c["function"]] == ["get_weather"]
    else:
        [call] = got.json()["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "get_weather"


async def test_a_tool_may_be_left_alone(client: Client):
    got = (await client.post(chat(MODEL, tools=[WEATHER]))).json()["choices"][0]
    assert (got["message"]["content"], got["finish_reason"]) == (EARS.reply, "stop")
    assert not got["message"].get("tool_calls")


async def test_a_whole_round_with_a_tool(client: Client):
    asked = await client.sdk.chat.completions.create(
        model=MODEL,
        messages=user("Weather?"),
        tools=[WEATHER],
        tool_choice="required",  # type: ignore[arg-type,list-item]
    )
    message = asked.choices[0].message
    assert message.tool_calls
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    messages: list[Any] = [*user("Weather?"), message.model_dump(exclude_none=True), result]
    answer = await client.sdk.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])  # type: ignore[list-item]
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (EARS.reply, "stop")


async def test_tools_and_a_schema_are_not_both_possible_here(client: Client):
    """llama.cpp would keep to the schema and forget the tools without a word."""
    got = await client.post(chat(MODEL, tools=[WEATHER], response_format=CITY))
    assert (got.status_code, error(got.content)["param"]) == (400, "response_format")


# ---- schemas ---------------------------------------------------------------------------------------------------------


class Place(pydantic.BaseModel):
    city: str


async def test_a_schema_is_kept(client: Client):
    answer = await client.sdk.chat.completions.parse(model=MODEL, messages=user("Where?"), response_format=Place)  # type: ignore[arg-type]
    assert answer.choices[0].message.parsed == Place(city="Paris")


async def test_a_schema_is_kept_in_a_stream(client: Client):
    async with client.sdk.chat.completions.stream(
        model=MODEL, messages=user("Where?"), response_format=Place
    ) as events:  # type: ignore[arg-type]
        final = await events.get_final_completion()
    assert final.choices[0].message.parsed == Place(city="Paris")


async def test_any_json_object(client: Client):
    got = await client.post(chat(MODEL, response_format={"type": "json_object"}))
    assert isinstance(json.loads(got.json()["choices"][0]["message"]["content"]), dict)


async def test_a_schema_that_is_none_is_the_client_s_fault(client: Client):
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.sdk.chat.completions.create(model=MODEL, messages=user(), response_format=wrong)  # type: ignore[arg-type,call-overload]
    assert "nonsense" in refused.value.message


# ---- thinking --------------------------------------------------------------------------------------------------------

SWITCHES: dict[str, dict[str, Any]] = {
    "reasoning_effort": {"reasoning_effort": "low"},
    "enable_thinking": {"enable_thinking": True},
    "template": {"chat_template_kwargs": {"enable_thinking": True}},
    "a string": {"chat_template_kwargs": {"enable_thinking": "true"}},
    "anthropic's": {"thinking": {"type": "enabled", "budget_tokens": 64}},
    "openrouter's": {"reasoning": {"enabled": True}},
}


@pytest.mark.parametrize("switch", SWITCHES)
async def test_it_thinks_when_asked(client: Client, switch: str):
    message = (await client.post(chat(MODEL, **SWITCHES[switch]))).json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == (EARS.thought, EARS.reply)


@pytest.mark.parametrize(
    "asked", [{}, {"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": "false"}}]
)
async def test_it_does_not_unless_it_is_asked(client: Client, asked: dict[str, Any]):
    """llama.cpp itself would think, and takes the string "false" for true."""
    message = (await client.post(chat(MODEL, **asked))).json()["choices"][0]["message"]
    assert message["content"] == EARS.reply
    assert not message.get("reasoning_content")


async def test_thoughts_stream_before_the_words(client: Client):
    got = await client.post(chat(MODEL, reasoning_effort="high", stream=True))
    deltas = [c["choices"][0]["delta"] for c in chunks(got.content) if c["choices"]]
    kinds = [k for d in deltas for k in ("reasoning_content", "content") if d.get(k)]
    assert kinds == sorted(kinds, reverse=True), "thoughts first"
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == EARS.thought
    assert said(got.content) == EARS.reply


async def test_the_client_chooses_the_field_of_the_thoughts(client: Client):
    body = chat(MODEL, enable_thinking=True, gateway={"reasoning_field": "reasoning"})
    message = (await client.post(body)).json()["choices"][0]["message"]
    assert message["reasoning"] == EARS.thought
    assert "reasoning_content" not in message


async def test_thoughts_may_be_left_out(client: Client):
    body = chat(MODEL, reasoning={"enabled": True, "exclude": True})
    for stream in (False, True):
        got = await client.post({**body, "stream": stream})
        assert EARS.thought.split()[-1] not in got.text
        assert EARS.reply in (said(got.content) if stream else got.text)


async def test_a_tool_after_thinking(client: Client):
    got = await client.post(chat(MODEL, reasoning_effort="low", tools=[WEATHER], logit_bias={}, tool_choice="auto"))
    message = got.json()["choices"][0]["message"]
    assert message["reasoning_content"] == EARS.thought


async def test_a_model_that_can_t_think_says_so(client: Client, text_model: str):
    got = await client.post(chat(text_model, "Hi", reasoning_effort="low", max_tokens=2))
    assert got.status_code == 200
    assert "thinking" in got.headers["x-gateway-dropped"]


# ---- usage, choices, ends --------------------------------------------------------------------------------------------


async def test_usage_is_the_last_chunk_of_a_stream_that_asks(client: Client):
    whole = (await client.post(chat(MODEL))).json()["usage"]
    stream = await client.sdk.chat.completions.create(
        model=MODEL,
        messages=user(),
        stream=True,
        stream_options={"include_usage": True},  # type: ignore[arg-type]
    )
    seen: list[Any] = [chunk async for chunk in stream]
    assert [c.usage for c in seen[:-1]] == [None] * (len(seen) - 1)
    last = seen[-1]
    assert last.choices == []
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert getattr(last.usage, name) == whole[name]
    assert last.usage.prompt_tokens + last.usage.completion_tokens == last.usage.total_tokens


async def test_no_usage_in_a_stream_that_does_not(client: Client):
    """The gateway always asks its server for it, for its own count; the client sees what it asked for."""
    before = (await client.gateway.settled()).sum("gateway_tokens_total", backend="ears", kind="output")
    got = await client.post(chat(MODEL, stream=True))
    assert all(c["choices"] and not c.get("usage") for c in chunks(got.content))
    after = (await client.gateway.settled()).sum("gateway_tokens_total", backend="ears", kind="output")
    assert after - before == len(EARS.reply.split()) + 1


async def test_a_prompt_that_was_there_before_comes_from_the_cache(client: Client):
    """Promise 7: what is rendered for one turn is a prefix of what is rendered for the next."""
    turn = user("The first question, long enough to be worth a cache, and then some more of it.")
    one = (await client.post({"model": MODEL, "messages": turn})).json()
    following = [*turn, {"role": "assistant", "content": EARS.reply}, *user("And the second?")]
    two = (await client.post({"model": MODEL, "messages": following})).json()
    cached = two["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= one["usage"]["prompt_tokens"] - 8, "all but the empty channel that opens the answer"


@pytest.mark.parametrize("stream", [False, True])
async def test_two_choices(client: Client, stream: bool):
    got = await client.post(chat(MODEL, n=2, stream=stream))
    if stream:
        texts = ["", ""]
        finishes = {}
        for chunk in chunks(got.content):
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
                if choice["finish_reason"]:
                    finishes[choice["index"]] = choice["finish_reason"]
        assert finishes == {0: "stop", 1: "stop"}
        assert got.text.endswith("data: [DONE]\n\n")
    else:
        texts = [c["message"]["content"] for c in sorted(got.json()["choices"], key=lambda c: c["index"])]
    assert texts == [EARS.reply] * 2


async def test_more_choices_than_it_has_slots(client: Client):
    got = await client.post(chat(MODEL, n=3))
    assert (got.status_code, error(got.content)["code"]) == (400, "no_target_fits")
    assert "-np" in error(got.content)["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_survive(client: Client, stream: bool):
    got = await client.post(chat(MODEL, logprobs=True, top_logprobs=2, stream=stream))
    if stream:
        tokens = [
            t
            for c in chunks(got.content)
            if c["choices"]
            for t in (c["choices"][0].get("logprobs") or {}).get("content") or []
        ]
    else:
        tokens = got.json()["choices"][0]["logprobs"]["content"]
    assert "".join(t["token"] for t in tokens).startswith(EARS.reply)
    assert all(len(t["top_logprobs"]) == 2 and t["logprob"] <= 0 for t in tokens)


@pytest.mark.parametrize("stream", [False, True])
async def test_it_stops_where_it_is_told(client: Client, stream: bool):
    got = await client.post(chat(MODEL, stop=[" and"], stream=stream))
    text = said(got.content) if stream else got.json()["choices"][0]["message"]["content"]
    assert text == EARS.reply.partition(" and")[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_and_it_says_when_it_was_cut_short(client: Client, stream: bool):
    got = await client.post(endless(MODEL, 40, stream=stream))
    if stream:
        finishes = [c["choices"][0]["finish_reason"] for c in chunks(got.content) if c["choices"]]
        assert [f for f in finishes if f] == ["length"]
        assert said(got.content).startswith(EARS.reply)
    else:
        assert got.json()["choices"][0]["finish_reason"] == "length"
        assert got.json()["usage"]["completion_tokens"] == 40


async def test_what_the_server_says_of_itself_survives(client: Client):
    """llama.cpp's `timings` are no field of the dialect."""
    whole = (await client.post(chat(MODEL))).json()
    assert whole["timings"]["predicted_n"] == len(EARS.reply.split()) + 1
    streamed = chunks((await client.post(chat(MODEL, stream=True))).content)
    assert any("timings" in c for c in streamed)
    assert not any("prompt_progress" in c for c in streamed), "what the gateway asked for, for itself"


async def test_fields_that_only_label_are_dropped_and_named(client: Client):
    raw = await client.sdk.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=user(),
        user="me",
        metadata={"a": "b"},
        extra_body={"a_new_field": 1},  # type: ignore[arg-type]
    )
    assert sorted(raw.headers["x-gateway-dropped"].split(",")) == ["a_new_field", "metadata", "user"]


LONG = {"by any count": "hello " * 5000, "by the server's count": "a b " * 2500}


@pytest.mark.parametrize("words", LONG)
async def test_a_prompt_that_is_too_long_is_not_sent(client: Client, fleet: RealFleet, words: str):
    before = (await fleet.servers["ears"].counters())["prompt_tokens_total"]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.sdk.chat.completions.create(model=MODEL, messages=user(LONG[words]))  # type: ignore[arg-type]
    assert refused.value.code == "context_length_exceeded"
    assert "the maximum context length is 4096" in refused.value.message
    assert (await fleet.servers["ears"].counters())["prompt_tokens_total"] == before


async def test_a_prompt_that_is_too_long_is_named_with_its_path(client: Client):
    got = await client.post(chat(MODEL, LONG["by any count"]))
    assert error(got.content)["param"] == "messages"
