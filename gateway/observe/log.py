"""What the gateway writes for its operator: log lines as JSON objects.

A request's line is written as one encoded object: binding it through structlog costs a tenth of a request. The lines of
a moment leave in one write.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import msgspec
import structlog


class Soon:
    """Does something a moment after it was first asked for, once for all who asked meanwhile; at once where no loop
    runs: before the start, after the end."""

    PAUSE = 0.05
    """Seconds."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        if self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(self.PAUSE, self._act)
            except RuntimeError:
                self._act()

    def done(self) -> None:
        """It is being done now: whoever asks from here on asks anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Lines:
    """The end of the log: lines are collected, and written in one go a moment later or when they are many. Never
    raises: when nobody reads the log any more, requests go on."""

    MOST = 64 * 1024
    """Octets that may wait."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held: list[bytes] = []
        self._size = 0
        self._soon = Soon(self.flush)

    def add(self, line: bytes) -> None:
        self._held.append(line)
        self._size += len(line)
        if self._size > self.MOST:
            self.flush()
        else:
            self._soon.ask()

    def flush(self) -> None:
        self._soon.done()
        if not self._held:
            return
        self._held.append(b"")
        text = b"\n".join(self._held).decode()
        self._held.clear()
        self._size = 0
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return

    def msg(self, message: str) -> None:
        """An event, for structlog: behind the lines that came before it, and at once."""
        self._held.append(message.encode("utf-8", "backslashreplace"))
        self.flush()

    debug = info = warning = error = critical = exception = msg


class Log:
    """Log lines as JSON objects, one a line. `request` takes the line of one finished request; `events` is for
    everything else."""

    def __init__(self, stream: TextIO | None = None, level: str = "info") -> None:
        self._lines = _Lines(stream or sys.stderr)
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self.events: Any
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """From now on: debug, info, warning or error."""
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        self._quiet = number > logging.INFO
        self.events = structlog.wrap_logger(
            self._lines,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=lambda obj, **_: self._encode(obj).decode()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(number),
        )

    def _encode(self, fields: dict[str, Any]) -> bytes:
        try:
            return self._encoder.encode(fields)
        except ValueError:  # half a surrogate pair, which is no text
            return json.dumps(fields, default=str).encode()

    def request(self, fields: dict[str, Any]) -> None:
        if not self._quiet:
            self._lines.add(self._encode(fields))

    def flush(self) -> None:
        """Writes what still waits."""
        self._lines.flush()
