"""Inside of a call, and behind it: where it ends, whether it is believed, what becomes of the rest."""

from __future__ import annotations

from gateway.filters.gemma4 import grammar as g
from gateway.filters.gemma4.block import Block, Stop
from gateway.filters.gemma4.calls import GENTLE, Problem, Reading, Tools, junk_is_harmless, read_call, shown
from gateway.filters.gemma4.held import HoldingReader

JUNK = 64
"""Characters between a call's last bracket and its end marker."""
TRIES = 8
"""Closing brackets at which a call without markers is tried."""
_SLICE = 4096
"""Characters that a call is given at a time: what is behind its end is not copied."""


class CallReader(HoldingReader):
    """Modes `call`: between a call's markers; `after`: its brackets closed, its end marker is awaited."""

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self._tools = tools
        self._block: Block | None = None
        self._bare = False
        self._tries = 0
        self._ready: Reading | None = None
        self._raw = ""

    def _open_block(self, bare: bool) -> None:
        if self._why == "leak":
            self._release(real=True, thinking=True)
            self._boundary("text")
        self._block = Block()
        self._bare = bare
        self._tries = 0
        self._mode = "call"

    def _in_call(self, final: bool) -> bool:
        block = self._block
        assert block is not None
        while True:
            stop = block.next()
            if stop is None:
                if self._pos >= len(self._buf):
                    return final and self._call_never_ends(block)
                block.feed(self._buf[self._pos : self._pos + _SLICE])
                self._pos += _SLICE
                continue
            if stop.kind == "balanced":
                if self._brackets_closed(block):
                    return True
            elif stop.kind == "candidate":
                reading = self._read_to(block, stop)
                if isinstance(reading, Reading):
                    return self._ends_at(block, stop, reading)
            elif stop.kind == "marker":
                return self._ends_at(block, stop, self._read_to(block, stop))
            elif block.candidate is not None:
                return self._falls_back(block, block.candidate, unclosed=True)
            else:
                self._note("oversized_call")
                return self._give_up(block.text, block.rest)

    def _read_to(self, block: Block, stop: Stop) -> Reading | Problem:
        implied = stop.marker == g.CALL_CLOSE
        return read_call(block.text[: stop.start], self._tools, bare=self._bare, implied=implied)

    def _brackets_closed(self, block: Block) -> bool:
        """The arguments may be complete. With markers only a reading without doubt is taken before the end marker."""
        text = block.text
        reading = read_call(text, self._tools, bare=self._bare)
        clean = isinstance(reading, Reading) and not reading.junk
        if isinstance(reading, Reading) and clean and (self._bare or GENTLE.issuperset(reading.notes)):
            self._resume(block.rest)
            if self._bare:
                self._emit(reading)
            else:
                self._ready, self._raw = reading, text
                self._mode = "after"
            return True
        if self._bare and self._tries < TRIES:
            self._tries += 1
            block.again()
        return False

    def _ends_at(self, block: Block, stop: Stop, reading: Reading | Problem) -> bool:
        """A marker ends the call; anything but the call's own end marker is left to be read."""
        text, own = block.text, stop.marker == g.CALL_CLOSE
        rest = text[stop.end if own else stop.start :] + block.rest
        if isinstance(reading, Reading) and reading.junk.strip():
            if not own:
                self._note("unclosed_call")
                self._resume(reading.junk + rest)
                self._emit(reading)
                return True
            if not junk_is_harmless(reading.junk):
                reading = "malformed"
            else:
                self._note("junk_in_call")
        if not own and not self._bare:
            self._note("unclosed_call")
        self._resume(rest)
        self._close_call(text[: stop.start], reading)
        return True

    def _falls_back(self, block: Block, candidate: Stop, *, unclosed: bool) -> bool:
        """The text that held the candidate is none: the call ended there."""
        text = block.text
        body = text[: candidate.start]
        implied = candidate.marker == g.CALL_CLOSE
        reading = read_call(body, self._tools, bare=self._bare, implied=implied, unclosed=unclosed)
        if reading == "cut" and not unclosed:
            self._note("cut_call")  # its last text was still coming
            self._resume("")
            return True
        return self._ends_at(block, candidate, reading)

    def _call_never_ends(self, block: Block) -> bool:
        """The answer ended inside of a call."""
        cut = self._finish == "length"
        if block.candidate is not None and block.quoted:
            return self._falls_back(block, block.candidate, unclosed=not cut)
        text = block.text + block.rest
        reading = read_call(text, self._tools, bare=self._bare)
        if not isinstance(reading, Reading):
            if cut:
                self._note("cut_call")
                self._resume("")
                return True
            return self._give_up(text, "", empty=reading == "empty")
        self._note("unclosed_call")
        junk = reading.junk
        self._resume("" if junk.strip() in self._prefixes or set(junk) <= set("}]) \n") else junk)
        self._emit(reading)
        return True

    def _after_call(self, final: bool) -> bool:
        reading = self._ready
        assert reading is not None
        found = g.MARKER.search(self._buf, self._pos)
        if found is None or found.start() - self._pos > JUNK:
            if not final and self._partial() - self._pos <= JUNK:
                return False
            self._note("unclosed_call")
            if final and self._buf[self._pos :].strip() in self._prefixes:
                self._pos = len(self._buf)
        elif found.group() != g.CALL_CLOSE:
            self._note("unclosed_call")
        else:
            junk = self._buf[self._pos : found.start()]
            self._pos = found.end()
            if junk.strip():
                if not junk_is_harmless(junk):
                    self._mode = "text"
                    self._close_call(self._raw + junk, "malformed")
                    return True
                self._note("junk_in_call")
        self._mode = "text"
        self._emit(reading)
        return True

    def _close_call(self, raw: str, reading: Reading | Problem) -> None:
        if isinstance(reading, Reading):
            self._emit(reading)
        elif reading == "empty":
            self._note("empty_call")
        else:
            self._show(raw)

    def _give_up(self, raw: str, rest: str, *, empty: bool = False) -> bool:
        self._resume(rest)
        self._close_call(raw, "empty" if empty else "malformed")
        return True

    def _show(self, raw: str) -> None:
        """A call that can't be believed: told, not made."""
        self._note("malformed_call")
        self._say(shown(raw) if not self._bare else g.without_markers(raw))

    def _resume(self, rest: str) -> None:
        done = min(self._pos, len(self._buf))
        if self._buf.endswith(rest, 0, done):
            self._pos = done - len(rest)
        else:
            self._buf, self._pos = rest + self._buf[done:], 0
        self._block = None
        self._mode = "text"

    def _emit(self, reading: Reading) -> None:
        for code in reading.notes:
            self._note(code)
        if self._kind == "thinking" and not self._why:
            self._hold("quote")  # only the thought's end, or its missing, tells whether the call is meant
        self._ready = None
        self._put(reading.call)
        self._boundary("text")
