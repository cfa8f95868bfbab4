from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from gateway.canonical.events import Answer, Start, fold
from gateway.dialects.openai.answers import render_answer
from gateway.dialects.openai.chat import parse_request
from gateway.worker.keras.answer import Marks, Telling, heads
from tests.worker.keras.fake import Fake

MODEL = Fake()
MARKS = Marks(MODEL.stop_tokens, MODEL.token("<tool_call|>"), MODEL.token("<|channel>"), MODEL.token("<channel|>"))
TOOLS = [{"type": "function", "function": {"name": n}} for n in ("f", "g")]
CALL_F, CALL_G = "<|tool_call>call:f{}<tool_call|>", "<|tool_call>call:g{}<tool_call|>"


def answered(text: str, *, most: int = 1000, inside: bool = False, **fields: Any) -> tuple[Answer, int]:
    """The answer to a model that says `text` and ends its turn, and how many tokens were asked for."""
    chat = parse_request({"model": "m", "messages": [{"role": "user", "content": "x"}], **fields})
    numbers = count()
    telling = Telling(
        chat,
        MARKS,
        MODEL.piece,
        start=Start("chatcmpl-1", "m", 5),
        prompt_tokens=11,
        most=most,
        new_id=lambda: f"call_{next(numbers)}",
        open_reasoning=inside,
    )
    events = telling.begin()
    asked = 0
    for token in [*MODEL.tokenize(text), *MODEL.tokenize("<turn|>")]:
        if telling.ended:
            break
        asked += 1
        events += telling.feed(token)
    return fold([*events, *telling.end()]), asked


def message(answer: Answer) -> dict[str, Any]:
    choice = render_answer(answer)["choices"][0]
    told: dict[str, Any] = {k: v for k, v in choice["message"].items() if v is not None and k != "role"}
    for call in told.get("tool_calls", ()):
        told["tool_calls"] = [c["function"]["name"] + c["function"]["arguments"] for c in told["tool_calls"]]
        del call
        break
    return {**told, "finish": choice["finish_reason"]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("Hello.", {}, {"content": "Hello.", "finish": "stop"}),
        ("", {}, {"content": "", "finish": "stop"}),
        (
            "<|channel>thought\nhm<channel|>Yes",
            {},
            {"content": "Yes", "reasoning_content": "hm", "finish": "stop"},
        ),
        ("<|channel>thought\nhm<channel|>Yes", {"include_reasoning": False}, {"content": "Yes", "finish": "stop"}),
        (CALL_F + CALL_G, {"tools": TOOLS}, {"tool_calls": ["f{}", "g{}"], "finish": "tool_calls"}),
        (
            CALL_F + CALL_G,
            {"tools": TOOLS, "parallel_tool_calls": False},
            {"tool_calls": ["f{}"], "finish": "tool_calls"},
        ),
        (
            CALL_F + CALL_G,
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_calls": ["f{}"], "finish": "tool_calls"},
        ),
        ("one two three", {"stop": "two"}, {"content": "one ", "finish": "stop"}),
        ("one two three", {"stop": ["x", "thr"]}, {"content": "one two ", "finish": "stop"}),
        (
            "<|channel>thought\ntwo<channel|>one two",
            {"stop": "two"},
            {"content": "one ", "reasoning_content": "two", "finish": "stop"},
        ),
        ("<eos>more", {}, {"content": "", "finish": "stop"}),
        ("a<|tool_response>response:f{}", {}, {"content": "a", "finish": "stop"}),
    ],
)
def test_answers(text: str, fields: dict[str, Any], expected: dict[str, Any], stream: bool) -> None:
    answer, _ = answered(text, stream=stream, **fields)
    assert message(answer) == expected


def test_no_more_is_asked_for_than_is_needed() -> None:
    assert answered("one two three", stop="two")[1] == len("one two")
    assert answered("one two", most=3)[1] == 3
    assert answered("a<turn|>b")[1] == 2
    assert answered("x", most=0)[1] == 0


def test_length() -> None:
    answer, _ = answered("one two", most=3)
    assert message(answer) == {"content": "one", "finish": "length"}
    cut, _ = answered(CALL_F, most=6, tools=TOOLS)
    assert message(cut)["finish"] == "length"


def test_every_token_is_counted_and_thoughts_apart() -> None:
    usage = answered("<|channel>thought\nhm<channel|>Yes")[0].usage
    assert usage is not None
    assert (usage.input, usage.output, usage.reasoning) == (11, len("thought\nhmYes") + 3, len("thought\nhm"))
    usage = answered("hm<channel|>Yes", inside=True)[0].usage
    assert usage is not None
    assert (usage.output, usage.reasoning) == (7, 2)
    usage = answered("Yes")[0].usage
    assert usage is not None
    assert (usage.output, usage.reasoning) == (4, None)


def test_a_turn_that_goes_on_inside_a_thought() -> None:
    answer, _ = answered("hm<channel|>Yes", inside=True, stream=True)
    assert message(answer) == {"content": "Yes", "reasoning_content": "hm", "finish": "stop"}


def test_the_heads_of_calls() -> None:
    assert heads(["f", "get_x"], MODEL.tokenize) == [
        MODEL.tokenize("<|tool_call>call:f{"),
        MODEL.tokenize("<|tool_call>call:get_x{"),
    ]
