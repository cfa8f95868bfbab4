"""One choice of a stream by itself; whole streams are tests/dialects/openai/test_stream.py's."""

from gateway.canonical.events import Event, PartDelta, PartEnd, PartStart
from gateway.dialects.openai.streamed import StreamedChoice


def test_another_kind_of_text_ends_the_part_before() -> None:
    out: list[Event] = []
    choice = StreamedChoice(2)
    choice.text("thinking", "hm", out)
    choice.text("text", "yes", out)
    choice.text("text", "!", out)
    choice.end("a", out)
    assert out == [
        *(PartStart(2, 0, "thinking"), PartDelta(2, 0, "hm"), PartEnd(2, 0)),
        *(PartStart(2, 1, "text"), PartDelta(2, 1, "yes"), PartDelta(2, 1, "!"), PartEnd(2, 1)),
    ]
    assert choice.ended


def test_a_call_whose_name_comes_late_loses_nothing() -> None:
    out: list[Event] = []
    choice = StreamedChoice(0)
    choice.call({"index": 0, "id": "c1", "function": {"arguments": '{"a'}}, "a", out)
    assert out == []
    choice.call({"index": 0, "function": {"name": "look", "arguments": '":1}'}}, "a", out)
    choice.end("a", out)
    start, delta, end = out
    assert isinstance(start, PartStart) and (start.name, start.id) == ("look", "c1")
    assert delta == PartDelta(0, 0, arguments='{"a":1}') and end == PartEnd(0, 0)
