"""`parts: strict` and `require_parameters`: what a target would change or leave out, with its place in the body."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.content import Audio, Media, Message, Part, Text, Thinking, ToolResult, Video
from gateway.canonical.requests import Chat, Completion, Embedding, Sampling, ThinkingConfig
from gateway.routing.strict import THOUGHTS, parameter_lacks, part_lacks


def chat(*parts: Part, **fields: Any) -> Chat:
    for i, part in enumerate(parts):
        part.path = part.path or f"messages[1].content[{i}]"
    return Chat("g", [Message("system", [Text("be brief")]), Message("user", list(parts))], **fields)


def sound() -> Audio:
    return Audio(Media("audio/ogg", base64="T2dnUw=="))


def test_a_part_that_would_be_changed_is_named_by_its_place() -> None:
    request = chat(Text("hi"), sound())
    assert part_lacks(request, {}, ["user"]) == []
    [lack] = part_lacks(request, {1: "audio>wav16k"}, [])
    assert (lack.kind, lack.paths) == ("need", ("messages[1].content[1]",))
    assert "audio>wav16k" in lack.reason


def test_what_is_not_known_to_be_lost_is_not_held_against_a_target() -> None:
    clip = Video(Media("video/mp4", base64="AAAA"))
    assert part_lacks(chat(clip), {0: "video,sound=unknown"}, []) == []
    assert part_lacks(chat(clip), {0: "video,sound=dropped"}, [])[0].paths == (clip.path,)


def test_the_numbers_are_those_of_the_receipt() -> None:
    inner = sound()
    inner.path = "messages[1].content[0].content[0]"
    request = chat(ToolResult("c", [inner]), Text("and?"))
    assert part_lacks(request, {0: "audio>wav16k"}, [])[0].paths == (inner.path,)
    assert part_lacks(request, {1: "text>x"}, [])[0].paths == ("messages[1].content[1]",)


def test_a_field_of_a_part_and_thoughts_are_parts_too() -> None:
    marked = Text("hi", extra={"openai": {"cache_control": {"type": "ephemeral"}}})
    thought = Thinking("hm", path="messages[1].reasoning_content")
    request = chat(Text("a"), marked, thought)
    [field] = part_lacks(request, {}, ["user", "messages[].content[].cache_control", "messages[].name"])
    assert field.paths == ("messages[1].content[1].cache_control",)
    [thoughts] = part_lacks(request, {}, [THOUGHTS])
    assert thoughts.paths == ("messages[1].reasoning_content",)


@pytest.mark.parametrize("request_", [Completion("g", ["x"]), Embedding("g", ["x"])], ids=lambda r: type(r).__name__)
def test_only_chats_have_parts(request_: Any) -> None:
    assert part_lacks(request_, {}, ["user"]) == []
    assert parameter_lacks(request_, ["user"])[0].paths == ("user",)


def test_parameters_that_would_be_dropped() -> None:
    [lack] = parameter_lacks(chat(Text("x")), ["user", "messages[].name"])
    assert (lack.kind, lack.need, lack.paths) == ("need", "parameters", ("user", "messages[].name"))
    assert lack.reason == "would not get user, messages[].name"
    assert parameter_lacks(chat(Text("x")), []) == []
    [lack] = parameter_lacks(chat(Text("x")), [f"f{i}" for i in range(30)])
    assert len(lack.paths) == 30 and lack.reason.endswith("f7, ...")


def test_what_the_configuration_added_was_not_sent() -> None:
    assert parameter_lacks(chat(Text("x")), ["top_k", "thinking_budget", "thinking"]) == []
    sent = chat(Text("x"), sampling=Sampling(top_k=3), thinking=ThinkingConfig(budget=9))
    assert parameter_lacks(sent, ["top_k", "thinking_budget"])[0].paths == ("top_k", "thinking_budget")
    assert parameter_lacks(Completion("g", ["x"], sampling=Sampling(min_p=0.1)), ["min_p", "top_k"])[0].paths == (
        "min_p",
    )
    hidden = chat(Text("x"), thinking=ThinkingConfig(include=False))
    assert parameter_lacks(hidden, ["thinking"]) == []
