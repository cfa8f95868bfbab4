"""`<think> ... </think>` before an answer, for families that think in their text: DeepSeek, Qwen, Mistral's
`[THINK]`.

A thought may stand where the answer begins, or right behind another one. Anywhere else the tag is text. Codes in
`repairs`: unclosed_thought, stray_marker (an end without a beginning), late_thought, cut_marker.
"""

from __future__ import annotations

from gateway.filters.markup.pieces import Kind
from gateway.filters.markup.rewrite import MarkupFilter
from gateway.filters.markup.scan import TagReader


class _ThinkReader(TagReader):
    """Base of the readers that `_reader_class` makes, one per pair of tags."""

    def __init__(self, open_reasoning: bool) -> None:
        super().__init__()
        self._open_reasoning = open_reasoning
        self._thought = False
        self._marked = False

    def begin(self, kind: Kind) -> None:
        thinking = kind == "thinking" or (self._open_reasoning and self._opening)
        self._open_reasoning = False
        super().begin("thinking" if thinking else "text")
        self._thought = self._thought or thinking
        self._marked = False

    def _may_pass(self) -> bool:
        if self._kind == "thinking":
            return self._pos >= len(self._buf) and not self._blank and not self._ghost["thinking"]
        return super()._may_pass()

    def _marker(self, marker: str, final: bool) -> bool:
        end = self._pos + len(marker)
        if marker == self.MARKERS[0]:
            if self._kind == "text" and not self._blank:
                self._mentioned = True
                self._say_to(end)
                return True
            if self._kind == "thinking":
                self._note("repeated_thought")
            else:
                self._boundary("thinking")
            self._thought = self._marked = True
        elif self._kind == "thinking":
            self._boundary("text")
        elif self._mentioned:
            self._say_to(end)
        else:
            self._stray_end = not (self._thought or self._opening)
            self._note("stray_marker")
        self._pos = end
        return True

    def _finished(self) -> None:
        if self._kind == "thinking" and self._marked and self._finish != "length":
            self._note("unclosed_thought")


def _reader_class(tags: tuple[str, str]) -> type[_ThinkReader]:
    return type("ThinkReader", (_ThinkReader,), {"MARKERS": tags, "LEAD": tags[0][0]})


class Reasoning(MarkupFilter):
    """`open_reasoning`: the prompt ended inside of a thought. `whole`: nothing is shown before the answer is complete,
    so that a thought whose beginning is missing is known by its end."""

    def __init__(
        self,
        *,
        tags: tuple[str, str] = ("<think>", "</think>"),
        open_reasoning: bool = False,
        whole: bool = False,
    ) -> None:
        kind = _reader_class(tags)
        # `new_id` is never asked: there are no calls here
        super().__init__(lambda inside: kind(open_reasoning or inside), new_id=str, lead=tags[0][0], whole=whole)
