"""Calls of custom tools that the server was given as functions: `{"input": "text"}` becomes the text again.

The text is passed on as it comes. What is no such object (some models write the text right away) is passed on whole,
when it is complete.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace

from gateway.canonical.custom import FIELD
from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart

_HEAD = re.compile(rf'\s*\{{\s*"{FIELD}"\s*:\s*"')
_LONGEST_HEAD = 64
_CODE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[^u])|[^\\]", re.DOTALL)


@dataclass(slots=True)
class _Call:
    """`raw` = what is not told yet, `size` = characters that came. `inside` = the text's opening quote was read,
    `over` = its closing one."""

    raw: list[str] = field(default_factory=list)
    size: int = 0
    inside: bool = False
    over: bool = False

    def more(self, piece: str) -> str:
        """What `piece` adds to the text."""
        if self.over:
            return ""
        self.raw.append(piece)
        self.size += len(piece)
        if not self.inside and self.size - len(piece) > _LONGEST_HEAD:
            return ""
        text = "".join(self.raw)
        if not self.inside:
            head = _HEAD.match(text)
            if head is None:
                return ""
            self.inside = True
            text = text[head.end() :]
        end = _safe(text)
        self.raw = [text[end:]]
        if text[end : end + 1] == '"':
            self.over = True
            self.raw.clear()
        return _decoded(text[:end])

    def rest(self) -> str:
        """What is left when the call is complete, and was not what it should be."""
        raw = "".join(self.raw)
        self.raw.clear()
        if self.inside or not raw:
            return ""  # half of an escape, at most
        try:
            value = json.loads(raw, strict=False)
        except (ValueError, RecursionError):
            return raw
        given = value.get(FIELD) if isinstance(value, dict) else value
        return given if isinstance(given, str) else "" if value == {} else raw


def _safe(text: str) -> int:
    """Up to where the inside of a JSON string can be decoded: its closing quote, or the start of an escape (or of a
    pair of them) that is not complete."""
    at = 0
    while at < len(text):
        quote, slash = text.find('"', at), text.find("\\", at)
        if quote >= 0 and (slash < 0 or quote < slash):
            return quote
        if slash < 0:
            return len(text)
        found = _CODE.match(text, slash)
        if found is None:
            if len(text) < slash + 6:
                return slash
            at = slash + 2  # no escape at all
            continue
        if found[0][:3].lower() in ("\\ud",) and found[0][3] in "89abAB":
            second = _CODE.match(text, found.end())
            if second is None and len(text) < found.end() + 6:
                return slash
            found = second if second is not None and second[0][:3].lower() == "\\ud" else found
        at = found.end()
    return len(text)


def _decoded(inside: str) -> str:
    """The inside of a JSON string. Models also write line breaks as they are, and halves of characters."""
    try:
        text = json.loads(f'"{inside}"', strict=False)
    except ValueError:
        return inside
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class CustomTools:
    """`names`: the tools that are custom."""

    __slots__ = ("_calls", "_names")

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._calls: dict[tuple[int, int], _Call] = {}

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] | None = None
        for i, e in enumerate(events):
            new = self._one(e)
            if new is not None and out is None:
                out = events[:i]
            if out is not None:
                out += [e] if new is None else new
        return events if out is None else out

    def end(self) -> list[Event]:
        return []

    def _one(self, e: Event) -> list[Event] | None:
        """What stands in the place of `e`; None: it itself."""
        if isinstance(e, PartDelta):
            call = self._calls.get((e.choice, e.part)) if self._calls else None
            if call is None:
                return None
            text = call.more(e.arguments)
            return [replace(e, arguments=text)] if text or e.signature or e.extra or e.logprobs is not None else []
        if isinstance(e, PartStart):
            if e.kind != "tool_call" or e.tool_kind == "custom" or e.name not in self._names:
                return None
            self._calls[(e.choice, e.part)] = _Call()
            return [replace(e, tool_kind="custom")]
        if isinstance(e, PartEnd):
            call = self._calls.pop((e.choice, e.part), None)
            rest = call.rest() if call is not None else ""
            return [PartDelta(e.choice, e.part, arguments=rest), e] if rest else None
        if isinstance(e, ChoiceEnd) and self._calls:
            out: list[Event] = []
            for choice, part in [key for key in self._calls if key[0] == e.choice]:
                rest = self._calls.pop((choice, part)).rest()
                if rest:
                    out.append(PartDelta(choice, part, arguments=rest))
            return [*out, e] if out else None
        return None
