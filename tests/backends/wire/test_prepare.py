from base64 import b64encode
from copy import deepcopy
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.wire.prepare import Manner, object_text, prepare
from gateway.backends.wire.samples import PNG
from gateway.canonical.content import (
    Clip,
    Image,
    Media,
    Message,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Bound, Chat, OutputFormat, Sampling, Tool, ToolChoice
from gateway.errors import BadRequest, PartRefused, UnsupportedParameter

PLAIN = Manner()
MP4 = bytes([0, 0, 0, 24]) + b"ftypmp42" + bytes(4) + b"mp42isom"
WHOLE = Manner(whole_dialect=True)


def chat(*messages: Message, **fields) -> Chat:
    return Chat("m", list(messages) or [Message("user", [Text("x")])], **fields)


def ready(request: Chat, manner: Manner = PLAIN, facts: Facts | None = None) -> tuple[Chat, list[str]]:
    before = deepcopy(request)
    dropped: list[str] = []
    out = prepare(request, facts or Facts(image=True), manner, dropped)
    assert request == before  # the next attempt starts from it again
    return out, dropped


def test_a_plain_chat_is_the_same_object() -> None:
    request = chat(Message("system", [Text("s")]), Message("user", [Text("a"), Text("b")]))
    assert ready(request) == (request, [])
    assert ready(request)[0] is request


def test_untouched_messages_keep_their_identity() -> None:
    first, second = Message("user", [Text("x")]), Message("user", [Image(Media("", base64=PNG))])
    out, _ = ready(chat(first, second))
    assert out.messages[0] is first
    assert out.messages[1].parts == [Image(Media("image/png", base64=PNG))]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("{}", "{}"),
        ("", "{}"),
        ("  ", "{}"),
        ("[1,2]", '{"arguments":[1,2]}'),
        ("3", '{"arguments":3}'),
        ("null", '{"arguments":null}'),
        ('"text"', '{"arguments":"text"}'),
        ('"{\\"a\\":1}"', '{"a":1}'),
        ('{"a": ', '{"arguments":"{\\"a\\": "}'),
        ("{bad", '{"arguments":"{bad"}'),
        ('{"a": NaN}', '{"arguments":"{\\"a\\": NaN}"}'),
    ],
)
def test_arguments_are_objects(given: str, sent: str) -> None:
    assert object_text(given) == sent


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_no_arguments_are_lost(arguments: str) -> None:
    out = object_text(arguments)
    value = msgspec.json.decode(out)
    assert isinstance(value, dict)
    if out != arguments and arguments.strip():
        assert (
            arguments in (value.get("arguments"), msgspec.json.decode(out))
            or "arguments" in value
            or value == (msgspec.json.decode(msgspec.json.decode(arguments)))
        )
    assert object_text(out) == out


def test_calls_refusals_and_results() -> None:
    call = ToolCall("c", "f", "{bad")
    custom = ToolCall("d", "g", "free text", "custom")
    result = ToolResult("c", {"n": 1})
    request = chat(
        Message("assistant", [Refusal("no", path="p")]),
        Message("assistant", [call, custom]),
        Message("tool", [result]),
        Message("tool", [ToolResult("d", [Text("see"), Image(Media("", base64=PNG))])]),
    )
    out, dropped = ready(request)
    assert dropped == []
    assert out.messages[0].parts == [Text("no")]
    assert out.messages[1].parts == [
        ToolCall("c", "f", '{"arguments":"{bad"}'),
        ToolCall("d", "g", '{"input":"free text"}', "function"),
    ]
    assert out.messages[2] is request.messages[2]
    assert out.messages[3].parts == [ToolResult("d", [Text("see")])]
    assert out.messages[4] == Message("user", [Image(Media("image/png", base64=PNG))])
    whole, _ = ready(request, WHOLE)
    assert whole.messages[0] is request.messages[0]
    assert whole.messages[1].parts[1] == custom


def test_parts_of_other_dialects_are_refused_by_path() -> None:
    with pytest.raises(PartRefused) as caught:
        ready(
            chat(
                Message("user", [Text("x"), Opaque("anthropic", "server_tool_use", {}, path="messages[0].content[1]")])
            )
        )
    assert caught.value.param == "messages[0].content[1]"


def test_thoughts_where_they_are_not_read() -> None:
    said, given_back = Thinking("hm", path="messages[0].reasoning_content"), Thinking("hm")
    request = chat(Message("assistant", [said, Text("a")]), Message("assistant", [given_back]))
    assert ready(request)[0] is request
    out, dropped = ready(request, Manner(thoughts=False))
    assert [m.parts for m in out.messages] == [[Text("a")], [Text("")]]
    assert dropped == ["messages[].reasoning_content"]


def test_extras_are_named_or_refused() -> None:
    request = chat(
        Message("user", [Text("x", extra={"openai": {"cache_control": {}}})], extra={"openai": {"weight": 1}}),
        tools=[Tool("f", extra={"openai": {"cache_control": {}}})],
        extra={"openai": {"ignore_eos": True, "id_slot": 1}, "gemini": {"safety": 1}},
    )
    _, dropped = ready(request, Manner(extras=frozenset({"ignore_eos"})))
    assert sorted(dropped) == [
        "gemini.safety",
        "id_slot",
        "messages[].content[].cache_control",
        "messages[].weight",
        "tools[].cache_control",
    ]
    with pytest.raises(UnsupportedParameter, match="grammar") as caught:
        ready(chat(extra={"openai": {"grammar": "x"}}))
    assert caught.value.param == "grammar"


def test_sampling() -> None:
    request = chat(sampling=Sampling(temperature=0.5, top_k=4, seed=1))
    out, dropped = ready(request, Manner(sampling=frozenset({"top_k", "min_p"})), Facts(seed=False))
    assert out.sampling == Sampling(temperature=0.5)
    assert dropped == ["top_k", "seed"]


TOOLS = [Tool("a"), Tool("b"), Tool("c")]


def test_choice_among_tools() -> None:
    named = chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"]))
    assert ready(named)[0] is named
    out, _ = ready(named, Manner(named_as_required=True))
    assert (out.tools, out.tool_choice) == ([Tool("b")], ToolChoice("required"))
    allowed = chat(tools=TOOLS, tool_choice=ToolChoice("auto", ["c", "a"]))
    out, _ = ready(allowed)
    assert (out.tools, out.tool_choice) == ([Tool("a"), Tool("c")], ToolChoice("auto"))
    assert ready(allowed, WHOLE)[0] is allowed
    with pytest.raises(BadRequest):
        ready(chat(tools=TOOLS, tool_choice=ToolChoice("required", ["z"])))


def test_no_tools_no_choice() -> None:
    out, _ = ready(chat(tool_choice=ToolChoice("auto"), parallel_tool_calls=False))
    assert (out.tool_choice, out.parallel_tool_calls) == (None, None)
    with pytest.raises(BadRequest):
        ready(chat(tool_choice=ToolChoice("required")))


def test_what_a_text_server_cannot_do() -> None:
    with pytest.raises(UnsupportedParameter):
        ready(chat(audio_out=True))
    ready(chat(tools=[Tool("a", kind="custom")], audio_out=True), WHOLE)


def test_thoughts_that_nobody_here_can_read_are_named() -> None:
    message = Message("assistant", [Thinking("", redacted="xyz"), Thinking("hm", redacted="xyz"), Text("a")])
    out, dropped = ready(chat(message))
    assert out.messages[0].parts == message.parts[1:] and dropped == ["messages[].redacted_thinking"]


def test_custom_tools_are_told_as_functions() -> None:
    tools = [Tool("a", kind="custom", format={"type": "text"}), Tool("b")]
    out, dropped = ready(chat(tools=tools, tool_choice=ToolChoice("named", ["a"])))
    assert [(t.name, t.kind, t.format) for t in out.tools] == [("a", "function", None), ("b", "function", None)]
    assert out.tools[0].parameters is not None and out.tool_choice == ToolChoice("named", ["a"]) and not dropped
    assert ready(chat(tools=tools), WHOLE)[0].tools == tools


def test_texts_side_by_side_go_as_one() -> None:
    one = Manner(one_text=True)
    message = Message("user", [Text("a"), Text("b"), Image(Media("image/png", base64="iVBORw0KGgo=")), Text("c")])
    result = Message("tool", [ToolResult("c", [Text("x"), Text("y")])])
    ready = prepare(Chat("m", [message, result]), Facts(image=True), one, [])
    assert [p.text if isinstance(p, Text) else p for p in ready.messages[0].parts] == ["a\nb", message.parts[2], "c"]
    assert ready.messages[1].parts == [ToolResult("c", [Text("x\ny")])]
    plain = Chat("m", [Message("user", [Text("a"), Image(Media("image/png", base64="iVBORw0KGgo="))])])
    assert prepare(plain, Facts(image=True), one, []).messages[0] is plain.messages[0]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (None, "ab"),
        (ToolChoice("auto"), "ab"),
        (ToolChoice("required"), "ab"),
        (ToolChoice("none"), ""),
        (ToolChoice("named", ["b"]), "b"),
        (ToolChoice("auto", ["a"]), "a"),
    ],
)
def test_where_a_choice_is_not_obeyed_the_tools_say_it(choice: ToolChoice | None, names: str) -> None:
    chat = Chat("m", [Message("user", [Text("x")])], tools=[Tool("a"), Tool("b")], tool_choice=choice)
    ready = prepare(chat, Facts(), Manner(choosing=False), [])
    assert [t.name for t in ready.tools] == list(names)


def test_media_of_results_follow_their_turn_as_the_users_words_do() -> None:
    picture = Image(Media("image/png", base64=PNG))
    one, two = ToolResult("c", [picture]), ToolResult("d", [Text("see"), picture])
    out, _ = ready(chat(Message("tool", [one]), Message("tool", [two]), Message("user", [Text("and?")])))
    assert out.messages == [
        Message("tool", [ToolResult("c", [Text("")])]),
        Message("tool", [ToolResult("d", [Text("see")])]),
        Message("user", [picture, picture, Text("and?")]),
    ]
    taken, _ = ready(chat(Message("tool", [two])), replace(PLAIN, result_media=True))
    assert taken.messages == [Message("tool", [two])]


def test_what_is_bound_to_another_dialect_is_an_offer_or_refused() -> None:
    request = chat(Message("user", [Text("x")]))
    request.bound = [Bound("gemini", "googleSearch", {}, offer=True, path="tools[1].googleSearch")]
    assert ready(request)[1] == ["tools[1].googleSearch"]
    request.bound[0].offer = False
    with pytest.raises(UnsupportedParameter) as caught:
        ready(request)
    assert caught.value.param == "tools[1].googleSearch" and "googleSearch is not enabled" in caught.value.message


def test_how_often_a_video_is_looked_at_is_named() -> None:
    """It has no field with most servers; a piece of a video is another matter, and refused."""
    video = Video(Media("video/mp4", base64=b64encode(MP4).decode(), clip=Clip(fps=2.0)), path="p")
    out, dropped = ready(chat(Message("user", [video])), facts=Facts(video=True))
    assert dropped == ["video fps"] and out.messages[0].parts == [video]
    cut = replace(video, media=replace(video.media, clip=Clip(start=10.0)))
    with pytest.raises(PartRefused) as e:
        ready(chat(Message("user", [cut])), facts=Facts(video=True))
    assert e.value.param == "p"


def test_a_choice_of_texts_needs_a_server_that_can_be_held_to_it() -> None:
    request = chat(Message("user", [Text("x")]), output=OutputFormat("choice", choices=["A", "B"]))
    with pytest.raises(UnsupportedParameter):
        ready(request, replace(PLAIN, extras=frozenset()))
    assert ready(request, replace(PLAIN, extras=frozenset({"structured_outputs"})))[0] is request


def test_a_result_that_says_it_failed_is_named_unless_its_words_tell() -> None:
    def dropped(result: ToolResult, manner: Manner = PLAIN) -> list[str]:
        return ready(chat(Message("tool", [result])), manner)[1]

    assert dropped(ToolResult("c", [Text("boom")], is_error=True)) == ["messages[].is_error"]
    assert dropped(ToolResult("c", [Text("fine")])) == []
    assert dropped(ToolResult("c", {"error": "boom"}, is_error=True)) == []
    assert dropped(ToolResult("c", [Text("boom")], is_error=True), Manner(extras=frozenset({"is_error"}))) == []


def test_fields_that_came_in_another_dialect_are_named() -> None:
    part = Text(
        "x", extra={"gemini": {"partMetadata": {}, "bad\r\nname": 1}, "gemini.form": {"mimeType": "text/plain"}}
    )
    tool = Tool("f", None, {}, extra={"gemini": {"behavior": "BLOCKING"}})
    _, dropped = ready(chat(Message("user", [part]), tools=[tool]))
    assert sorted(dropped) == ["gemini.?", "gemini.behavior", "gemini.partMetadata"]
