import pytest

from gateway.backends.wire.stopping import Stopping
from gateway.canonical.events import (
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartStart,
    Usage,
)
from gateway.filters.stop import Stop

FAULT = Fault("upstream_truncated", "cut")


class Script:
    """A decoder that says what it is told to, whatever it is fed."""

    def __init__(self, *batches: list[Event]) -> None:
        self.batches = list(batches)

    def feed(self, data: bytes) -> list[Event]:
        return self.batches.pop(0)

    def end(self) -> list[Event]:
        return self.batches.pop(0)


def events(*texts: str) -> list[Event]:
    return [PartStart(0, 0, "text"), *(PartDelta(0, 0, t) for t in texts)]


CUT: list[Event] = [PartEnd(0, 0), ChoiceEnd(0, "stop", stop_sequence="x")]


def test_it_is_over_at_once() -> None:
    stopping = Stopping(Script(events("ax"), events("never"), [FAULT]), Stop(["x"]))
    assert stopping.feed(b"") == [*events("a"), *CUT, End()]
    assert stopping.feed(b"") == []
    assert stopping.end() == []


@pytest.mark.parametrize("last", [[Usage(1, 2), End()], [FAULT], [Usage(1, 2)]])
def test_what_comes_with_it_counts(last: list[Event]) -> None:
    out = Stopping(Script([*events("ax"), *last]), Stop(["x"])).feed(b"")
    assert out == [*events("a"), *CUT, *(e for e in last if isinstance(e, Usage)), End()]


def test_an_answer_without_it_is_left_alone() -> None:
    first, second = events("a"), [PartEnd(0, 0), ChoiceEnd(0, "length"), End()]
    stopping = Stopping(Script(first, second), Stop(["x"]))
    assert stopping.feed(b"") is first
    assert stopping.feed(b"") is second


def test_a_broken_answer_gives_what_was_held_first() -> None:
    stopping = Stopping(Script(events("stop"), [FAULT]), Stop(["stopped"]))
    assert stopping.feed(b"") == [PartStart(0, 0, "text")]
    assert stopping.end() == [PartDelta(0, 0, "stop"), FAULT]
