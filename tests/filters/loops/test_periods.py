from __future__ import annotations

import pytest

from gateway.filters.loops.periods import DATA, LONGEST, STEP, TIMES, WORD, WORDS, Periods


def heard(text: str) -> int | None:
    """After how many characters it was known."""
    periods = Periods()
    for at in range(0, len(text) - STEP + 1, STEP):
        if periods.feed(text[at : at + STEP]):
            return at + STEP
    return None


@pytest.mark.parametrize(
    ("unit", "patience"),
    [
        ("the same words ", WORDS),
        ("words\n", WORDS),
        ("好的", WORDS),
        ("ha", WORD),
        ("A", WORD),
        ("aGVsbG8gd29ybGQg", DATA),
        ("0, ", DATA),
        ("null, ", DATA),
        ("-", DATA),
        ("\n", DATA),
        ("a b c d e f g h i j k l m n o p ", DATA),
        ("x" * (LONGEST - 1) + " ", TIMES * LONGEST),
    ],
)
def test_how_long_it_may_go_on(unit: str, patience: int) -> None:
    beginning = "Once upon a time there was something else, "
    at = heard(beginning + unit * (2 * patience // len(unit)))
    assert at is not None
    assert patience <= at <= patience + len(beginning) + 3 * STEP + len(unit)
    assert heard(beginning + unit * (patience // len(unit) - STEP // len(unit) - 1)) is None


@pytest.mark.parametrize("period", [*range(1, 60), 64, 100, 127, 128, 150, 199, 200, 254, 255, 508, 509, 510, 999])
def test_every_period_is_found(period: int) -> None:
    words = "".join(f"w{n * n:x} " for n in range(1, 500))
    text = "a beginning " + words[:period] * (40 * LONGEST // period)
    assert heard(text) is not None


def test_the_end_of_a_loop_is_the_end_of_it() -> None:
    some, words = "so it goes " * (WORDS // 11 - 60), "".join(f"{n * n} then " for n in range(200))
    assert heard((some + words) * 3) is None


def test_nothing_is_nothing() -> None:
    assert not Periods().feed("")
