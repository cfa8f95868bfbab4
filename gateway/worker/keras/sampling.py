"""How the next token is chosen, per request. Everything here is arithmetic on one row of logits.

Where the client says nothing, Gemma 4's own settings hold: https://ai.google.dev/gemma/docs/core/model_card_4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.canonical.requests import Sampling
from gateway.errors import BadRequest

Row = npt.NDArray[np.floating[Any]]

TEMPERATURE, TOP_P, TOP_K = 1.0, 0.95, 64
COLDEST = 1e-5
"""Below this temperature the likeliest token is taken: the shares of the others can't be told from 0."""


@dataclass(slots=True, frozen=True)
class Settings:
    """`temperature` 0 = always the likeliest. `top_k` 0 = any. `seed` None = another answer each time.
    `repetition` divides the logits of every token that was there, the other two penalties count those of the answer."""

    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    top_k: int = TOP_K
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: dict[int, float] = field(default_factory=dict)
    seed: int | None = None


def settings_of(asked: Sampling, vocabulary: int) -> Settings:
    """Raises BadRequest for what can't be meant here."""
    bias = {}
    for token, value in (asked.logit_bias or {}).items():
        if not token.isdecimal() or int(token) >= vocabulary:
            raise BadRequest(f"`logit_bias` names token {token[:40]!r}, of 0 to {vocabulary - 1}", param="logit_bias")
        bias[int(token)] = value
    if asked.repetition_penalty is not None and asked.repetition_penalty <= 0:
        raise BadRequest("`repetition_penalty` must be greater than 0", param="repetition_penalty")
    return Settings(
        temperature=_or(asked.temperature, TEMPERATURE),
        top_p=_or(asked.top_p, TOP_P),
        top_k=TOP_K if asked.top_k is None else max(0, asked.top_k),
        min_p=_or(asked.min_p, 0.0),
        presence=_or(asked.presence_penalty, 0.0),
        frequency=_or(asked.frequency_penalty, 0.0),
        repetition=_or(asked.repetition_penalty, 1.0),
        bias=bias,
        seed=asked.seed,
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else float(value)


class Sampler:
    """Chooses the tokens of one answer. The same `seed`, prompt and settings give the same answer."""

    def __init__(self, settings: Settings, prompt: Collection[int] = ()) -> None:
        seed = settings.seed
        self._settings = settings
        self._random = np.random.default_rng(None if seed is None else seed & (2**64 - 1))
        self._prompt = np.unique(np.asarray(list(prompt), dtype=np.int64)) if settings.repetition != 1.0 else None
        self._said: Counter[int] = Counter()

    def choose(self, logits: Row, allowed: Collection[int] | None = None) -> int:
        """The next token. `allowed`: none but these may come."""
        row = self._weighed(logits.astype(np.float64))
        if allowed is not None:
            only = np.fromiter(allowed, dtype=np.int64)
            token = int(only[_draw(row[only], self._settings, self._random)])
        else:
            token = _draw(row, self._settings, self._random)
        self._said[token] += 1
        return token

    def _weighed(self, row: Row) -> Row:
        """Penalties and biases; `row` is changed."""
        s = self._settings
        said = np.fromiter(self._said.keys(), dtype=np.int64, count=len(self._said))
        if self._prompt is not None:
            there = np.union1d(self._prompt, said)
            row[there] = np.where(row[there] > 0, row[there] / s.repetition, row[there] * s.repetition)
        if len(said) and (s.presence or s.frequency):
            counts = np.fromiter(self._said.values(), dtype=np.float64, count=len(self._said))
            row[said] -= s.presence + s.frequency * counts
        for token, bias in s.bias.items():
            row[token] += bias
        return row


def _draw(row: Row, s: Settings, random: np.random.Generator) -> int:
    """The position of the chosen one. The order of the cuts is the usual one: temperature, top_k, top_p, min_p."""
    if s.temperature < COLDEST or len(row) == 1:
        return int(row.argmax())
    order = _largest(row, s.top_k)
    z = (row[order] - row[order[0]]) / s.temperature
    p = np.exp(z)
    p /= p.sum()
    keep = (np.cumsum(p) - p < s.top_p) & (p >= s.min_p * p[0])
    keep[0] = True
    p = np.where(keep, p, 0.0)
    return int(order[random.choice(len(order), p=p / p.sum())])


def _largest(row: Row, k: int) -> npt.NDArray[np.int64]:
    """The positions of the k largest (0 = all), largest first, equal ones in their order."""
    if 0 < k < len(row):
        some = np.sort(np.argpartition(-row, k - 1)[:k])
        return some[np.argsort(-row[some], kind="stable")]
    return np.argsort(-row, kind="stable")
