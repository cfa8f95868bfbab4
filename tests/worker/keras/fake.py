"""A model that says what its script says: the worker's own code around it is the real one, and nothing heavy is needed.

Each character is a token, and so is each mark. What it is given as logits favours the script's next token, so that
sampling and forced calls work on it as on a real model.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gateway.canonical.content import Audio
from gateway.errors import ContextTooLong, PartRefused
from gateway.worker.keras.model import Prepared, Spot
from gateway.worker.keras.pieces import Medium

MARKS = (
    *("<bos>", "<eos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>"),
    *("<|tool_response>", "<tool_response|>", '<|"|>', "<|think|>", "<|tool>", "<tool|>", "<|image|>"),
)
_SPLIT = re.compile("|".join(re.escape(m) for m in MARKS) + "|.", re.DOTALL)
VOCABULARY = [*MARKS, *map(chr, range(32, 127)), "\n"]


class Fake:
    """`script`: what it says, a list per answer. `gate`: while it is not set, no token comes."""

    sees, hears, empty_thought, parameters = True, False, False, 7_000_000_000
    vocabulary = len(VOCABULARY)

    def __init__(self, *script: str, context: int = 2000) -> None:
        self.context = context
        self.script = list(script)
        self.prompts: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.generated = 0
        self.over = threading.Event()
        self.fails: BaseException | None = None
        self.stop_tokens = frozenset(VOCABULARY.index(m) for m in ("<turn|>", "<eos>", "<|tool_response>"))

    def token(self, piece: str) -> int | None:
        return VOCABULARY.index(piece) if piece in VOCABULARY else None

    def piece(self, token: int) -> str:
        return VOCABULARY[token].replace(" ", "\u2581")

    def tokenize(self, text: str) -> list[int]:
        return [VOCABULARY.index(p) for p in _SPLIT.findall(text)]

    def prepare(self, runs: Sequence[str | Medium], left: Callable[[], bool] = lambda: False) -> Prepared:
        out = Prepared([])
        for run in runs:
            if isinstance(run, str):
                out.ids += self.tokenize(run)
            elif isinstance(run, Audio):
                raise PartRefused("this model does not hear", param=run.path)
            else:
                out.spots.append(Spot(len(out.ids), 3, (None, None), heard=False))
                out.ids += [VOCABULARY.index("<|image|>")] * 3
        if len(out.ids) >= self.context:
            raise ContextTooLong("too long", param="messages")
        return out

    def generate(
        self,
        prompt: Prepared,
        choose: Callable[[Any], int],
        *,
        read: Callable[[int, int], None],
        left: Callable[[], bool],
    ) -> Iterator[int]:
        self.over.clear()
        self.prompts.append("".join(VOCABULARY[i] for i in prompt.ids))
        total = len(prompt.ids)
        read(total // 2, total)
        read(total, total)
        try:
            if self.fails is not None:
                raise self.fails
            said = self.tokenize(self.script.pop(0)) if self.script else []
            for wanted in [*said, *([VOCABULARY.index("<turn|>")] * (self.context - total - len(said)))]:
                while not self.gate.wait(0.01):
                    if left():
                        return
                if left():
                    return
                row = np.zeros(len(VOCABULARY), dtype=np.float32)
                row[wanted] = 50.0
                self.generated += 1
                yield choose(row)
        finally:
            self.over.set()
