"""As little HTTP/1.1 as a load generator and a fake server need, so that neither is full before what they measure.

Both readers take one message per connection at a time (nobody here pipelines) and keep almost nothing of it.
The end of a chunked body is found by its last bytes, CRLF 0 CRLF CRLF, standing at the end of a read: enough here,
because both sides are ours and no body of ours contains them.
"""

from __future__ import annotations

import re

LAST_CHUNK = b"\r\n0\r\n\r\n"
EVENT = b"data: "
KEPT = 8192
"""How much of the beginning of a request's body is kept, in bytes: the rest is counted and thrown away."""
KEPT_LAST = 512
"""How much of its end."""

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked")


class _Body:
    """Where a body ends: after so many bytes, at the last chunk, or (length None, not chunked) with the connection."""

    __slots__ = ("_chunked", "_left", "_tail", "ended")

    def __init__(self, head: bytes, *, without_length: int | None) -> None:
        found = _LENGTH.search(head)
        self._left: int | None = int(found[1]) if found else without_length
        self._chunked = found is None and _CHUNKED.search(head) is not None
        self._tail = b"\r\n"  # a chunked body may be nothing but its last chunk
        self.ended = not self._chunked and self._left == 0

    def feed(self, data: bytes) -> None:
        if self._chunked:
            self._tail = data[-7:] if len(data) >= 7 else (self._tail + data)[-7:]
            self.ended = self._tail == LAST_CHUNK
        elif self._left is not None:
            self._left -= len(data)
            self.ended = self._left <= 0


class RequestReader:
    """A request as the fake server sees it: `method`, `path`, the `start` and the `last` of the body, and its `size` in
    bytes."""

    __slots__ = ("_body", "_head", "last", "method", "path", "size", "start")

    def __init__(self) -> None:
        self._head = b""
        self._body: _Body | None = None
        self.method = self.path = ""
        self.start = self.last = b""
        self.size = 0

    def feed(self, data: bytes) -> bool:
        """Takes what one read brought; True when the request is complete."""
        if self._body is None:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return False
            head = data[: end + 2]
            self.method, self.path = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]
            self._body = _Body(head.lower(), without_length=0)
            data = data[end + 4 :]
        if data:
            self.size += len(data)
            self.last = data[-KEPT_LAST:] if len(data) >= KEPT_LAST else (self.last + data)[-KEPT_LAST:]
            if len(self.start) < KEPT:
                self.start += data[: KEPT - len(self.start)]
            self._body.feed(data)
        return self._body.ended


class AnswerReader:
    """An answer as the load generator sees it: `status`, `size` of the body as sent, and how many server-sent
    `events` it had. An event is missed where a relay's chunk framing falls into the six bytes of its `data: `."""

    __slots__ = ("_body", "_head", "_last", "events", "size", "status")

    def __init__(self) -> None:
        self._head = b""
        self._body: _Body | None = None
        self._last = b""
        self.status = self.events = self.size = 0

    def feed(self, data: bytes) -> bool:
        """Takes what one read brought; True when the answer is complete."""
        if self._body is None:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return False
            self.status = int(data[9:12])
            self._body = _Body(data[: end + 2].lower(), without_length=None)
            data = data[end + 4 :]
        if data:
            self.size += len(data)
            self.events += (self._last + data).count(EVENT)
            self._last = data[-5:] if len(data) >= 5 else (self._last + data)[-5:]
            self._body.feed(data)
        return self._body.ended

    @property
    def headed(self) -> bool:
        """The head has come."""
        return self._body is not None


def request(method: str, path: str, host: str, body: bytes = b"", key: str = "") -> bytes:
    """The bytes of one request; `key` goes into `Authorization: Bearer`."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Accept: */*"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
