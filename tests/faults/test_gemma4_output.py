"""The corpus of Gemma 4's raw outputs through a running gateway whose server passes on what its model says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.filters.gemma4.grammar import CALL_OPEN, MARKERS
from tests.faults import answers
from tests.faults.running import Running, ask, config, running
from tests.faults.steps import Answer, Events, Finish, Head, Json
from tests.faults.wire import Wire

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "gemma4_output.json").read_text("utf-8")
)
KINDS = ("mlx_lm", "openai")


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=KINDS)
async def plain(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A gateway before a server that reads no markup."""
    async with (
        Wire(kind=request.param, model="gemma-4-e4b-it") as wire,
        running(config(wire), wires=[wire]) as gateway,
    ):
        yield gateway


def asked(case: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"stream": stream}
    if case.get("tools"):
        fields["tools"] = case["tools"]
    body = ask(**fields)
    if case.get("prompt_open_reasoning"):
        # with thinking on, the template ends inside of a thought after a tool's result
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        body["messages"] += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ]
        body["chat_template_kwargs"] = {"enable_thinking": True}
    return body


def spoken(chunks: Sequence[str], finish: str) -> list[Any]:
    """The steps of an upstream that streams `chunks`, a delta each."""
    events = answers.chunks(list(chunks), model="gemma-4-e4b-it", finish=finish)
    return [Head(), Events([*events, None]), Finish()]


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def streamed_message(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": {}, "finish": None}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            out["content"] += delta.get("content") or ""
            out["reasoning_content"] += delta.get("reasoning_content") or ""
            out["finish"] = choice["finish_reason"] or out["finish"]
            for call in delta.get("tool_calls") or ():
                into = out["tool_calls"].setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
                into["id"] = into["id"] or call.get("id", "")
                into["name"] = into["name"] or call["function"].get("name", "")
                into["arguments"] += call["function"].get("arguments", "")
    assert list(out["tool_calls"]) == list(range(len(out["tool_calls"])))
    out["tool_calls"] = list(out["tool_calls"].values())
    return out


def whole_message(answer: dict[str, Any]) -> dict[str, Any]:
    [choice] = answer["choices"]
    message = choice["message"]
    calls = [
        {"id": c["id"], "name": c["function"]["name"], "arguments": c["function"]["arguments"]}
        for c in message.get("tool_calls") or ()
    ]
    return {
        "content": message.get("content") or "",
        "reasoning_content": message.get("reasoning_content") or "",
        "tool_calls": calls,
        "finish": choice["finish_reason"],
    }


def judge(case: dict[str, Any], got: dict[str, Any]) -> None:
    literal = CALL_OPEN if case["id"] == "g4-142" else ""
    for marker in MARKERS:
        assert marker not in got["content"].replace(literal, "") and marker not in got["reasoning_content"]
    calls = [(c["name"], json.loads(c["arguments"])) for c in got["tool_calls"]]
    assert len({c["id"] for c in got["tool_calls"]}) == len(calls) and all(c["id"] for c in got["tool_calls"])
    expected = case["expect"]
    assert calls == [(c["name"], c["arguments"]) for c in expected["tool_calls"]]
    assert got["finish"] == case["finish_reason"]
    if case.get("ambiguous"):
        assert got["content"].strip() or got["reasoning_content"].strip() or calls or got["finish"] == "length"
    else:
        assert got["content"].strip() == (expected["content"] or "").strip()
        assert got["reasoning_content"].strip() == (expected["reasoning"] or "").strip()


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
@pytest.mark.asyncio(loop_scope="module")
async def test_whole(case: dict[str, Any], plain: Running):
    [wire] = plain.wires
    raw = case["raw"]
    for chunks in ([raw], pieces(raw, 3)):
        if wire.kind == "mlx_lm":
            wire.answer(*spoken(chunks, case["engine_finish"]))
        else:
            wire.answer(Answer(raw) if case["engine_finish"] == "stop" else _cut(raw))
        response = await plain.post("/v1/chat/completions", asked(case, stream=False))
        assert response.status == 200, response.body
        judge(case, whole_message(response.json()))


def _cut(raw: str) -> Json:
    return Json(answers.chat(raw, model="gemma-4-e4b-it", finish="length"))


# a thought without its beginning, thinking off: in a stream it has been shown as text before its end comes
STREAMED = [c for c in CASES if not c.get("non_streaming_only")]


@pytest.mark.parametrize("case", STREAMED, ids=[c["id"] for c in STREAMED])
@pytest.mark.asyncio(loop_scope="module")
async def test_streamed(case: dict[str, Any], plain: Running):
    [wire] = plain.wires
    raw = case["raw"]
    ways = [[raw], *(pieces(raw, n) for n in (1, 2, 3, 7)), *([case["chunks"]] if "chunks" in case else [])]
    for chunks in ways:
        wire.answer(*spoken(chunks, case["engine_finish"]))
        response = await plain.post("/v1/chat/completions", asked(case, stream=True))
        assert response.status == 200 and response.events[-1] == "[DONE]", response.body
        judge(case, streamed_message(response.chunks))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_thought_that_the_client_dropped_is_given_back(plain: Running):
    [wire] = plain.wires
    raw = '<|channel>thought\nI look.<channel|><|tool_call>call:ls{path:<|"|>/<|"|>}<tool_call|>'
    tools = [{"type": "function", "function": {"name": "ls", "parameters": {"type": "object"}}}]
    body = ask(tools=tools, stream=True, chat_template_kwargs={"enable_thinking": True})
    wire.answer(*spoken(pieces(raw, 5), "stop"))
    first = streamed_message((await plain.post("/v1/chat/completions", body)).chunks)
    assert first["reasoning_content"] == "I look." and first["finish"] == "tool_calls"
    [call] = first["tool_calls"]
    function = {"name": call["name"], "arguments": call["arguments"]}
    body["messages"] += [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call["id"], "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call["id"], "content": "etc"},
    ]
    wire.answer(*spoken(["ok<channel|>Done."], "stop"))
    await plain.post("/v1/chat/completions", body)
    sent = wire.requests[-1].json()["messages"][1]
    known = wire.kind == "mlx_lm"  # of any other server nobody knows whether it reads thoughts
    assert (sent.get("reasoning") or sent.get("reasoning_content")) == ("I look." if known else None)
    body["messages"] += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "more"}]
    wire.answer(*spoken(["Ok."], "stop"))
    await plain.post("/v1/chat/completions", body)
    sent = wire.requests[-1].json()["messages"][1]
    assert not (sent.get("reasoning") or sent.get("reasoning_content"))
