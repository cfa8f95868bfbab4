"""Forms with a file in them (multipart/form-data), read while they arrive: nothing but a small field is ever held.

https://www.rfc-editor.org/rfc/rfc7578, https://www.rfc-editor.org/rfc/rfc2046#section-5.1
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from gateway.errors import BadRequest

_BOUNDARY = re.compile(r'multipart/form-data;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|(?!")([^\s;"]*))\s*', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
HEAD: Final = 16 * 1024
"""Octets of the head of one part."""


@dataclass(slots=True)
class Part:
    """A part begins. `filename` None: it is no file."""

    name: str
    filename: str | None
    mime: str


Event = Part | bytes | None
"""A part begins, more of its content, it ends."""


def boundary_of(content_type: str) -> bytes:
    """Raises BadRequest for what is no form."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise BadRequest("send the file as multipart/form-data")
    return (found[1] or found[2]).encode("latin-1", "replace")


class FormReader:
    """`feed` the body's pieces; `done` is true after the last boundary."""

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # the first boundary has no line break before it
        self._in_part = False
        self._begun = False
        self.done = False

    def feed(self, data: bytes) -> list[Event]:
        """Raises BadRequest for what is no form."""
        if self.done:
            return []  # what stands behind the last boundary means nothing
        self._buffer += data
        out: list[Event] = []
        while not self.done and self._step(out):
            pass
        return out

    def _step(self, out: list[Event]) -> bool:
        """One step; False = more data is needed."""
        return self._content(out) if self._in_part else self._head(out)

    def _content(self, out: list[Event]) -> bool:
        at = self._buffer.find(self._mark)
        if at < 0:
            safe = len(self._buffer) - len(self._mark)
            if safe > 0:
                out.append(self._buffer[:safe])
                self._buffer = self._buffer[safe:]
            return False
        if at:
            out.append(self._buffer[:at])
        out.append(None)
        self._buffer = self._buffer[at:]
        self._in_part = False
        return True

    def _head(self, out: list[Event]) -> bool:
        """The boundary, which the buffer begins with, and the head behind it."""
        mark = self._mark
        if not self._begun:
            at = self._buffer.find(mark)  # what stands before the first boundary means nothing
            if at < 0:
                self._buffer = self._buffer[-len(mark) :]
                return False
            self._buffer = self._buffer[at:]
            self._begun = True
        behind = self._buffer[len(mark) : len(mark) + 2]
        if len(behind) < 2:
            return False
        if behind == b"--":
            self.done, self._buffer = True, b""
            return False
        end = self._buffer.find(b"\r\n\r\n", len(mark))
        if end < 0:
            if len(self._buffer) > HEAD:
                raise BadRequest("the head of a part of the form is too long")
            return False
        out.append(_part(self._buffer[len(mark) : end]))
        self._buffer = self._buffer[end + 4 :]
        # an empty part ends at once: its boundary's line break is the one that ended the head
        if self._buffer.startswith(mark[2:]):
            self._buffer = b"\r\n" + self._buffer
        self._in_part = True
        return True


def _part(head: bytes) -> Part:
    """Read by hand: the standard library's reader of mail heads takes seconds for some, and trips over others."""
    lines = [line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n")]
    told = {key.strip().lower(): value for key, colon, value in reversed(lines) if colon}
    parameters = _parameters(told.get("content-disposition", ""))
    name = parameters.get("name")
    if name is None:
        raise BadRequest("a part of the form has no name")
    mime = told.get("content-type", "").partition(";")[0].strip().lower()
    return Part(name, _filename(parameters), mime if _TYPE.fullmatch(mime) else "")


def _parameters(value: str) -> dict[str, str]:
    """`form-data; name="a"; filename=b.wav` -> {name: a, filename: b.wav}; the first of equals counts. It ends with
    what is no parameter."""
    out: dict[str, str] = {}
    at = len(value.partition(";")[0])
    while found := _PARAMETER.match(value, at):
        plain = found[3] if found[2] is None else _ESCAPED.sub(r"\1", found[2])
        out.setdefault(found[1].lower(), plain)
        at = found.end()
    return out


def _filename(parameters: dict[str, str]) -> str | None:
    """None if the part has none. `filename*` (RFC 8187) is not meant for forms, but some clients write it."""
    if "filename" in parameters:
        return parameters["filename"]
    starred = parameters.get("filename*")
    if starred is None:
        return None
    charset, _, rest = starred.partition("'")
    latin = charset.lower() == "iso-8859-1"
    return unquote(rest.partition("'")[2] or starred, "latin-1" if latin else "utf-8", "replace")
