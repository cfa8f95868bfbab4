from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.openai.calls import OpenCall, OpenCalls


def feed(calls: OpenCalls, delta: dict[str, object], name: str = "", arguments: str = "") -> OpenCall:
    call = calls.of(delta, name)
    call.name = name or call.name
    call.arguments.append(arguments)
    return call


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=3)), min_size=1, max_size=12))
def test_by_index_alone(deltas: list[tuple[int, str]]) -> None:
    """The documented form: whatever the order of the fragments, each index is one call."""
    calls = OpenCalls()
    for slot, piece in deltas:
        first = not any(c.given == f"id{slot}" for c in calls.all)
        delta: dict[str, object] = {"index": slot}
        if first:
            delta["id"] = f"id{slot}"
        feed(calls, delta, f"f{slot}" if first else "", piece)
    for slot in {s for s, _ in deltas}:
        (call,) = (c for c in calls.all if c.given == f"id{slot}")
        assert "".join(call.arguments) == "".join(piece for s, piece in deltas if s == slot)
    assert len(calls.all) == len({s for s, _ in deltas})


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=3)), min_size=1, max_size=12))
def test_by_id_alone(deltas: list[tuple[int, str]]) -> None:
    """Without an index the id tells, in every fragment or whenever another call goes on."""
    calls = OpenCalls()
    for n, piece in deltas:
        feed(calls, {"id": f"id{n}"}, f"f{n}", piece)
    assert {c.given for c in calls.all} == {f"id{n}" for n, _ in deltas}
    assert len(calls.all) == len({n for n, _ in deltas})


def test_complete() -> None:
    call = OpenCall("a")
    assert not call.complete()
    call.arguments.append('{"a":')
    assert not call.complete()
    call.arguments.append("1}")
    assert call.complete()


def test_a_name_repeated_before_the_arguments_are_whole_is_the_same_call() -> None:
    calls = OpenCalls()
    first = feed(calls, {"index": 0}, "f", '{"a":')
    assert feed(calls, {"index": 0}, "f", "1}") is first
    assert feed(calls, {"index": 0}, "f", "{}") is not first


def test_junk_in_place_of_ids_and_indices() -> None:
    calls = OpenCalls()
    first = feed(calls, {"index": "x", "id": 5}, "f")
    assert feed(calls, {"index": None, "id": None}) is first
