"""Server-sent events: bytes in, payloads out, at any chunking. Source: https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

MAX_EVENT = 1 << 20
"""Bytes of one event. A server that sends more without ending it is broken."""


class EventTooLarge(ValueError):
    pass


class Splitter:
    """Cuts a stream into the data of its events.

    `feed` returns the `data` of each event that is now complete, lines joined by newline. `comments` collects comment
    texts until the caller takes them: some servers tell their progress there.
    """

    __slots__ = ("_buffer", "_data", "_first", "_skip_lf", "comments")

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []
        self._first = True
        self._skip_lf = False
        self.comments: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Raises EventTooLarge when one event outgrows MAX_EVENT."""
        if not self._buffer and not self._data and not self._first and not self._skip_lf and data[-2:] == b"\n\n":
            out = self._fast(data)
            if out is not None:
                return out
        return self._slow(data)

    def _fast(self, data: bytes) -> list[bytes] | None:
        """The usual read: whole events of one `data: ` line each, nothing else. None if this read is not that."""
        if b"\r" in data:
            return None
        out = []
        for event in data[:-2].split(b"\n\n"):
            if event[:6] != b"data: " or b"\n" in event:
                return None
            out.append(event[6:])
        return out

    def _slow(self, data: bytes) -> list[bytes]:
        if self._first and data:
            data = self._buffer + data
            self._buffer = b""
            if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
                self._buffer = data  # may be the start of a byte order mark
                return []
            self._first = False
            if data.startswith(b"\xef\xbb\xbf"):
                data = data[3:]
        if self._skip_lf and data:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        buffer = self._buffer + data
        if buffer[-1:] == b"\r":
            self._skip_lf = True  # the line ends here; its LF, if any, comes with the next read
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = lines.pop()
        out: list[bytes] = []
        for line in lines:
            self._line(line, out)
        if len(self._buffer) + sum(map(len, self._data)) > MAX_EVENT:
            raise EventTooLarge(f"one event is larger than {MAX_EVENT} bytes")
        return out

    def _line(self, line: bytes, out: list[bytes]) -> None:
        if not line:
            if self._data:
                out.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        elif line[:5] == b"data:":
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line[:1] == b":":
            self.comments.append(line[1:].strip())
        elif line == b"data":
            self._data.append(b"")

    def rest(self) -> bytes | None:
        """The data of an event that was complete but for its blank line when the stream ended; None if there is none.

        The standard drops it. Some servers close right after their last line, so the caller decides.
        """
        out: list[bytes] = []
        if self._buffer:
            self._line(self._buffer, out)
            self._buffer = b""
        self._line(b"", out)
        return out[0] if out else None
