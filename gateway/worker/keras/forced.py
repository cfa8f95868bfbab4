"""A forced tool call: the answer can only begin with the call of a wanted tool.

The tokens of `<|tool_call>call:NAME{` are the only ones that may come until one of the wanted names is out; from the
opening brace on the model is free. A thought may come before where the model was told to think.
"""

from __future__ import annotations

from collections.abc import Sequence


class CallGate:
    """`heads`: for each wanted tool the tokens with which its call begins. `thought`: the tokens that open and close a
    thought, where one may come first; `inside`: the prompt ended inside of one."""

    def __init__(
        self, heads: Sequence[Sequence[int]], thought: tuple[int, int] | None = None, *, inside: bool = False
    ) -> None:
        if not heads or not all(heads):
            raise ValueError("a forced call needs a tool")
        self._heads = [tuple(h) for h in heads]
        self._thought = thought
        self._thinking = inside and thought is not None
        self._may_think = thought is not None and not inside
        self._said: tuple[int, ...] = ()
        self._free = False

    def allowed(self) -> frozenset[int] | None:
        """The tokens of which the next one must be; None = any."""
        if self._free or self._thinking:
            return None
        at = len(self._said)
        out = {h[at] for h in self._heads if h[:at] == self._said}
        if self._thought is not None and self._may_think and not at:
            out.add(self._thought[0])
        return frozenset(out)

    def feed(self, token: int) -> None:
        if self._free:
            return
        if self._thought is not None and self._thinking:
            self._thinking = token != self._thought[1]
        elif self._thought is not None and self._may_think and not self._said and token == self._thought[0]:
            self._thinking, self._may_think = True, False
        else:
            self._said += (token,)
            self._free = self._said in self._heads
