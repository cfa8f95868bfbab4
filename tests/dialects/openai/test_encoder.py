from __future__ import annotations

from typing import Any

import msgspec

from gateway.canonical.content import Opaque
from gateway.canonical.events import (
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
)
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.errors import NoTargetFits, Reset

START = Start("chatcmpl-1", "/models/secret-path", 7, {"openai": {"system_fingerprint": "fp", "queue": 3}})


def payloads(data: bytes) -> list[Any]:
    assert data.endswith(b"\n\n") or not data
    out = []
    for event in data.decode().split("\n\n")[:-1]:
        assert event.startswith("data: ") and "\n" not in event
        out.append(event[6:] if event == "data: [DONE]" else msgspec.json.decode(event[6:]))
    return out


def text(*pieces: str, choice: int = 0, part: int = 0) -> list[Event]:
    return [PartStart(choice, part, "text"), *(PartDelta(choice, part, p) for p in pieces), PartEnd(choice, part)]


def test_a_plain_stream() -> None:
    encoder = ChatEncoder("public")
    got = payloads(encoder.encode([START, *text("Hel", 'lo "\n\u2028é'), ChoiceEnd(0, "stop"), End()]))
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "public",
        "system_fingerprint": "fp",
    }

    def chunk(delta: Any, finish: str | None = None, **more: Any) -> Any:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    assert got == [
        chunk({"role": "assistant", "content": "Hel"}, queue=3),
        chunk({"content": 'lo "\n\u2028é'}),
        chunk({}, "stop"),
        "[DONE]",
    ]


def test_the_role_is_said_once_a_choice() -> None:
    got = payloads(
        ChatEncoder("m").encode(
            [
                Start(),
                *text("a"),
                *text("b", choice=1),
                ChoiceEnd(0, "stop"),
                ChoiceEnd(1, "stop"),
                ChoiceEnd(2, "stop"),
            ]
        )
        + b""
    )
    roles = [(c["choices"][0]["index"], c["choices"][0]["delta"].get("role")) for c in got]
    assert roles == [(0, "assistant"), (1, "assistant"), (0, None), (1, None)]
    held = payloads(ChatEncoder("m").encode([Start(), ChoiceEnd(0, "stop"), End()]))
    assert held[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_the_last_finish_is_held_for_what_comes_after_it() -> None:
    encoder = ChatEncoder("m")
    assert b'finish_reason":"stop' not in encoder.encode([Start(), *text("a"), ChoiceEnd(0, "stop")])
    assert encoder.encode([Usage(1, 2, extra={"openai": {"timings": {"n": 1}}})]) == b""
    encoder.closing = {"repaired": "x"}
    last, done = payloads(encoder.encode([End({"openai": {"late": 1}})]))
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (last["timings"], last["late"], last["gateway"]) == ({"n": 1}, 1, {"repaired": "x"})
    assert "usage" not in last and done == "[DONE]"


def test_usage_if_it_was_asked_for() -> None:
    encoder = ChatEncoder("m", include_usage=True)
    encoder.closing = {"x": 1}
    events = [
        Start(),
        Usage(1, 1),
        *text("a"),
        ChoiceEnd(0, "stop"),
        Usage(1, 2, 0, extra={"openai": {"timings": 3}, "openai.usage": {"prompt_tokens_details": {"image": 9}}}),
        End(),
    ]
    got = payloads(encoder.encode(events))
    assert [bool(c["choices"]) for c in got[:-1]] == [True, True, False]
    assert got[-2]["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0, "image": 9},
    }
    assert (got[-2]["timings"], got[-2]["gateway"]) == (3, {"x": 1}) and "gateway" not in got[-3]


def test_usage_that_nobody_told_is_not_made_up() -> None:
    encoder = ChatEncoder("m", include_usage=True)
    encoder.closing = {"x": 1}
    got = payloads(encoder.encode([Start(), *text("a"), ChoiceEnd(0, "stop"), End()]))
    assert not any("usage" in c for c in got[:-1]) and got[-2]["gateway"] == {"x": 1}


def test_tool_calls() -> None:
    got = payloads(
        ChatEncoder("m").encode(
            [
                Start(),
                PartStart(0, 0, "tool_call", "a", "f", extra={"openai.part": {"extra_content": 1}}),
                PartStart(0, 1, "tool_call", "b", "g", "custom"),
                PartDelta(0, 1, arguments="free"),
                PartDelta(0, 0, arguments="{}"),
                PartEnd(0, 0, {"openai.part": {"late": 2}}),
                PartEnd(0, 1),
                ChoiceEnd(0, "tool_calls"),
                End(),
            ]
        )
    )
    deltas = [c["choices"][0]["delta"] for c in got[:-1]]
    first = {
        "index": 0,
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": ""},
        "extra_content": 1,
    }
    assert deltas == [
        {"role": "assistant", "tool_calls": [first]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "custom", "custom": {"name": "g", "input": ""}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "free"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ""}, "late": 2}]},
        {},
    ]


def test_a_call_that_comes_whole_is_one_chunk() -> None:
    """Two of them with a signature, as servers send them that know no pieces of calls."""
    events: list[Event] = [Start()]
    for n in (0, 1):
        events += [
            PartStart(0, n, "tool_call", f"c{n}", "f"),
            PartDelta(0, n, arguments='{"a": 1}', signature=None if n else "c2ln"),
            PartEnd(0, n),
        ]
    got = payloads(ChatEncoder("m").encode([*events, ChoiceEnd(0, "tool_calls"), End()]))
    call = {"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    signed = {**call, "extra_content": {"google": {"thought_signature": "c2ln"}}}
    assert [c["choices"][0]["delta"] for c in got[:-1]] == [
        {"role": "assistant", "tool_calls": [signed]},
        {"tool_calls": [{**call, "index": 1, "id": "c1"}]},
        {},
    ]


def test_thoughts_go_by_the_name_that_the_client_wants() -> None:
    events: list[Event] = [Start(), PartStart(0, 0, "thinking"), PartDelta(0, 0, "t")]
    for field, wanted in (
        ("reasoning_content", {"reasoning_content": "t"}),
        ("reasoning", {"reasoning": "t"}),
        ("both", {"reasoning": "t", "reasoning_content": "t"}),
    ):
        (got,) = payloads(ChatEncoder("m", reasoning_field=field).encode(events))  # type: ignore[arg-type]
        assert got["choices"][0]["delta"] == {"role": "assistant", **wanted}


def test_everything_else_that_a_part_can_carry() -> None:
    raw = Opaque("gemini", "grounding", {"a": 1})
    got = payloads(
        ChatEncoder("m").encode(
            [
                Start(),
                PartStart(0, 0, "refusal"),
                PartDelta(0, 0, "no", logprobs={"content": []}, extra={"openai.choice": {"x": 1}, "openai": {"y": 2}}),
                PartStart(0, 1, "opaque", opaque=raw),
                PartStart(0, 2, "text"),
                PartDelta(0, 2, annotations=[{"type": "url_citation"}]),
                ChoiceEnd(0, "stop", "END", {"content": [1]}, {"openai.message": {"z": 3}}),
                End(),
            ]
        )
    )
    choices = [c["choices"][0] for c in got[:-1]]
    assert choices[0]["delta"]["refusal"] == "no" and choices[0]["logprobs"] == {"content": []}
    assert choices[0]["x"] == 1 and got[0]["y"] == 2
    assert choices[1]["delta"] == {"opaque_parts": [{"dialect": "gemini", "type": "grounding", "raw": {"a": 1}}]}
    assert choices[2]["delta"] == {"annotations": [{"type": "url_citation"}]}
    assert (choices[3]["stop_reason"], choices[3]["logprobs"], choices[3]["delta"]) == (
        "END",
        {"content": [1]},
        {"z": 3},
    )


def test_signs_of_life() -> None:
    encoder = ChatEncoder("m")
    assert encoder.media_type == "text/event-stream"
    assert encoder.life_sign(43, 100) == b": prefill 43 %\n\n"
    assert encoder.life_sign(0, 0) == b": waiting\n\n"
    assert encoder.life_sign(7, 3) == b": prefill 100 %\n\n"
    assert encoder.encode([Progress(1, 2)]) == b"" == encoder.encode([])


def test_a_fault_ends_the_stream_without_done() -> None:
    encoder = ChatEncoder("m")
    encoder.encode([Start(), *text("a"), ChoiceEnd(0, "stop"), *text("b", choice=1)])
    (error,) = payloads(encoder.fault(Reset("the server went away")))
    assert error == {
        "error": {"message": "the server went away", "type": "server_error", "param": None, "code": "upstream_reset"}
    }
    (error,) = payloads(ChatEncoder("m").fault(NoTargetFits("x", param="p", detail={"targets": []})))
    assert error["error"]["gateway"] == {"targets": []}
    held = ChatEncoder("m")
    held.encode([Start(), *text("a"), ChoiceEnd(0, "stop")])
    finish, error = payloads(held.fault(Reset("x")))
    assert finish["choices"][0]["finish_reason"] == "stop" and "error" in error


def test_a_fault_among_the_events() -> None:
    got = payloads(ChatEncoder("m").encode([Start(), Fault("server_is_overloaded", "x", 503)]))
    assert got == [
        {"error": {"message": "x", "type": "service_unavailable_error", "param": None, "code": "server_is_overloaded"}}
    ]


def test_a_server_that_does_not_say_when() -> None:
    (chunk,) = payloads(ChatEncoder("m", created=9).encode([Start(), *text("a")]))
    assert chunk["created"] == 9
