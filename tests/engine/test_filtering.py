"""Which filters an answer goes through: what the family writes as text is read, seen or left alone as the operator
says, and what the client did not ask for is hidden behind that."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.backends import Backend, load
from gateway.canonical.content import Message, Part, Text, Thinking, ToolCall, ToolResult
from gateway.canonical.events import Answer, Choice, Event, Finish, Folder, unfold
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, Embedding, OutputFormat, ThinkingConfig, Tool, ToolChoice
from gateway.engine.filtering import EMPTY, Chain, Repair, begins_in_thought, chain_for, new_id
from gateway.errors import ToolChoiceNotSatisfied
from gateway.filters import complete

QWEN = Facts(family="qwen")
RAW = '<think>hmm</think>Hi<tool_call>\n{"name": "look", "arguments": {"at": 1}}\n</tool_call>'
LOOK = Tool("look", parameters={"type": "object"})


@pytest.fixture
def backend() -> Backend:
    return load("openai")


def ask(**fields: Any) -> Chat:
    return Chat("m", [Message("user", [Text("hello")])], **fields)


def through(chain: Chain, text: str = RAW, finish: Finish = "stop") -> Choice:
    """What becomes of an answer that its server sent as nothing but text."""
    folder = Folder()
    folder.feed(complete(chain.filters, unfold(Answer(choices=[Choice([Text(text)], finish)]))))
    return folder.answer.choices[0]


def shown(part: Part) -> Any:
    if isinstance(part, ToolCall):
        return part.name, part.arguments.replace(" ", "")
    assert isinstance(part, Text | Thinking)
    return type(part).__name__, part.text.strip()


CALL = ("look", '{"at":1}')


@pytest.mark.parametrize(
    ("repair", "include", "parts", "finish"),
    [
        ("fix", False, [("Text", "Hi"), CALL], "tool_calls"),
        ("fix", True, [("Thinking", "hmm"), ("Text", "Hi"), CALL], "tool_calls"),
        ("observe", False, [("Text", RAW)], "stop"),
        ("off", False, [("Text", RAW)], "stop"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_the_family_writes_as_text(
    repair: Repair, include: bool, parts: list[Any], finish: str, streamed: bool, backend: Backend
):
    request = ask(tools=[LOOK], thinking=ThinkingConfig(include=include))
    got = through(chain_for(request, backend, QWEN, repair, streamed=streamed))
    assert [shown(p) for p in got.parts if shown(p) != ("Text", "")] == parts
    assert got.finish == finish


@pytest.mark.parametrize(("repair", "said"), [("fix", True), ("observe", True), ("off", False)])
def test_what_was_wrong_is_said_once_also_where_it_is_only_seen(repair: Repair, said: bool, backend: Backend):
    chain = chain_for(ask(), backend, QWEN, repair, streamed=True)
    through(chain, "<think>no end")
    assert chain.repairs == (["unclosed_thought"] if said else [])


@pytest.mark.parametrize("family", ["gemma4", "qwen", "llama", "mistral", None])
@pytest.mark.parametrize("streamed", [False, True])
def test_plain_words_go_through_as_they_are(family: Any, streamed: bool, backend: Backend):
    chain = chain_for(ask(tools=[LOOK]), backend, Facts(family=family), "fix", streamed=streamed)
    assert [shown(p) for p in through(chain, "Hello there.").parts] == [("Text", "Hello there.")]
    assert chain.repairs == [] and chain.runaway == []


def test_what_goes_on_in_the_middle_of_a_string_is_not_trimmed(backend: Backend):
    begun = [Message("user", [Text("hello")]), Message("assistant", [Text('{"a": "it is')])]
    request = Chat("m", begun, output=OutputFormat("json_object"), prefill=True)
    [part] = through(chain_for(request, backend, Facts(), "fix", streamed=False), ' true"}').parts
    assert part == Text(' true"}')


@pytest.mark.parametrize("others", ["words", "a call"])
def test_each_choice_must_say_something_without_the_calls_that_are_not_permitted(others: str, backend: Backend):
    request = ask(tools=[LOOK], tool_choice=ToolChoice("none"), choices=2)
    chain = chain_for(request, backend, Facts(), "fix", streamed=False)
    call = ToolCall("a", "look", "{}")
    first = [Text("hello"), call] if others == "words" else [Thinking("hm")]
    folder = Folder()
    folder.feed(complete(chain.filters, unfold(Answer(choices=[Choice(first, "stop"), Choice([call], "tool_calls")]))))
    with pytest.raises(ToolChoiceNotSatisfied):
        chain.verify(folder.answer)
    folder.answer.choices[1] = Choice([Text("hello")], "stop")
    chain.verify(folder.answer)


def test_an_operation_without_an_answer_in_parts_has_none(backend: Backend):
    assert chain_for(Embedding("m", ["text"]), backend, QWEN, "fix", streamed=False) is EMPTY


def test_who_remembers_thoughts_sees_them_before_they_are_hidden(backend: Backend):
    class Remembers:
        seen: list[Event] = []

        def feed(self, events: list[Event]) -> list[Event]:
            self.seen += events
            return events

        def end(self) -> list[Event]:
            return []

    remember = Remembers()
    request = ask(tools=[LOOK], thinking=ThinkingConfig(include=False))
    chain = chain_for(request, backend, QWEN, "fix", streamed=False, remember=remember)
    assert not any(isinstance(p, Thinking) for p in through(chain).parts)
    assert any(getattr(e, "text", "") == "hmm" for e in remember.seen)


def test_a_prompt_that_ends_inside_of_a_thought():
    turn = [Message("user", [Text("hello")]), Message("assistant", [ToolCall("c", "look", "{}")])]
    told = Message("tool", [ToolResult("c", "look", [Text("1")])])
    thinks = ThinkingConfig(enabled=True)
    assert begins_in_thought(Chat("m", [*turn, told], thinking=thinks))
    assert not begins_in_thought(Chat("m", [*turn, told]))
    assert not begins_in_thought(Chat("m", turn, thinking=thinks))
    assert not begins_in_thought(Chat("m", [], thinking=thinks))


@pytest.mark.parametrize(
    ("kind", "finish", "text", "parts"),
    [
        ("mlx_lm", "length", "I still think", [("Thinking", "I still think")]),
        ("mlx_lm", "stop", "An answer.", [("Text", "An answer.")]),
        ("mlx_lm", "length", "Thought<channel|>An ans", [("Thinking", "Thought"), ("Text", "An ans")]),
        ("mlx_lm", "length", "<|tool_call>call:look{at:1}<tool_call|>An", [CALL, ("Text", "An")]),
        ("vllm", "length", "An answ", [("Text", "An answ")]),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_thought_that_was_cut_before_its_end(kind: str, finish: Finish, text: str, parts: list[Any], streamed: bool):
    turn = [Message("user", [Text("hello")]), Message("assistant", [ToolCall("c", "look", "{}")])]
    told = Message("tool", [ToolResult("c", "look", [Text("1")])])
    request = Chat("m", [*turn, told], tools=[LOOK], thinking=ThinkingConfig(enabled=True, include=True))
    chain = chain_for(request, load(kind), Facts(family="gemma4"), "fix", streamed=streamed)
    got = through(chain, text, finish)
    assert [shown(p) for p in got.parts] == parts and got.finish == finish
    asked = Chat("m", turn[:1], tools=[LOOK], thinking=ThinkingConfig(enabled=True, include=True))
    chain = chain_for(asked, load(kind), Facts(family="gemma4"), "fix", streamed=streamed)
    assert not any(isinstance(p, Thinking) for p in through(chain, "An answ", "length").parts)


def test_ids_are_all_different():
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(i.startswith("call_") for i in ids)
