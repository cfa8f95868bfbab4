"""Turns: what is merged, paired and put in order."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.content import (
    Audio,
    Clip,
    Document,
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
from gateway.dialects import LIMITS
from gateway.dialects.gemini.contents import PLACEHOLDER, parse_contents, render_contents
from gateway.dialects.gemini.receiver import WHOLE, Receiver
from gateway.errors import BadRequest, PartRefused

CALL_F: dict[str, Any] = {"functionCall": {"name": "f", "args": {}}}
CALL_G: dict[str, Any] = {"functionCall": {"name": "g", "args": {}}}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def said(name: str, response: Any, **more: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": response, **more}}


def parsed(*contents: Any) -> list[Message]:
    return parse_contents(list(contents), LIMITS)


def part(value: Any) -> Any:
    return parsed(user(value))[0].parts[0]


def rendered(*messages: Message, receiver: Receiver = WHOLE) -> list[Any]:
    return render_contents(list(messages), receiver)[1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"text": "a"}, Text("a")),
        ({"text": "a", "thought": False}, Text("a")),
        (
            {"inlineData": {"mimeType": "image/png", "data": "-_8"}},
            Image(Media("image/png", base64="+/8=")),
        ),
        (
            {"inline_data": {"mime_type": "IMAGE/PNG", "data": "AAAA", "display_name": "d"}},
            Image(Media("image/png", base64="AAAA", name="d")),
        ),
        ({"inlineData": {"mimeType": "audio/x-wav", "data": "AAAA"}}, Audio(Media("audio/wav", base64="AAAA"))),
        ({"inlineData": {"mimeType": "audio/mp3; a=b", "data": "AAAA"}}, Audio(Media("audio/mpeg", base64="AAAA"))),
        ({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}, Video(Media("video/mp4", base64="AAAA"))),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "a.pdf"}},
            Document(Media("application/pdf", base64="AAAA", name="a.pdf")),
        ),
        (
            {"inlineData": {"mimeType": "text/csv", "data": "YSxi"}},
            Text("a,b", extra={"gemini.form": {"mimeType": "text/csv"}}),
        ),
        ({"inlineData": {"mimeType": "text/plain", "data": "/w=="}}, Document(Media("text/plain", base64="/w=="))),
        (
            {"fileData": {"fileUri": "https://example.com/a.png?x=1"}},
            Image(Media("image/png", url="https://example.com/a.png?x=1")),
        ),
        ({"fileData": {"fileUri": "https://youtu.be/x"}}, Video(Media("video/mp4", url="https://youtu.be/x"))),
        ({"fileData": {"fileUri": "gs://b/a.mp3"}}, Audio(Media("audio/mpeg", url="gs://b/a.mp3"))),
        ({"fileData": {"fileUri": "https://e.com/what"}}, Document(Media(url="https://e.com/what"))),
        (
            {"fileData": {"file_uri": "http://h:4000/gemini/v1beta/files/abc", "mime_type": "image/png"}},
            Image(
                Media("image/png", file_id="files/abc"),
                extra={"gemini.form": {"fileUri": "http://h:4000/gemini/v1beta/files/abc"}},
            ),
        ),
        (
            {"fileData": {"fileUri": "files/abc", "mimeType": "image/png"}},
            Image(Media("image/png", file_id="files/abc")),
        ),
        (
            {
                "fileData": {"file_uri": "https://youtu.be/x", "mime_type": "video/mp4"},
                "videoMetadata": {"end_offset": "20.5s", "fps": 2.0, "start_offset": "10s"},
            },
            Video(Media("video/mp4", url="https://youtu.be/x", clip=Clip(10.0, 20.5, 2.0))),
        ),
        (
            {
                "inlineData": {"mimeType": "image/png", "data": "AAAA"},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
            },
            Image(Media("image/png", base64="AAAA", detail="low")),
        ),
        (
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "partMetadata": {"k": 1}},
            Image(Media("image/png", base64="AAAA"), extra={"gemini": {"partMetadata": {"k": 1}}}),
        ),
        ({"text": "x", "thoughtSignature": "-_8"}, Text("x", signature="+/8=")),
    ],
)
def test_parts(given: Any, expected: Any) -> None:
    found = part(given)
    assert found == expected and found.path == "contents[0].parts[0]"


def test_what_only_this_dialect_runs_is_kept() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c2ln"}
    out = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    assert parsed(user("x"), model(code, out))[1].parts == [
        Opaque("gemini", "executableCode", {"language": "PYTHON", "code": "1"}, signature="c2ln"),
        Opaque("gemini", "codeExecutionResult", {"outcome": "OUTCOME_OK", "output": "1"}),
    ]


def test_thoughts_and_signatures_of_a_turn() -> None:
    turn = model(
        {"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}, {"text": "", "thoughtSignature": "c2ln"}
    )
    assert parsed(user("x"), turn)[1].parts == [Thinking("hm"), Text("ab"), Text("", signature="c2ln")]


def test_loose_shapes() -> None:
    assert parse_contents("hi", LIMITS) == [Message("user", [Text("hi")])]
    assert parse_contents({"parts": {"text": "hi"}}, LIMITS) == [Message("user", [Text("hi")])]
    assert parse_contents(["a", {"parts": ["b"]}], LIMITS) == [Message("user", [Text("a"), Text("b")])]


def test_results_take_the_order_of_their_calls() -> None:
    call = {"functionCall": {"id": "a", "name": "f"}}
    other = {"functionCall": {"id": "b", "name": "f"}}
    messages = parsed(
        user("q"),
        model(call, other, CALL_G),
        user(said("f", {"output": "2"}, id="b"), said("g", {"output": "3"}), said("f", {"output": "1"}, id="a")),
    )
    assert [(m.parts[0].call_id, m.parts[0].content[0].text) for m in messages[2:]] == [  # type: ignore[union-attr,index]
        ("a", "1"),
        ("b", "2"),
        ("call_g1_2", "3"),
    ]


def test_an_id_that_nobody_gave_is_matched_by_name() -> None:
    messages = parsed(user("q"), model(CALL_F), user(said("f", {"x": 1}, id="unknown")))
    assert messages[2].parts == [ToolResult("call_g1_0", {"x": 1})]


def test_words_beside_results_come_after_them() -> None:
    messages = parsed(user("q"), model(CALL_F, CALL_G), user({"text": "look"}, said("f", {})), user(said("g", {})))
    assert [m.role for m in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[-1].parts == [Text("look")]


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([user("q"), model(CALL_F, CALL_G), user(said("f", {}))], "is equal to the number of function call parts"),
        ([user("q"), model(CALL_F), user(said("f", {}), said("f", {}))], "is equal to the number"),
        ([user("q"), model(CALL_F), user(said("h", {}))], "is equal to the number"),
        ([user("q"), user(said("f", {}))], "comes immediately after a function call turn"),
        ([user("q"), model("x"), user(said("f", {}))], "comes immediately after a function call turn"),
        ([user("q"), model(CALL_F), user("no"), user(said("f", {}))], "comes immediately after a function call turn"),
    ],
)
def test_calls_and_results_that_do_not_fit(contents: Any, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(*contents)
    assert words in caught.value.message and (caught.value.param or "").startswith("contents[")


@pytest.mark.parametrize(
    ("response", "content", "failed"),
    [
        ({"output": "x"}, [Text("x")], False),
        ({"result": "x"}, [Text("x")], False),
        ({"result": {"t": 20}}, {"t": 20}, False),
        ({"result": [1, "ü"]}, [Text('[1, "ü"]')], False),
        ({"output": 3}, [Text("3")], False),
        ({"result": None}, [Text("null")], False),
        ({"error": "boom"}, {"error": "boom"}, True),
        ({"a": 1, "output": 2}, {"a": 1, "output": 2}, False),
        ({}, {}, False),
    ],
)
def test_results_are_unwrapped_and_wrapped_again(response: Any, content: Any, failed: bool) -> None:
    history = [user({"text": "q"}), model(CALL_F), user(said("f", response))]
    messages = parsed(*history)
    result = messages[2].parts[0]
    assert isinstance(result, ToolResult)
    assert (result.content, result.is_error) == (content, failed)
    assert rendered(*messages, receiver=Receiver(call_ids=False)) == history


@pytest.mark.parametrize(
    ("content", "failed", "response"),
    [
        ([Text("plain")], False, {"output": "plain"}),
        ([Text('{"a": 1}')], False, {"a": 1}),
        ([Text("[1]")], False, {"output": [1]}),
        ([Text("3")], False, {"output": "3"}),
        ([Text("a"), Text("b")], False, {"output": "a\nb"}),
        ([Refusal("no")], False, {"output": "no"}),
        ([], False, {}),
        ([Text("boom")], True, {"error": "boom"}),
        ([Text('{"code": 5}')], True, {"error": {"code": 5}}),
        ({"code": 5}, True, {"error": {"code": 5}}),
        ({"error": "x"}, True, {"error": "x"}),
        ({"$ref": "x"}, False, {"output": {"$ref": "x"}}),
    ],
)
def test_results_of_other_dialects(content: Any, failed: bool, response: Any) -> None:
    out = rendered(
        Message("user", [Text("q")]),
        Message("assistant", [ToolCall("a", "f", "")]),
        Message("tool", [ToolResult("a", content, is_error=failed)]),
    )
    assert out[1:] == [
        model({"functionCall": {"id": "a", "name": "f", "args": {}}}),
        user({"functionResponse": {"id": "a", "name": "f", "response": response}}),
    ]


def test_media_of_a_result_stand_in_it_or_beside_it() -> None:
    picture = Image(Media("image/png", base64="AAAA"))
    messages = [
        Message("user", [Text("q")]),
        Message("assistant", [ToolCall("a", "f", "{}")]),
        Message("tool", [ToolResult("a", [Text("see"), picture])]),
        Message("user", [Text("and?")]),
    ]
    inline = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    response = {"id": "a", "name": "f", "response": {"output": "see"}}
    assert rendered(*messages)[2:] == [
        user({"functionResponse": {**response, "parts": [inline]}}),
        user({"text": "and?"}),
    ]
    assert rendered(*messages, receiver=Receiver(result_media=False))[2:] == [
        user({"functionResponse": response}),
        user(inline),
        user({"text": "and?"}),
    ]


def test_turns_of_other_dialects_are_merged() -> None:
    out = rendered(
        Message("user", [Text("a")]),
        Message("user", [Text("b")]),
        Message("assistant", [Text("")]),
        Message("assistant", [Text("x")]),
        Message("assistant", [ToolCall("1", "f", "{}"), ToolCall("2", "f", "{}")]),
        Message("tool", [ToolResult("2", [Text("two")])]),
        Message("tool", [ToolResult("1", [Text("one")]), Text("well?")]),
    )
    assert [c["role"] for c in out] == ["user", "model", "user", "user"]
    assert out[0]["parts"] == [{"text": "a"}, {"text": "b"}]
    assert [p["functionResponse"]["response"]["output"] for p in out[2]["parts"]] == ["one", "two"]
    assert out[3]["parts"] == [{"text": "well?"}]


def test_lost_signatures_have_a_placeholder_on_the_first_call_of_a_turn() -> None:
    messages = [
        Message("user", [Text("q")]),
        Message("assistant", [ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")]),
        Message("tool", [ToolResult("a", {}), ToolResult("b", {})]),
        Message("assistant", [ToolCall("c", "f", "{}", signature="c2ln"), ToolCall("d", "f", "{}")]),
    ]
    out = rendered(*messages, receiver=Receiver(placeholder=True))
    assert [p.get("thoughtSignature") for c in (out[1], out[3]) for p in c["parts"]] == [
        PLACEHOLDER,
        None,
        "c2ln",
        None,
    ]


def test_a_signature_that_is_no_base64_is_not_sent() -> None:
    out = rendered(Message("assistant", [Text("x", signature="call_abc:x")]))
    assert out == [model({"text": "x"})]


def test_thoughts_go_back_only_where_they_are_taken() -> None:
    messages = [Message("user", [Text("q")]), Message("assistant", [Thinking("hm")]), Message("user", [Text("r")])]
    assert len(rendered(*messages)) == 3
    # a turn of thoughts alone is no turn; the user's words are one content
    assert rendered(*messages, receiver=Receiver(thoughts=False)) == [user({"text": "q"}, {"text": "r"})]


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "3", "x"])
def test_broken_arguments_are_told_with_their_path(arguments: str) -> None:
    call = ToolCall("a", "f", arguments, path="messages[1].tool_calls[0]")
    with pytest.raises(BadRequest) as caught:
        rendered(Message("assistant", [call]))
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


def test_what_cannot_be_said_is_refused_by_its_path() -> None:
    for message in (
        Message("user", [Opaque("anthropic", "server_tool_use", {}, path="p")]),
        Message("system", [Image(Media("image/png", base64="AAAA"), path="p")]),
        Message("tool", [ToolResult("nobody", [Text("x")], path="p")]),
        Message("tool", [ToolResult("a", [Thinking("x", path="p")], name="f")]),
        Message("user", [Image(Media(base64="AAAA"), path="p")]),
    ):
        with pytest.raises(PartRefused) as caught:
            rendered(message)
        assert caught.value.param == "p"
