"""What needs no model. The model is tested where it is installed: test_real.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.worker.keras.model import STEP, Spot, steps


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, list[Spot]]:
    """A prompt's length and its media: a token before, between and behind them, as their markers are."""
    at, spots = 0, []
    for gap, count in draw(st.lists(st.tuples(st.integers(2, 400), st.integers(1, 750)), max_size=6)):
        spots.append(Spot(at + gap, count, (None, None), heard=False))
        at += gap + count
    return at + draw(st.integers(1, 500)), spots


@given(prompts())
def test_a_prompt_is_read_whole_in_pieces_that_cut_no_medium(prompt: tuple[int, list[Spot]]) -> None:
    total, spots = prompt
    ends = list(steps(total, spots))
    assert ends[-1] == total
    assert ends == sorted(set(ends))
    longest = max((s.count for s in spots), default=0)
    for start, end in zip([0, *ends], ends, strict=False):
        assert end - start <= STEP + longest
        assert not any(s.start <= start < s.start + s.count for s in spots)
        assert not any(s.start < end < s.start + s.count for s in spots)


def test_a_short_prompt_is_read_at_once() -> None:
    assert list(steps(STEP, [])) == [STEP]
    assert list(steps(STEP + 1, [])) == [STEP, STEP + 1]
