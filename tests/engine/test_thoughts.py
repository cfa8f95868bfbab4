from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.canonical.content import Message, Text, Thinking, ToolCall, ToolResult
from gateway.canonical.events import Answer, Choice, unfold
from gateway.canonical.requests import Chat, Tool
from gateway.engine.shelf import Shelf
from gateway.engine.thoughts import LONGEST, Kept, Remember, Thoughts

TOOLS = [Tool("f")]


def said(thought: str, *ids: str) -> Answer:
    return Answer(choices=[Choice([Thinking(thought), *(ToolCall(i, "f", "{}") for i in ids)], "tool_calls")])


def back(*ids: str, parts: tuple[Text | Thinking, ...] = ()) -> list[Message]:
    """The turn as an agent sends it back: the calls without their thoughts, and the results."""
    calls = Message("assistant", [*parts, *(ToolCall(i, "f", "{}") for i in ids)])
    return [Message("user", [Text("go")]), calls, *(Message("tool", [ToolResult(i, [Text("1")])]) for i in ids)]


def remembered(thoughts: Thoughts, answer: Answer, key: str = "k") -> None:
    events = unfold(answer)
    filtered = Remember(thoughts, key)
    assert filtered.feed(events) is events and filtered.end() == []


def test_a_thought_comes_back_with_its_call():
    thoughts = Thoughts()
    remembered(thoughts, said("plan", "a", "b"))
    for ids in (["a"], ["b"], ["x", "b"]):
        chat = Chat("m", back(*ids), tools=TOOLS)
        out = thoughts.restored(chat, "k")
        assert out.messages[1].parts == [Thinking("plan"), *chat.messages[1].parts]
        assert chat.messages[1].parts[0] != Thinking("plan"), "the request that came in is not changed"


def test_what_is_left_alone():
    thoughts = Thoughts()
    chat = Chat("m", back("a"), tools=TOOLS)
    assert thoughts.restored(chat, "k") is chat
    remembered(thoughts, said("plan", "a"))
    assert thoughts.restored(chat, "another key") is chat
    assert thoughts.restored(unknown := Chat("m", back("z"), tools=TOOLS), "k") is unknown
    own = Chat("m", back("a", parts=(Thinking("own"),)), tools=TOOLS)
    assert thoughts.restored(own, "k") is own
    over = Chat("m", [*back("a"), Message("user", [Text("next")])], tools=TOOLS)
    assert thoughts.restored(over, "k") is over, "the turn is over"


def test_no_thought_no_call_or_too_long():
    thoughts = Thoughts()
    remembered(thoughts, Answer(choices=[Choice([ToolCall("a", "f", "{}")], "tool_calls")]))
    remembered(thoughts, Answer(choices=[Choice([Thinking("plan"), Text("x")], "stop")]))
    remembered(thoughts, said("x" * (LONGEST + 1), "a"))
    chat = Chat("m", back("a"), tools=TOOLS)
    assert thoughts.restored(chat, "k") is chat


def test_choices_are_kept_apart():
    thoughts = Thoughts()
    answer = said("one", "a")
    answer.choices += said("two", "b").choices
    remembered(thoughts, answer)
    for call, thought in (("a", "one"), ("b", "two")):
        assert thoughts.restored(Chat("m", back(call), tools=TOOLS), "k").messages[1].parts[0] == Thinking(thought)


def test_the_oldest_go_first():
    thoughts = Thoughts(most=2 * Kept("xxxx").size)
    for call in "abc":
        thoughts.keep("k", call, "xxxx")
    got = [thoughts.restored(Chat("m", back(c), tools=TOOLS), "k").messages[1].parts[0] for c in "abc"]
    assert [isinstance(p, Thinking) for p in got] == [False, True, True]
    for n in range(10_000):
        thoughts.keep("k", str(n), "")
    assert len(thoughts._kept) <= 2, "short ones take room, too"


@pytest.mark.parametrize("other", [said("another", "call_0"), said("", "call_0")], ids=["two thoughts", "one"])
def test_of_two_calls_with_one_id_nobody_knows_whose_the_thought_is(other: Answer):
    """Two conversations, with a server that counts calls in each answer from 0."""
    thoughts = Thoughts()
    chat = Chat("m", back("call_0"), tools=TOOLS)
    for _ in range(2):  # the same answer once more is the same
        remembered(thoughts, said("plan", "call_0"))
        assert thoughts.restored(chat, "k").messages[1].parts[0] == Thinking("plan")
    remembered(thoughts, said("their own", "call_0"), "another key")
    assert thoughts.restored(chat, "k").messages[1].parts[0] == Thinking("plan")
    remembered(thoughts, other)
    assert thoughts.restored(chat, "k") is chat
    remembered(thoughts, said("plan", "call_0"))
    assert thoughts.restored(chat, "k") is chat


def test_the_signature_of_a_call_comes_back_in_every_turn():
    thoughts = Thoughts()
    signed = Answer(
        choices=[Choice([ToolCall("a", "f", "{}", signature="c2ln"), ToolCall("b", "f", "{}")], "tool_calls")]
    )
    events = unfold(signed)
    Remember(thoughts, "k", thinking=False).feed(events)
    chat = Chat("m", [*back("a", "b"), Message("user", [Text("next")])])
    one, other = thoughts.restored(chat, "k").messages[1].parts
    assert (one, other) == (ToolCall("a", "f", "{}", signature="c2ln"), ToolCall("b", "f", "{}"))
    own = replace(chat, messages=[Message("assistant", [ToolCall("a", "f", "{}", signature="b3du")])])
    assert thoughts.restored(own, "k") is own


def test_where_nobody_thinks_no_thought_is_kept():
    thoughts = Thoughts()
    Remember(thoughts, "k", thinking=False).feed(unfold(said("plan", "a")))
    chat = Chat("m", back("a"), tools=TOOLS)
    assert thoughts.restored(chat, "k") is chat


async def test_a_shelf_that_lasts_gives_them_back(tmp_path: Path):
    with ThreadPoolExecutor(1) as worker:
        shelf = Shelf(1 << 20, 60, tmp_path, worker)
        remembered(Thoughts(shelf=shelf), said("plan", "a"))
        shelf.put("k", "strange", [b"no json"])
        worker.submit(lambda: None).result()
        found = Shelf(1 << 20, 60, tmp_path, worker)
        found.load()
        again = Thoughts(shelf=found)
        again.load()
    assert again.restored(Chat("m", back("a"), tools=TOOLS), "k").messages[1].parts[0] == Thinking("plan")
