"""Tool calls under way in a stream, told apart however the server tells them."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.dialects.fields import Json


class OpenCall:
    """A tool call under way. It begins as an event once its name is known."""

    __slots__ = ("arguments", "extra", "given", "kind", "name", "part", "signature")

    def __init__(self, given: str) -> None:
        self.given = given
        self.name = ""
        self.part = -1
        self.kind: Literal["function", "custom"] = "function"
        self.arguments: list[str] = []
        self.extra: Json = {}
        self.signature: str | None = None

    def complete(self) -> bool:
        """Do its arguments so far make a whole JSON value?"""
        try:
            msgspec.json.decode("".join(self.arguments))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class OpenCalls:
    """The calls of one choice. `all` holds them in the order in which they came.

    Servers differ: id and name first and then fragments; whole calls, one a delta; no index; one index for all calls,
    told apart by their ids; no ids at all.
    """

    __slots__ = ("_last", "_slots", "all")

    def __init__(self) -> None:
        self.all: list[OpenCall] = []
        self._slots: dict[int, OpenCall] = {}
        self._last: OpenCall | None = None

    def of(self, delta: Json, name: str) -> OpenCall:
        """The call that `delta` continues, or a new one. `name` is the function's, where the delta says it."""
        given = delta.get("id")
        given = given if isinstance(given, str) else ""
        slot = delta.get("index")
        slot = slot if isinstance(slot, int) else None
        call = self._last if slot is None else self._slots.get(slot)
        if call is not None and given and call.given and call.given != given:
            call = None if slot is not None else next((c for c in self.all if c.given == given), None)
        elif call is not None and name and call.name and call.complete() and (not given or name != call.name):
            call = None
        elif call is not None and given and call.part < 0:
            call.given = given
        if call is None:
            call = OpenCall(given)
            self.all.append(call)
        if slot is not None:
            self._slots[slot] = call
        self._last = call
        return call
