"""How much of a medium a model can take in at once: what is converted is made no larger."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Budget:
    """`clip`: seconds of the longest sound that is heard whole, 0 = of any length. `frames`: pictures of a video.
    `pixels`: of a picture, `frame_pixels`: of one of a video's."""

    clip: float = 0.0
    frames: int = 32
    pixels: int = 4_000_000
    frame_pixels: int = 400_000


_SQUARE = 48 * 48
"""Pixels of one soft token of Gemma 4: patches of 16, pooled by 3."""

GEMMA4 = Budget(
    clip=30.0,
    frames=32,
    pixels=1120 * _SQUARE,
    frame_pixels=140 * _SQUARE,
)
"""https://ai.google.dev/gemma/docs/core: sound up to 30 s, at most 1,120 tokens a picture, 32 frames of a video. A
frame may have twice the 70 tokens that servers give one in a video: sent as a picture, it is all that is seen of it."""

_DEFAULT = Budget()


def budget_of(family: str | None) -> Budget:
    """The budget of a family of models, by the name that `identify` gives it."""
    return GEMMA4 if family == "gemma4" else _DEFAULT
