"""Tool calls as clients expect them: a finish reason that fits what the answer holds.

Normalising, not inventing: `stop` behind complete calls becomes `tool_calls` (vLLM says `stop` after a named choice),
and `tool_calls` without any call becomes `stop` (vLLM says so when `required` was ignored).
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartStart


class ToolCalls:
    __slots__ = ("_arguments", "_free")

    def __init__(self) -> None:
        self._arguments: dict[tuple[int, int], list[str]] = {}
        self._free: set[tuple[int, int]] = set()
        """Calls of custom tools, which take free text: any is complete."""

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] | None = None
        for i, e in enumerate(events):
            kind = type(e)
            if kind is PartDelta:
                assert isinstance(e, PartDelta)
                if e.arguments and (e.choice, e.part) in self._arguments:
                    self._arguments[(e.choice, e.part)].append(e.arguments)
            elif kind is PartStart:
                assert isinstance(e, PartStart)
                if e.kind == "tool_call":
                    self._arguments[(e.choice, e.part)] = []
                    if e.tool_kind == "custom":
                        self._free.add((e.choice, e.part))
            elif kind is ChoiceEnd:
                assert isinstance(e, ChoiceEnd)
                finish = self._finish(e)
                if finish is not e:
                    out = list(events) if out is None else out
                    out[i] = finish
        return events if out is None else out

    def end(self) -> list[Event]:
        return []

    def _finish(self, e: ChoiceEnd) -> ChoiceEnd:
        calls = {place: a for place, a in self._arguments.items() if place[0] == e.choice}
        if e.finish == "stop" and calls and all(p in self._free or _complete("".join(a)) for p, a in calls.items()):
            return replace(e, finish="tool_calls")
        if e.finish == "tool_calls" and not calls:
            return replace(e, finish="stop")
        return e


def _complete(arguments: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(arguments or "{}"), dict)
    except (msgspec.MsgspecError, RecursionError):
        return False
