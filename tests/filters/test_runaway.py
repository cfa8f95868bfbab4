"""What goes in circles is seen, and not what only looks like it; an answer that is ended ends as one that was cut."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway
from gateway.canonical.content import Text, Thinking, ToolCall
from gateway.canonical.events import (
    Answer,
    ChoiceEnd,
    End,
    Event,
    PartDelta,
    PartEnd,
    PartStart,
    Usage,
    fold,
    unfold,
)
from gateway.filters import complete
from gateway.filters.runaway import Runaway
from tests.canonical.strategies import answers, interleaved, recut
from tests.filters.batches import fed
from tests.filters.reading import cut_by, well_formed

CHANCE = random.Random(1)
WORDS = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=CHANCE.randint(2, 9))) for _ in range(2000)]


def prose(words: int) -> str:
    return " ".join(CHANCE.choices(WORDS, k=words))


def told(text: str, kind: str = "text", size: int = 50) -> list[Event]:
    deltas = [PartDelta(0, 0, chunk) for chunk in cut_by(text, [size])]
    return [PartStart(0, 0, kind), *deltas, PartEnd(0, 0), ChoiceEnd(0, "stop"), End()]  # type: ignore[arg-type]


def signs(text: str, kind: str = "text") -> list[str]:
    f = Runaway()
    events = told(text, kind)
    assert f.feed(events) is events
    return list(f.found)


CODE = "\n".join(p.read_text() for p in sorted(Path(gateway.__file__).parent.rglob("*.py")))
REFRAIN = (
    "Row, row, row your boat,\ngently down the stream,\nmerrily, merrily, merrily, merrily,\nlife is but a dream.\n\n"
)


@pytest.mark.parametrize(
    "text",
    [
        prose(20_000),
        CODE[:300_000],
        "```\n" + "nop\n" * 5000 + "```\n",
        "| a | b |\n|---|---|\n" + "| 0 | none |\n" * 3000,
        json.dumps([CHANCE.random() for _ in range(5000)]),
        json.dumps([0] * 5000),
        json.dumps([[0.0] * 16] * 200),
        "".join(f"- The best way to do it is to {prose(2)}.\n" for _ in range(500)),
        "".join(f"{n}. The next item\n" for n in range(3000)),
        "".join(f"{prose(40)}\n\n{REFRAIN * 2}" for _ in range(50)),
        "na " * 300 + "hey Jude",
        "yes\nno\n" * 200,
        base64.b64encode(CHANCE.randbytes(60_000)).decode(),
        base64.b64encode(b"hello world " * 1000).decode(),
        "=" * 500 + "\n" + "." * 500,
    ],
)
def test_no_false_alarm(text: str) -> None:
    assert signs(text) == []


@pytest.mark.parametrize("period", [1, 2, 3, 5, 17, 64, 100, 127, 128, 200, 255, 500])
@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_loops(period: int, kind: str) -> None:
    assert signs(prose(50) + prose(period)[:period] * (20_000 // period), kind) == ["repeats"]


def test_a_loop_behind_code_and_between_tables() -> None:
    text = "```py\n" + CODE[:5000].replace("`", "") + "\n```\n" + "It is done, it is done.\n| a | b |\n" * 200
    assert signs(text) == ["repeats"]


def test_calls() -> None:
    def call(part: int, name: str, arguments: str) -> list[Event]:
        deltas: list[Event] = [PartDelta(0, part, arguments=a) for a in cut_by(arguments, [4])]
        return [PartStart(0, part, "tool_call", f"id{part}", name), *deltas, PartEnd(0, part)]

    same = [call(n, "f", '{"a":1}') for n in range(6)]
    f = Runaway()
    assert f.feed([e for c in same[:3] for e in c]) and f.found == []
    f.feed([*call(3, "f", '{"a":2}'), *call(4, "g", '{"a":1}')])
    assert f.found == []
    f.feed(same[5])
    assert f.found == ["same_call"]

    f = Runaway(stop=True, same_calls=1)
    out = fed(f, [e for c in same for e in c], [5])
    assert out[:-2] == [*same[0], *same[1]]
    assert isinstance(out[-2], ChoiceEnd) and out[-2].finish == "length"
    assert out[-1] == End()
    assert f.repairs == ["stopped_same_call"]


def test_long_thoughts() -> None:
    assert signs(prose(20_000), "thinking") == []
    events = [*told("a" * 40, "thinking", 7)[:-2], PartStart(0, 1, "thinking"), PartDelta(0, 1, "b" * 100)]
    for limit, seen in ((140, []), (139, ["long_thinking"]), (20, ["long_thinking"])):
        f = Runaway(thinking_limit=limit)
        fed(f, events, [3])
        assert f.found == seen


@pytest.mark.parametrize("size", [1, 3, 7, 100, 100_000])
@pytest.mark.parametrize("together", [1, 4, 1000])
def test_the_end_is_honest_and_does_not_depend_on_the_cut(size: int, together: int) -> None:
    thought, text = prose(30), prose(40) + "again and again " * 300
    whole = fed(Runaway(stop=True), told(text, size=10**6), [1000])
    f = Runaway(stop=True, choices=2)
    events = [
        PartStart(1, 0, "thinking"),
        PartDelta(1, 0, thought),
        *told(text, size=size)[:-1],
        PartEnd(1, 0),
        ChoiceEnd(1, "stop"),
        Usage(1, 2),
        End(),
    ]
    out = fed(f, events, [together])
    well_formed(out)
    assert f.done and f.found == ["repeats"] and f.repairs == ["stopped_repeats"]
    assert out[-1] == End() and out.count(End()) == 1
    answer = fold(out)
    assert [c.finish for c in answer.choices] == ["length", "length"]
    assert [c.note for c in answer.choices] == ["ended by the gateway: repeats"] * 2
    assert answer.choices[1].parts == [Thinking(thought)]
    (part,) = answer.choices[0].parts
    assert isinstance(part, Text) and text.startswith(part.text) and 2000 < len(part.text) < 4000
    assert answer.choices[0].parts == fold(whole).choices[0].parts
    assert f.feed(list(events)) == []


@pytest.mark.parametrize("size", [1, 3, 7, 100, 100_000])
def test_a_thought_ends_at_its_limit(size: int) -> None:
    text = prose(1000)
    out = fed(Runaway(stop=True, thinking_limit=1000), told(text, "thinking", size), [2])
    assert fold(out).choices[0].parts == [Thinking(text[:1000])]


def test_choices_that_ended_or_never_began() -> None:
    f = Runaway(stop=True, thinking_limit=10, choices=3)
    events: list[Event] = [
        PartStart(0, 0, "text"),
        PartEnd(0, 0),
        ChoiceEnd(0, "stop"),
        PartStart(2, 0, "thinking"),
        PartDelta(2, 0, "a" * 11),
    ]
    out = f.feed(events)
    assert [(e.choice, e.finish) for e in out if isinstance(e, ChoiceEnd)] == [
        (0, "stop"),
        (1, "length"),
        (2, "length"),
    ]
    assert out[-1] == End()


def test_an_answer_that_is_ended_in_its_last_read_ends_once() -> None:
    out = complete([Runaway(stop=True, thinking_limit=10)], told("a" * 20, "thinking"))
    assert out.count(End()) == 1 and out[-1] == End()
    assert complete([Runaway(stop=True)], told("hello")) == told("hello")


@settings(max_examples=50)
@given(st.data(), answers, st.booleans(), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_ordinary_answers_pass(data: st.DataObject, answer: Answer, stop: bool, sizes: list[int]) -> None:
    calls = [(c.name, c.arguments) for choice in answer.choices for c in choice.parts if isinstance(c, ToolCall)]
    f = Runaway(stop=stop, same_calls=len(calls))
    events = data.draw(interleaved(data.draw(recut(unfold(answer)))))
    assert fed(f, events, sizes) == events
    assert not f.found and not f.repairs
    assert Runaway(stop=stop, same_calls=len(calls)).feed(events) is events
