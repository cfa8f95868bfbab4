from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import (
    Answer,
    Choice,
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    unfold,
)
from gateway.dialects.openai.responses import Remembered, ResponsesEncoder, responses_codec
from gateway.dialects.openai.responses.answers import render_answer
from gateway.dialects.openai.responses.remembered import UNSIGNED
from gateway.dialects.openai.responses.requests import parse_request
from gateway.errors import BadResponse, Overloaded, Reset
from tests.dialects.events import anything, streams

LAST = ("response.completed", "response.incomplete", "error")


def sent(data: bytes, first: int = 0) -> list[Any]:
    """The events of a stream: each is named as its data says, and they are numbered without a gap."""
    out = []
    for frame in data.decode().split("\n\n")[:-1]:
        name, payload = frame.split("\n")
        value = msgspec.json.decode(payload.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        out.append(value)
    assert [e["sequence_number"] for e in out] == list(range(first, first + len(out)))
    return out


def response_of(events: list[Any]) -> Any:
    """The last response object; asserts that what the deltas said is what the items hold."""
    items: dict[int, Any] = {}
    done: dict[int, Any] = {}
    last: Any = None
    for i, e in enumerate(events):
        kind = e["type"]
        if i == 0:
            assert kind == "response.created"
        if kind == "response.output_item.added":
            assert e["output_index"] == len(items)
            items[e["output_index"]] = e["item"]
        elif kind == "response.output_item.done":
            done[e["output_index"]] = e["item"]
            assert said(items[e["output_index"]]) == said(e["item"])
            assert items[e["output_index"]]["id"] == e["item"]["id"]
        elif "output_index" in e:
            item = items[e["output_index"]]
            assert e["item_id"] == item["id"] and e["output_index"] not in done
            add(item, e)
        elif "response" in e:
            last = e["response"]
        if kind in LAST:
            assert i == len(events) - 1
    if last is not None and last["status"] != "in_progress":
        assert last["output"] == [done[i] for i in sorted(done)]
    return last


def add(item: Any, e: Any) -> None:
    kind = e["type"]
    if kind == "response.content_part.added":
        item.setdefault("content", []).append(e["part"])
    elif kind == "response.reasoning_summary_part.added":
        item["summary"].append(e["part"])
    elif kind.endswith(".delta"):
        if "content_index" in e:
            part = item["content"][e["content_index"]]
            part["refusal" if "refusal" in kind else "text"] += e["delta"]
        elif "summary_index" in e:
            item["summary"][e["summary_index"]]["text"] += e["delta"]
        else:
            item["input" if "custom" in kind else "arguments"] += e["delta"]
    else:
        assert kind.endswith((".done", "annotation.added"))


def said(item: Any) -> Any:
    texts = [p.get("text", p.get("refusal")) for p in item.get("content") or ()]
    return item["type"], texts, item.get("arguments"), item.get("input")


@given(streams())
def test_a_stream_tells_what_the_whole_answer_says(told: tuple[Answer, list[list[Event]]]) -> None:
    answer, reads = told
    encoder = ResponsesEncoder("m", Remembered(created=7))
    data = b"".join(encoder.encode(events) for events in reads)
    whole = render_answer(answer, Remembered(created=7))
    got = response_of(sent(data))
    # a part that ended is complete, though the answer was cut after it
    for item, wanted in zip(got["output"], whole["output"], strict=True):
        assert item | {"status": ""} == wanted | {"status": ""}
    assert got | {"output": []} == whole | {"output": []}
    assert encoder.over and encoder.whole == got


@given(anything)
def test_no_list_of_events_is_too_odd(events: list[Event]) -> None:
    encoder = ResponsesEncoder("m", Remembered(summaries=True))
    told = sent(b"".join(encoder.encode([e]) for e in events))
    if not encoder.over:
        told += sent(encoder.fault(Reset("gone")), len(told))
    assert told[-1]["type"] in LAST and encoder.over
    assert encoder.fault(Reset("x")) == b"" == encoder.life_sign(0, 0)
    response_of(told)


def test_the_exact_order() -> None:
    memory = Remembered(response_id="resp_r", created=5, summaries=True, encrypted=True, names={"go": ("ns", "g")})
    encoder = ResponsesEncoder("public", memory)
    encoder.closing = {"target": "x"}
    events = [
        Start("chatcmpl-1", "/secret", 7),
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0, "hm"),
        PartEnd(0, 0),
        PartStart(0, 1, "text"),
        PartDelta(0, 1, "a"),
        PartEnd(0, 1),
        PartStart(0, 2, "tool_call", "c1", "go"),
        PartDelta(0, 2, arguments="{}"),
        PartStart(0, 3, "tool_call", "c2", "patch", "custom"),
        PartDelta(0, 3, arguments="free"),
        PartEnd(0, 2),
        PartEnd(0, 3),
        ChoiceEnd(0, "tool_calls"),
        Usage(10, 5, 4, 2),
        End(),
    ]
    got = sent(encoder.encode(events))
    assert [e["type"].removeprefix("response.") for e in got] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "custom_tool_call_input.delta",
        "function_call_arguments.done",
        "output_item.done",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    last = got[-1]
    assert last["gateway"] == {"target": "x"}
    response = response_of(got)
    assert (response["id"], response["created_at"], response["model"]) == ("resp_r", 5, "public")
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }
    assert response["output"] == [
        {
            "id": "rs_r_0",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "status": "completed",
            "encrypted_content": UNSIGNED,
        },
        {
            "id": "msg_r_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
        },
        {
            "id": "fc_r_2",
            "type": "function_call",
            "status": "completed",
            "call_id": "c1",
            "name": "g",
            "arguments": "{}",
            "namespace": "ns",
        },
        {
            "id": "ctc_r_3",
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": "c2",
            "name": "patch",
            "input": "free",
        },
    ]


def test_what_the_answer_says_comes_back_as_the_same_conversation() -> None:
    parts = [Thinking("hm"), Text("a"), ToolCall("c1", "go", "{}"), ToolCall("c2", "p", "free", "custom")]
    tools = [
        {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "go"}]},
        {"type": "custom", "name": "p"},
    ]
    ask = {"role": "user", "content": "x"}
    for include in ([], ["reasoning.encrypted_content"]):
        for summary in (None, "auto"):
            first = {"model": "m", "tools": tools, "include": include, "reasoning": {"summary": summary}}
            chat = parse_request({**first, "input": [ask]})
            answer = responses_codec.render_answer(Answer("i", "m", choices=[Choice(list(parts), "tool_calls")]), chat)
            again = parse_request({**first, "input": [ask, *answer["output"]]})
            assert again.messages[1].parts == parts


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_it_ended(finish: Any, status: str, reason: str | None) -> None:
    answer = Answer("i", "m", choices=[Choice([Text("x"), Refusal("no")], finish)])
    whole = render_answer(answer, Remembered())
    told = sent(ResponsesEncoder("m", Remembered()).encode(unfold(answer)))
    assert told[-1]["type"] == f"response.{status}"
    for response in (whole, response_of(told)):
        assert response["status"] == status
        assert (response["incomplete_details"] or {}).get("reason") == reason
    # a part that was open when the answer was cut is incomplete
    events = [Start(), PartStart(0, 0, "text"), PartDelta(0, 0, "x"), ChoiceEnd(0, finish), End()]
    cut = response_of(sent(ResponsesEncoder("m", Remembered()).encode(events)))
    assert cut["output"][0]["status"] == status


def test_answers_that_failed() -> None:
    with pytest.raises(BadResponse):
        render_answer(Answer(choices=[Choice([Text("x")], "error")]), Remembered())
    told = sent(ResponsesEncoder("m", Remembered()).encode([Start(), ChoiceEnd(0, "error"), End()]))
    assert [e["type"] for e in told[-2:]] == ["response.failed", "error"]
    assert told[-2]["response"]["error"]["code"] == "server_error"
    told = sent(ResponsesEncoder("m", Remembered()).fault(Overloaded("busy")))
    assert [e["type"] for e in told] == ["response.created", "response.in_progress", "response.failed", "error"]
    assert told[2]["response"]["error"] == {"code": "server_is_overloaded", "message": "busy"}
    assert told[3]["error"]["code"] == told[3]["code"] == "server_is_overloaded"
    (*_, failed, error) = sent(ResponsesEncoder("m", Remembered()).encode([Fault("context_length_exceeded", "x", 400)]))
    assert failed["response"]["error"]["code"] == error["code"] == "context_length_exceeded"


def test_signs_of_life_are_events_and_another_attempt_goes_on_from_them() -> None:
    memory = Remembered(response_id="resp_1")
    first = ResponsesEncoder("m", memory)
    signs = first.life_sign(0, 0) + first.life_sign(1, 2)
    assert [e["type"] for e in sent(signs)] == ["response.created", "response.in_progress", "response.in_progress"]
    second = ResponsesEncoder("m", memory)
    events = [Start("x"), PartStart(0, 0, "text"), PartDelta(0, 0, "a"), PartEnd(0, 0), ChoiceEnd(0, "stop"), End()]
    told = sent(second.encode(events), 3)
    assert told[0]["type"] == "response.in_progress" and told[-1]["response"]["id"] == "resp_1"
    assert ResponsesEncoder("m", Remembered()).encode([Progress(1, 2), Start("x")]) == b""


def test_thoughts_in_the_clear() -> None:
    answer = Answer("i", "m", choices=[Choice([Thinking("hm"), Thinking("", redacted="enc"), Text("a")], "stop")])
    whole = render_answer(answer, Remembered())
    assert whole["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert whole["output"][0]["summary"] == [] and "encrypted_content" not in whole["output"][0]
    assert whole["output"][1]["encrypted_content"] == "enc"
    told = sent(ResponsesEncoder("m", Remembered()).encode(unfold(answer)))
    assert response_of(told)["output"] == whole["output"]
    assert "response.reasoning_text.delta" in [e["type"] for e in told]


def test_probabilities_and_annotations() -> None:
    tokens = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]}
    note = {"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}
    events = [
        Start(),
        PartStart(0, 0, "text"),
        PartDelta(0, 0, "a", annotations=[note], logprobs=tokens),
        PartEnd(0, 0),
        ChoiceEnd(0, "stop"),
        End(),
    ]
    told = sent(ResponsesEncoder("m", Remembered()).encode(events))
    content = response_of(told)["output"][0]["content"][0]
    assert content["annotations"] == [{"type": "url_citation", "url": "u", "title": "t"}]
    assert content["logprobs"][0]["token"] == "a" and content["logprobs"][0]["bytes"] == []
    answer = Answer(choices=[Choice([Text("a", [note])], "stop", logprobs=tokens)])
    assert render_answer(answer, Remembered())["output"][0]["content"] == [content]


def test_parts_of_one_dialect_only() -> None:
    own = Opaque("responses", "web_search_call", {"type": "web_search_call", "id": "ws"})
    answer = Answer("i", "m", choices=[Choice([own], "stop")])
    assert render_answer(answer, Remembered())["output"] == [own.raw]
    assert response_of(sent(ResponsesEncoder("m", Remembered()).encode(unfold(answer))))["output"] == [own.raw]
    other = Answer(choices=[Choice([Opaque("gemini", "grounding", {})], "stop")])
    with pytest.raises(BadResponse, match="grounding"):
        render_answer(other, Remembered())
    assert sent(ResponsesEncoder("m", Remembered()).encode(unfold(other)))[-1]["type"] == "error"


def test_the_answer_repeats_the_request() -> None:
    chat = parse_request({"model": "m", "input": "x", "tools": [{"type": "web_search"}], "temperature": 0.5})
    out = responses_codec.render_answer(Answer("i", "m", choices=[Choice([Text("a")], "stop")]), chat)
    assert out["tools"] == [{"type": "web_search"}] and out["temperature"] == 0.5
    assert (out["tool_choice"], out["parallel_tool_calls"], out["text"]) == ("auto", True, {"format": {"type": "text"}})
    assert out["object"] == "response" and out["id"] == "resp_i" and out["usage"] is None
    plain = responses_codec.render_answer(Answer("resp_i", "m", choices=[Choice([Text("a")], "stop")]))
    assert plain["id"] == "resp_i"
