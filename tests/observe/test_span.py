"""A request's place in a trace: what of a client's header is believed, and what a server is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe import span
from gateway.observe.span import Trace, begin, missing, read_traceparent

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-02", False),
        (f"00-{TRACE}-{PARENT}-ff", True),
        (f"01-{TRACE}-{PARENT}-01-later", True),
    ],
)
def test_a_valid_header_is_the_parent(value: str, sampled: bool):
    assert read_traceparent(value.encode()) == (int(TRACE, 16), int(PARENT, 16), sampled)
    trace = begin(value.encode(), 1.0)
    assert (trace.trace_id, trace.parent, trace.sampled) == (int(TRACE, 16), int(PARENT, 16), sampled)
    assert trace.span_id not in (0, trace.parent)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01x",
        f"01-{TRACE}-{PARENT}-01x",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_any_other_one_is_as_none(value: str):
    assert read_traceparent(value.encode()) is None
    trace = begin(value.encode(), 1.0)
    assert trace.parent == 0 and trace.sampled and trace.trace_id != int(TRACE, 16)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_a_server_is_told_reads_back(trace_id: int, span_id: int, sampled: bool):
    name, _, value = Trace(trace_id, span_id, 0, sampled).line.partition(b": ")
    assert name == b"traceparent" and value.endswith(b"\r\n")
    assert read_traceparent(value[:-2]) == (trace_id, span_id, sampled)


def test_a_share_of_those_that_do_not_say():
    assert not begin(None, 0.0).sampled and begin(None, 1.0).sampled
    assert 0 < sum(begin(None, 0.5).sampled for _ in range(200)) < 200
    assert begin(f"00-{TRACE}-{PARENT}-01".encode(), 0.0).sampled


def test_what_is_not_installed_is_said_with_what_to_type(monkeypatch: pytest.MonkeyPatch):
    assert missing() == ""
    monkeypatch.setattr(span, "find_spec", lambda _: None)
    assert "pip install 'gemma-gateway[otel]'" in missing()
