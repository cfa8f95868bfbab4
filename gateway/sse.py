"""Server-sent events: bytes in, payloads out, at any chunking. Source: https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

MAX_EVENT = 1 << 20
"""Bytes of one event. A server that sends more without ending it is broken."""

MAX_STRAYS = 1 << 16

_DATA = b"data: "
_FIELDS = (b"event", b"id", b"retry")
_MARK = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    pass


class Splitter:
    """Cuts a stream into the data of its events.

    `feed` returns the `data` of each event that is now complete, lines joined by newline. `comments` collects comment
    texts until the caller takes them: some servers tell their progress there. `strays` collects lines that are no field
    of an event, up to MAX_STRAYS bytes: some servers break off with the bare JSON of an error.
    """

    __slots__ = ("_data", "_first", "_pending", "_size", "_skip_lf", "comments", "strays")

    def __init__(self) -> None:
        self._pending: list[bytes] = []  # an unfinished line, in the pieces in which it came
        self._size = 0  # bytes of the unfinished event
        self._data: list[bytes] = []
        self._first = True
        self._skip_lf = False
        self.comments: list[bytes] = []
        self.strays: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Raises EventTooLarge when one event outgrows MAX_EVENT."""
        if self._first and data[:6] == _DATA and not self._pending:
            self._first = False  # it begins without a byte order mark
        if not (self._first or self._skip_lf or self._data) and b"\r" not in data:
            out = self._usual(data)
            if out is not None:
                return out
        return self._slow(data)

    def _usual(self, data: bytes) -> list[bytes] | None:
        """The usual read: events of one `data: ` line each, the last of which may be unfinished. None if it is not
        that, or can't be told yet."""
        pending = self._pending
        if pending:
            if len(pending) > 1:
                return None  # a long event: joined once, when it is whole
            data = pending[0] + data
        end = data.rfind(b"\n\n")
        if end < 0 or data[:6] != b"data: ":
            return None
        out = data[6:end].split(b"\n\ndata: ")
        if data.count(b"\n", 0, end) != 2 * (len(out) - 1) or (end > MAX_EVENT and max(map(len, out)) > MAX_EVENT):
            return None
        rest = data[end + 2 :]
        if rest and (b"\n" in rest or not (rest.startswith(_DATA) or _DATA.startswith(rest))):
            return None
        pending.clear()
        self._size = 0
        if rest:
            self._hold(rest)
        return out

    def _slow(self, data: bytes) -> list[bytes]:
        if self._first:
            data = self._without_mark(data)
        if self._skip_lf and data:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if b"\n" not in data and b"\r" not in data:
            self._hold(data)
            return []
        if data[-1:] == b"\r":
            self._skip_lf = True  # the line ends here; its LF, if any, comes with the next read
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if self._pending:
            self._pending.append(lines[0])
            lines[0] = b"".join(self._pending)
            self._pending.clear()
        rest = lines.pop()
        out: list[bytes] = []
        for line in lines:
            self._line(line, out)
        self._size = sum(map(len, self._data))
        self._hold(rest)
        return out

    def _without_mark(self, data: bytes) -> bytes:
        """The start of the stream without its byte order mark; b"" while it can't be told."""
        data = b"".join(self._pending) + data
        self._pending.clear()
        self._size = 0
        if len(data) < 3 and _MARK.startswith(data):
            if data:
                self._pending.append(data)
            return b""
        self._first = False
        return data.removeprefix(_MARK)

    def _hold(self, data: bytes) -> None:
        """Keeps the beginning of a line. Joined once, when the line is whole."""
        if data and not self._first:
            self._pending.append(data)
            self._size += len(data)
        if self._size > MAX_EVENT:
            raise EventTooLarge(f"one event is larger than {MAX_EVENT} bytes")

    def _line(self, line: bytes, out: list[bytes]) -> None:
        if not line:
            if self._data:
                event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data.clear()
                if len(event) > MAX_EVENT:
                    raise EventTooLarge(f"one event is larger than {MAX_EVENT} bytes")
                out.append(event)
        elif line[:5] == b"data:":
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line[:1] == b":":
            self.comments.append(line[1:].strip())
        elif line == b"data":
            self._data.append(b"")
        elif line.partition(b":")[0] not in _FIELDS and sum(map(len, self.strays)) + len(line) <= MAX_STRAYS:
            self.strays.append(line)

    def rest(self) -> bytes | None:
        """The data of an event that was complete but for its blank line when the stream ended; None if there is none.

        The standard drops it. Some servers close right after their last line, so the caller decides.
        """
        out: list[bytes] = []
        if self._pending:
            self._line(b"".join(self._pending), out)
            self._pending.clear()
        self._line(b"", out)
        return out[0] if out else None
