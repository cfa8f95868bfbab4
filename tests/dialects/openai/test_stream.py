from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.content import Opaque, Text, Thinking, ToolCall
from gateway.canonical.events import (
    Answer,
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Usage,
    fold,
    unfold,
)
from gateway.dialects.openai import stream
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.stream import ChatDecoder
from gateway.sse import MAX_EVENT
from tests.dialects.openai.strategies import answers
from tests.wire import recorded

STREAMS = [
    "vllm/stream",
    "vllm/stream_nousage",
    "vllm/thinking_stream",
    "vllm/tools_call_stream",
    "vllm/tools_call_thinking_stream",
    "vllm/tools_required_stream",
    "vllm/usage_continuous",
    "vllm/image_jpeg_stream",
    "llamacpp/stream",
    "llamacpp/smollm2_stream",
    "llamacpp/thinking_stream",
    "llamacpp/tools_required_stream",
    "llamacpp/tools_required_stream_thinking",
    "llamacpp/image_jpeg_stream",
    "mlx_lm/stream",
    "mlx_lm/thinking_stream",
    "mlx_lm/tools_call_stream",
    "mlx_lm/err_stream_context_too_long",
    "mlx_lm/tools_named_stream",
    "mlx_vlm/stream",
    "mlx_vlm/thinking_stream",
    "mlx_vlm/tools_call_stream",
    "mlx_vlm/image_jpeg_stream",
]
SHORT = ["vllm/usage_continuous", "mlx_lm/err_stream_context_too_long", "llamacpp/smollm2_stream"]
"""These are cut in two at every offset; the others at every offset at once, and in two at some."""


def decode(data: bytes, *cuts: int, choices: int = 1) -> list[Event]:
    decoder = ChatDecoder(choices)
    out: list[Event] = []
    for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True):
        out += decoder.feed(data[a:b])
    return out + decoder.end()


def sse(*payloads: Any, done: bool = True) -> bytes:
    out = b"".join(b"data: %b\n\n" % (p if isinstance(p, bytes) else msgspec.json.encode(p)) for p in payloads)
    return out + b"data: [DONE]\n\n" if done else out


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **top: Any) -> dict[str, Any]:
    item = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-abc", "model": "m", "created": 5, "choices": [item], **top}


def answer_of(*payloads: Any) -> Answer:
    return fold(decode(sse(*payloads)))


STOP = chunk(finish="stop")


def check_grammar(events: list[Event]) -> None:
    """Parts begin once, count up, are open when they get deltas, and end before their choice does."""
    begun: dict[int, int] = {}
    still: set[tuple[int, int]] = set()
    ended: set[int] = set()
    for i, e in enumerate(events):
        if isinstance(e, PartStart):
            assert e.part == begun.get(e.choice, 0) and e.choice not in ended
            begun[e.choice] = e.part + 1
            still.add((e.choice, e.part))
        elif isinstance(e, PartDelta):
            assert (e.choice, e.part) in still
        elif isinstance(e, PartEnd):
            still.remove((e.choice, e.part))
        elif isinstance(e, ChoiceEnd):
            assert not any(c == e.choice for c, _ in still)
            ended.add(e.choice)
        elif isinstance(e, End | Fault):
            assert i == len(events) - 1


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_do_not_depend_on_the_cuts(name: str) -> None:
    body = recorded(name).body
    whole = decode(body)
    assert type(whole[-1]) is End
    check_grammar(whole)
    assert decode(body, *range(1, len(body))) == whole
    some = range(1, len(body)) if name in SHORT else range(1, len(body), 191)
    for at in some:
        assert decode(body, at) == whole
    windows = body.replace(b"\n", b"\r\n")
    assert decode(windows) == whole == decode(windows, *range(1, len(windows)))


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_are_cut_honestly(name: str) -> None:
    """A stream that ends early ends in one Fault, unless only the framing is missing."""
    body = recorded(name).body
    events = decode(body)
    last_finish = body.rindex(b'"finish_reason": "' if b'"finish_reason": "' in body else b'"finish_reason":"')
    for at in range(0, len(body), 97):
        cut = decode(body[:at])
        ends = [e for e in cut if isinstance(e, End | Fault)]
        assert len(ends) == 1 and cut[-1] is ends[0]
        check_grammar(cut)
        if at < last_finish:
            assert isinstance(ends[0], Fault) and ends[0].code == "upstream_truncated" and ends[0].status == 502
    assert type(decode(body[: body.rindex(b"data: [DONE]")])[-1]) is End
    assert type(events[-1]) is End


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_survive_their_own_encoding(name: str) -> None:
    events = decode(recorded(name).body)
    answer = fold(events)
    encoder = ChatEncoder(answer.model, include_usage=True)
    one_by_one = b"".join(encoder.encode([e]) for e in events)
    together = ChatEncoder(answer.model, include_usage=True).encode(events)
    assert fold(decode(one_by_one)) == fold(decode(together)) == answer
    # a call that came whole is one chunk; nothing else depends on what comes together
    assert one_by_one == together or any(isinstance(e, PartStart) and e.kind == "tool_call" for e in events)


@pytest.mark.parametrize("name", STREAMS)
def test_the_short_way_and_the_long_way_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = recorded(name).body
    short = decode(body)
    monkeypatch.setattr(stream, "_PATIENCE", 0)
    assert decode(body) == short


def test_the_usual_chunk_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = stream.usual_chunk
    monkeypatch.setattr(stream, "usual_chunk", lambda data: taken.append(real(data)) or taken[-1])
    for name in ("vllm/stream", "llamacpp/stream", "mlx_lm/stream"):
        before = len(taken)
        events = decode(recorded(name).body)
        assert len(taken) - before >= sum(isinstance(e, PartDelta) for e in events) - 1, name


def test_what_the_recorded_streams_say() -> None:
    answer = fold(decode(recorded("vllm/tools_call_thinking_stream").body))
    assert [type(p) for p in answer.choices[0].parts] == [Thinking, Text, ToolCall]
    call = answer.choices[0].parts[2]
    assert isinstance(call, ToolCall)
    assert (call.id, call.name, call.arguments) == ("chatcmpl-tool-855227b189066671", "get_weather", '{"days": 3}')
    assert answer.choices[0].finish == "tool_calls"

    answer = fold(decode(recorded("llamacpp/smollm2_stream").body))
    assert answer.choices[0].parts == [Text("The capital of France is Paris.")]
    assert answer.usage == Usage(42, 8, 41)
    assert answer.extra is not None and answer.extra["openai"]["timings"]["predicted_n"] == 8

    answer = fold(decode(recorded("mlx_vlm/tools_call_stream").body))
    assert answer.extra is not None and set(answer.extra["openai"]) == {"timings"}
    assert [type(p) for p in answer.choices[0].parts] == [Text, ToolCall]

    events = decode(recorded("mlx_lm/thinking_stream").body)
    assert Progress(1, 1) in events and isinstance(events[0], Progress)

    usages = [e for e in decode(recorded("vllm/usage_continuous").body) if isinstance(e, Usage)]
    assert [u.output for u in usages] == [0, 1, 2, 3, 3]


@given(answers, st.booleans())
@settings(max_examples=25, deadline=None)
def test_decoding_is_the_inverse_of_encoding(answer: Answer, usage: bool) -> None:
    """For an answer of this dialect that has something to say in each choice."""
    if not answer.choices:
        return
    encoded = ChatEncoder(answer.model, include_usage=True).encode(unfold(answer))
    again = fold(decode(encoded, choices=len(answer.choices)))
    for mine, theirs in zip(answer.choices, again.choices, strict=True):
        # what has no delta form comes back among the fields of the message
        opaque = [p for p in mine.parts if isinstance(p, Opaque)]
        if opaque:
            assert theirs.extra is not None and theirs.extra["openai.message"].pop("opaque_parts")
            mine.parts = [p for p in mine.parts if not isinstance(p, Opaque)]
            theirs.extra = {k: v for k, v in theirs.extra.items() if v} or None
    assert again == answer


def test_parts_switch() -> None:
    answer = answer_of(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "a"}),
        chunk({"content": "b", "role": "assistant"}),
        chunk({"reasoning": "t", "reasoning_content": "t"}),
        chunk({"content": None}),
        chunk({"content": "c"}),
        chunk({"refusal": "no"}),
        STOP,
    )
    parts = answer.choices[0].parts
    assert [p.text for p in parts if not isinstance(p, ToolCall)] == ["ab", "t", "c", "no"]  # type: ignore[union-attr]
    assert (answer.id, answer.model, answer.created) == ("chatcmpl-abc", "m", 5)


def test_a_finish_beside_the_last_text() -> None:
    assert answer_of(chunk({"content": "a"}), chunk({"content": "b"}, "length")).choices[0].parts == [Text("ab")]


def call(
    index: Any = None, id: Any = None, name: str | None = None, arguments: Any = None, **more: Any
) -> dict[str, Any]:
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    out = {"index": index, "id": id, "function": function, **more}
    return {k: v for k, v in out.items() if v is not None}


def calls_of(*deltas: list[dict[str, Any]]) -> list[Any]:
    answer = answer_of(*(chunk({"tool_calls": d}) for d in deltas), chunk(finish="tool_calls"))
    return [(c.id, c.name, c.arguments) for c in answer.choices[0].parts if isinstance(c, ToolCall)]


@pytest.mark.parametrize(
    ("deltas", "wanted"),
    [
        # id and name first, then fragments
        ([[call(0, "a", "f")], [call(0, None, None, "{")], [call(0, None, None, "}")]], [("a", "f", "{}")]),
        # a whole call in one delta; two in one
        ([[call(0, "a", "f", "{}"), call(1, "b", "g", "[]")]], [("a", "f", "{}"), ("b", "g", "[]")]),
        # interleaved fragments
        (
            [[call(0, "a", "f")], [call(1, "b", "g")], [call(0, None, None, "1")], [call(1, None, None, "2")]],
            [("a", "f", "1"), ("b", "g", "2")],
        ),
        # no index: a new id or a new name begins a new call
        ([[call(None, "a", "f", "{}")], [call(None, "b", "f", "{}")]], [("a", "f", "{}"), ("b", "f", "{}")]),
        ([[call(None, "a", "f", "{")], [call(None, None, None, "}")]], [("a", "f", "{}")]),
        ([[call(None, "a", "f", "{")], [call(None, "a", None, "}")]], [("a", "f", "{}")]),
        # one index for all calls, told apart by id
        ([[call(0, "a", "f", "{}")], [call(0, "b", "g", "{}")]], [("a", "f", "{}"), ("b", "g", "{}")]),
        # the id repeated in every fragment
        ([[call(0, "a", "f", "{")], [call(0, "a", "f", "}")]], [("a", "f", "{}")]),
        # the same id for every call
        ([[call(0, "0", "f", "{}")], [call(1, "0", "g", "{}")]], [("0", "f", "{}"), ("0_1", "g", "{}")]),
        ([[call(0, "0", "f", "{}")], [call(0, "0", "g", "{}")]], [("0", "f", "{}"), ("0_1", "g", "{}")]),
        # no ids at all
        ([[call(0, "", "f", "{}")], [call(0, "", "g", "{}")]], [("call_abc_0", "f", "{}"), ("call_abc_1", "g", "{}")]),
        # the id after the name, the name after the arguments, or never
        ([[call(0, None, None, "{")], [call(0, "a", "f", "}")]], [("a", "f", "{}")]),
        ([[call(0, "a", None, "{}")]], [("a", "", "{}")]),
        # the object itself
        ([[call(0, "a", "f", {"x": 1})]], [("a", "f", '{"x":1}')]),
        ([[call(0, "a", "f", "")]], [("a", "f", "")]),
    ],
)
def test_tool_calls_however_a_server_tells_them(deltas: list[Any], wanted: list[Any]) -> None:
    assert calls_of(*deltas) == wanted


def test_calls_stay_open_until_the_choice_ends() -> None:
    events = decode(
        sse(
            chunk({"content": "x"}),
            chunk({"tool_calls": [call(0, "a", "f", "{")]}),
            chunk({"content": "y"}),
            chunk({"tool_calls": [call(0, None, None, "}")]}),
            chunk(finish="tool_calls"),
        )
    )
    check_grammar(events)
    assert fold(events).choices[0].parts == [Text("x"), ToolCall("a", "f", "{}"), Text("y")]


def test_other_forms_of_calls() -> None:
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "c", "input": "free"}}
    assert answer_of(chunk({"tool_calls": [custom]}), STOP).choices[0].parts == [ToolCall("a", "c", "free", "custom")]
    legacy = answer_of(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk(finish="function_call"),
    ).choices[0]
    assert legacy.parts == [ToolCall("call_abc_0", "f", "{}")] and legacy.finish == "tool_calls"
    extra = answer_of(chunk({"tool_calls": [call(0, "a", "f", "{}", extra_content={"x": 1})]}), STOP)
    assert extra.choices[0].parts[0].extra == {"openai.part": {"extra_content": {"x": 1}}}


def test_unknown_fields_survive_and_are_not_repeated() -> None:
    events = decode(
        sse(
            chunk({"content": "a", "mood": "good"}, timings={"n": 1}, obfuscation="x"),
            chunk({"content": "b", "mood": "good"}, timings={"n": 1}, obfuscation="x"),
            chunk({"content": "c"}, timings={"n": 2}),
            {**chunk(finish="stop"), "late": True},
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "cost": 0.5},
        )
    )
    told = [e.extra for e in events if isinstance(e, PartDelta)]
    assert told == [{"openai.message": {"mood": "good"}}, None, {"openai": {"timings": {"n": 2}}}]
    answer = fold(events)
    assert answer.extra == {"openai": {"timings": {"n": 2}, "obfuscation": "x", "late": True, "cost": 0.5}}
    assert answer.choices[0].extra == {"openai.message": {"mood": "good"}}


def test_fields_that_come_with_nothing_else_wait_for_the_next_event() -> None:
    answer = answer_of(
        chunk({"role": "assistant"}), chunk({}, secret=1), chunk({"x": 1}), chunk({"content": "a"}), STOP, {"after": 2}
    )
    assert answer.extra == {"openai": {"secret": 1, "after": 2}}
    assert answer.choices[0].extra == {"openai.message": {"x": 1}}


def test_waiting_fields_ride_on_the_very_next_event() -> None:
    events = decode(sse(chunk({"content": "a"}), chunk({}, secret=1), chunk({"content": "b"}), STOP))
    assert [e.extra for e in events if isinstance(e, PartDelta)] == [None, {"openai": {"secret": 1}}]
    events = decode(sse(chunk({"content": "a"}), chunk({"x": 1}), chunk({"content": "b"}), STOP))
    assert [e.extra for e in events if isinstance(e, PartDelta)] == [None, {"openai.message": {"x": 1}}]


def test_a_fingerprint_that_changes() -> None:
    texts = [chunk({"content": "a"}, system_fingerprint=f) for f in ("one", "one", "two", "two")]
    events = decode(sse(*texts, STOP))
    assert [bool(e.extra) for e in events if isinstance(e, PartDelta)] == [False, False, True, False]
    assert fold(events).extra == {"openai": {"system_fingerprint": "two"}}


def test_logprobs() -> None:
    def with_logprobs(token: str, **fields: Any) -> dict[str, Any]:
        out = chunk({"content": token}, **fields)
        out["choices"][0]["logprobs"] = {"content": [{"token": token}]}
        return out

    answer = answer_of(with_logprobs(""), with_logprobs("a"), with_logprobs("b", finish="stop"))
    assert answer.choices[0].logprobs == {"content": [{"token": ""}, {"token": "a"}, {"token": "b"}]}
    assert answer.choices[0].parts == [Text("ab")]


def test_progress() -> None:
    events = decode(
        b": keepalive 3/10\n\n: keep-alive\n\n:\n\n: keepalive x/y\n\n"
        + sse(chunk(prompt_progress={"total": 100, "cache": 0, "processed": 43, "time_ms": 5}), STOP)
    )
    assert [e for e in events if isinstance(e, Progress)] == [Progress(3, 10), Progress(43, 100)]


@pytest.mark.parametrize(
    ("payload", "code", "status"),
    [
        ({"error": {"message": "x", "type": "server_error", "code": 500}}, "upstream_error", 502),
        ({"error": {"message": "x", "type": "BadRequestError", "code": 400}}, "invalid_value", 400),
        ({"error": {"message": "x", "code": 503}}, "server_is_overloaded", 503),
        ({"error": {"message": "x", "type": "exceed_context_size_error", "code": 400}}, "context_length_exceeded", 400),
        ({"error": "something broke"}, "upstream_error", 502),
        ({"error": "full", "error_type": "overloaded"}, "server_is_overloaded", 503),
        ({"object": "error", "message": "x", "type": "invalid_request_error", "code": None}, "invalid_value", 400),
        (b"{not json", "upstream_protocol_error", 502),
        (b'"text"', "upstream_protocol_error", 502),
        (b"[1]", "upstream_protocol_error", 502),
        (b'{"choices": [{"index": 0, "delta": {"content": "\xff"}}]}', "upstream_protocol_error", 502),
        (b"[" * 100_000, "upstream_protocol_error", 502),
        ({"choices": ["x"]}, "upstream_protocol_error", 502),
        ({"choices": [{"index": -1, "delta": {}}]}, "upstream_protocol_error", 502),
        ({"choices": [{"index": 0, "delta": "x"}]}, "upstream_protocol_error", 502),
    ],
)
@pytest.mark.parametrize("before", [[], [chunk({"content": "a"})]])
def test_a_fault_is_the_last_event(before: list[Any], payload: Any, code: str, status: int) -> None:
    data = sse(*before, payload, chunk({"content": "b"}), STOP)
    for events in (decode(data), decode(data, *range(1, min(len(data), 500)))):
        fault = events[-1]
        assert isinstance(fault, Fault) and (fault.code, fault.status) == (code, status)
        assert sum(isinstance(e, Fault | End) for e in events) == 1
        assert [e.text for e in events if isinstance(e, PartDelta)] == ["a"] * len(before)


def test_null_errors_are_none() -> None:
    assert answer_of(chunk({"content": "a"}, error=None), STOP).choices[0].parts == [Text("a")]


def test_messages_of_servers_are_bounded() -> None:
    fault = decode(sse({"error": {"message": "x" * 9999, "code": 500}}))[-1]
    assert isinstance(fault, Fault) and len(fault.message) == 2048


def test_an_event_without_end() -> None:
    decoder = ChatDecoder()
    events = decoder.feed(sse(chunk({"content": "a"}), done=False))
    piece = b"x" * 65536
    decoder.feed(b"data: ")
    for _ in range(MAX_EVENT // len(piece) + 1):
        events += decoder.feed(piece)
    assert isinstance(events[-1], Fault) and events[-1].code == "upstream_protocol_error"
    assert decoder.feed(sse(STOP)) == [] == decoder.end()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
        sse(chunk({"content": "a"})),
        sse(chunk({"content": "a"}), done=False),
        sse(chunk(finish="stop"), chunk({"content": "b"}, index=1)),
        sse({"choices": []}),
        sse(chunk({"content": "a"}), done=False) + b'data: {"choices": [{"ind',
    ],
)
def test_an_answer_that_was_cut(data: bytes) -> None:
    fault = decode(data)[-1]
    assert isinstance(fault, Fault) and fault.code == "upstream_truncated"


def test_what_is_complete() -> None:
    assert type(decode(sse(STOP, done=False))[-1]) is End
    assert type(decode(sse(STOP, done=False)[:-2])[-1]) is End
    assert type(decode(sse(STOP, done=False) + b"data: [DONE]")[-1]) is End
    assert type(decode(sse(STOP), choices=2)[-1]) is End  # a server that knows nothing of n
    assert type(decode(sse(STOP, done=False), choices=2)[-1]) is Fault  # or was cut between two choices
    decoder = ChatDecoder()
    assert type(decoder.feed(sse(STOP) + sse(chunk({"content": "late"})))[-1]) is End
    assert decoder.feed(sse(STOP)) == [] == decoder.end()


def test_repeated_last_chunks_change_nothing() -> None:
    for again in ({}, {"content": ""}, {"content": "a"}):
        events = decode(sse(chunk({"content": "a"}), STOP, chunk(again, "stop"), chunk(again)))
        check_grammar(events)
        assert fold(events).choices[0].parts == [Text("a")]


def test_several_choices() -> None:
    answer = answer_of(
        chunk({"content": "a"}),
        chunk({"content": "x"}, index=1),
        chunk({"content": "b"}),
        chunk(finish="stop"),
        chunk({"content": "y"}, "length", index=1),
    )
    assert [c.parts for c in answer.choices] == [[Text("ab")], [Text("xy")]]
    assert [c.finish for c in answer.choices] == ["stop", "length"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "index",
                    "delta",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "id",
                    "finish_reason",
                    "usage",
                    "error",
                    "logprobs",
                    "reasoning",
                    "annotations",
                    "prompt_tokens_details",
                    "prompt_progress",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.lists(values.map(lambda v: v if isinstance(v, dict) else {"choices": [v]}), max_size=4))
@settings(max_examples=80, deadline=None)
def test_no_server_makes_it_raise(payloads: list[Any]) -> None:
    events = decode(sse(*payloads))
    assert type(events[-1]) in (End, Fault)
    check_grammar(events)
