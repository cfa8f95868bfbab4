from __future__ import annotations

import pytest

from gateway.worker.keras.forced import CallGate

HEADS = [[1, 2, 3], [1, 2, 4, 5]]


def walk(gate: CallGate, *tokens: int) -> frozenset[int] | None:
    for token in tokens:
        allowed = gate.allowed()
        assert allowed is None or token in allowed
        gate.feed(token)
    return gate.allowed()


def test_the_head_of_a_wanted_call_and_then_anything() -> None:
    assert walk(CallGate(HEADS)) == {1}
    assert walk(CallGate(HEADS), 1, 2) == {3, 4}
    assert walk(CallGate(HEADS), 1, 2, 4) == {5}
    assert walk(CallGate(HEADS), 1, 2, 3) is None
    assert walk(CallGate(HEADS), 1, 2, 4, 5, 99, 1, 7) is None


def test_a_thought_may_come_first_and_once() -> None:
    gate = CallGate(HEADS, (8, 9))
    assert walk(gate) == {1, 8}
    assert walk(gate, 8) is None
    assert walk(gate, 50, 51) is None
    assert walk(gate, 9) == {1}
    assert walk(gate, 1, 2, 3) is None


def test_a_prompt_may_end_inside_of_a_thought() -> None:
    gate = CallGate(HEADS, (8, 9), inside=True)
    assert walk(gate, 50, 9) == {1}


@pytest.mark.parametrize("heads", [[], [[]], [[1], []]])
def test_there_must_be_a_tool(heads: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="tool"):
        CallGate(heads)
