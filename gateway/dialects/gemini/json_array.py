"""A stream as one JSON array, cut into its elements as they come. A single object counts as an array of one."""

from __future__ import annotations

import re

from gateway.sse import MAX_EVENT

_MARKS = re.compile(rb'["{}\[\]]')
_STRING = re.compile(rb'["\\]')


class ArraySplitter:
    """`feed` returns the elements that are now complete. Raises ValueError when one outgrows MAX_EVENT."""

    __slots__ = ("_depth", "_escaped", "_held", "_inside", "_size")

    def __init__(self) -> None:
        self._depth = 0  # of open objects and arrays, the outermost array not counted
        self._inside = False  # a string
        self._escaped = False
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        at = 0
        begin = 0 if self._depth else -1
        while True:
            if self._inside:
                at = self._string_end(data, at)
                if at < 0:
                    break
                self._inside = False
                continue
            found = _MARKS.search(data, at)
            if found is None:
                break
            at = found.end()
            mark = found[0]
            if mark == b'"':
                self._inside = True
            elif mark in b"{[":
                if mark == b"[" and self._depth == 0:
                    continue  # the array itself
                if self._depth == 0:
                    begin = found.start()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth == 0:
                    out.append(b"".join([*self._held, data[begin:at]]))
                    self._held.clear()
                    self._size = 0
                    begin = -1
        if self._depth and begin >= 0:
            self._held.append(data[begin:])
            self._size += len(data) - begin
            if self._size > MAX_EVENT:
                raise ValueError(f"one element is larger than {MAX_EVENT} octets")
        return out

    def _string_end(self, data: bytes, at: int) -> int:
        """Behind the closing quote; -1 if the string goes on."""
        if self._escaped and at < len(data):
            self._escaped = False
            at += 1
        while True:
            found = _STRING.search(data, at)
            if found is None:
                return -1
            if found[0] == b'"':
                return found.end()
            if found.end() >= len(data):
                self._escaped = True
                return -1
            at = found.end() + 1
