"""Request bodies: bounded, strict JSON, and flat in memory.

A body of a few megabytes is mostly one base64 string. While a large body arrives, string values that span reads and
are longer than CUT are taken out of it as they are (`Segments`), and only the skeleton is parsed: a 50 MB video costs
neither a second copy nor a long stall of the event loop.

How a string that spans reads is found: a read that lies wholly inside a string has no quote in it (or only escaped
ones), so the search is one memchr per read. Which strings stay cut: base64, with or without a `data:` head, under one
of MEDIA_KEYS. Any other long string is put back together.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.canonical.content import Segments
from gateway.engine.admission import Hold, Memory
from gateway.engine.deadlines import Watch
from gateway.errors import ClientGone, InvalidJson, TooLarge, UnsupportedMedia

Receive = Callable[[], Awaitable[Any]]

CUT = 64 * 1024
"""Characters from which on a string is taken out."""
PLAIN = 128 * 1024
"""Bodies up to this size are parsed as they are."""
MEDIA_KEYS = frozenset({"url", "data", "image_url", "file_data", "audio_url", "video_url", "images", "file"})
"""Keys whose values may be long base64. In these places a dialect's parser takes Segments for a str."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_HEAD = re.compile(rb"data:[A-Za-z0-9!#$&^_.+/;=, -]{0,200}?base64,")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_TOO_DEEP = "the body is nested too deeply"


class Cutter:
    """Takes a body's reads one by one; `parse` gives the JSON value. Holds each octet once."""

    __slots__ = ("_cuts", "_escaped", "_inside", "_middle", "_nonce", "_run", "_skeleton")

    def __init__(self, nonce: str | None = None) -> None:
        self._skeleton: list[bytes] = []
        self._run: list[bytes] = []  # the open string since its quote, when we are inside one
        self._inside = False
        self._middle = True  # the reads that lie wholly inside the open string are base64: checked as they come
        self._escaped = False  # the last octet of the last read was a backslash that escapes what follows
        self._cuts: list[list[bytes]] = []
        # nobody can write a placeholder into a body who does not know this
        self._nonce = (nonce or secrets.token_hex(16)).encode()

    def feed(self, data: bytes) -> None:
        if self._inside:
            end = self._closing_quote(data)
            if end < 0:
                self._run.append(data)
                self._middle = self._middle and not data.translate(None, _BASE64)
                return
            self._run.append(data[:end])
            self._close()
            data = data[end:]  # begins with the closing quote
            start = 1
        else:
            start = 0
        opened = self._opening_quote(data, start)
        if opened < 0:
            self._skeleton.append(data)
        else:
            self._skeleton.append(data[: opened + 1])
            self._run = [data[opened + 1 :]]
            self._inside = self._middle = True

    def _closing_quote(self, data: bytes) -> int:
        """Where the open string ends in this read, -1 if it does not. Keeps track of an escape that spans reads."""
        at = 0
        if self._escaped:
            if not data:
                return -1
            at = 1
            self._escaped = False
        while True:
            quote = data.find(b'"', at)
            stop = len(data) if quote < 0 else quote
            slash = data.find(b"\\", at, stop)
            if slash < 0:
                return quote
            if slash + 1 >= len(data):
                self._escaped = True
                return -1
            # each escape is stepped over; base64 has none, or a few `\/`
            at = slash + 2

    def _opening_quote(self, data: bytes, start: int) -> int:
        """Where a string opens that this read does not close, -1 if there is none; `start` is outside of a string."""
        text = data if start == 0 else data[start:]
        if b"\\" in text:
            # escapes become two harmless octets, so that offsets stay
            trailing = len(text) - len(text.rstrip(b"\\"))
            text = _ESCAPE.sub(b"__", text)
            self._escaped = bool(trailing % 2)
        if text.count(b'"') % 2 == 0:
            self._escaped = False
            return -1
        return start + text.rfind(b'"')

    def _close(self) -> None:
        run, self._run, self._inside = self._run, [], False
        if sum(map(len, run)) > CUT:
            clean = _clean(run, self._middle)
            if clean is not None:
                self._skeleton.append(b"%s.%d" % (self._nonce, len(self._cuts)))
                self._cuts.append(clean)
                return
        self._skeleton += run

    def parse(self) -> Any:
        """The value. Raises InvalidJson."""
        self._skeleton += self._run  # an unclosed string: the parser says so
        self._run = []
        skeleton = self._skeleton[0] if len(self._skeleton) == 1 else b"".join(self._skeleton)
        self._skeleton = []
        value = decode_json(skeleton)
        if not self._cuts:
            return value
        try:
            return self._fill(value, "")
        except RecursionError:
            raise InvalidJson(_TOO_DEEP) from None

    def _fill(self, value: Any, key: str) -> Any:
        if isinstance(value, str):
            head = self._nonce.decode()
            if not value.startswith(head):
                return value
            cut = Segments(self._cuts[int(value[len(head) + 1 :])])
            return cut if key in MEDIA_KEYS else cut.text()
        if isinstance(value, dict):
            return {k: self._fill(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self._fill(v, key) for v in value]
        return value


def _clean(run: list[bytes], middle: bool) -> list[bytes] | None:
    """The string's pieces if it is base64 (a `data:` head is allowed), escaped slashes unfolded; None if it is not.
    `middle` = all pieces but the first and the last are known to be."""
    if middle and len(run) > 2:
        first, last = _clean([run[0], b""], False), _clean([b"", run[-1]], False)
        if first is not None and last is not None and len(run[0]) >= 256 and not run[0].endswith(b"="):
            return [*first, *run[1:-1], *(last if last != [b""] else [])]
    pieces = [p for p in run if p] or [b""]
    if any(b"\\" in p for p in pieces):
        if _ESCAPE.sub(b"", b"".join(pieces)).find(b"\\") >= 0:
            return None
        joined = b"".join(pieces).replace(b"\\/", b"/")
        if b"\\" in joined:
            return None
        pieces = [joined]
    head = pieces[0][:256]
    if len(head) < 256 and len(pieces) > 1:
        pieces = [pieces[0] + pieces[1], *pieces[2:]]
        head = pieces[0][:256]
    skip = 0
    if head.startswith(b"data:"):
        found = _HEAD.match(head)
        if found is None:
            return None
        skip = found.end()
    end = len(pieces) - 1
    for i, piece in enumerate(pieces):
        rest = (piece[skip:] if i == 0 and skip else piece).translate(None, _BASE64)
        if rest and not (i == end and rest in (b"=", b"==") and piece.endswith(rest)):
            # padding that straddles the last two reads
            if i == end - 1 and rest == b"=" and piece.endswith(b"=") and pieces[end] == b"=":
                continue
            return None
    return pieces


def decode_json(data: bytes) -> Any:
    """Strict JSON. Raises InvalidJson for anything else: NaN, numbers out of range, lone surrogates, other encodings
    than UTF-8, nesting that is too deep."""
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise InvalidJson(_TOO_DEEP) from None
    except UnicodeDecodeError as e:
        raise InvalidJson(f"the body is not UTF-8 (octet {e.start} of a string)") from None
    except msgspec.MsgspecError as e:
        raise InvalidJson(f"the body is not valid JSON: {_where(str(e))}") from None


def _where(text: str) -> str:
    return text.replace("JSON is malformed: ", "").replace(" - at `$[...]`", "")[:200]


def check_media_type(headers: dict[bytes, bytes], *, said: bool = False) -> None:
    """Raises UnsupportedMedia unless the body is (or may be taken for) plain JSON. `said`: its type must be there."""
    check_coding(headers)
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json" and not kind.endswith(b"+json") and (said or kind):
        raise UnsupportedMedia("send the body as application/json")


def check_coding(headers: dict[bytes, bytes]) -> None:
    """Raises UnsupportedMedia for a body that would have to be unpacked."""
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"", b"identity"):
        raise UnsupportedMedia("send the body without Content-Encoding", code="unsupported_content_encoding")


class Held(Hold):
    """The body of one request: its value, and the octets that it keeps reserved until `release`."""

    __slots__ = ("value",)

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.value: Any = None


async def read_json(
    receive: Receive, headers: dict[bytes, bytes], limit: int, held: Held, watch: Watch, wait: float
) -> Any:
    """Reads the body. Raises TooLarge before reading where the length is declared, InvalidJson, ClientGone. `watch` is
    given `wait` more seconds for every read."""
    declared = headers.get(b"content-length")
    if declared is not None:
        length = int(declared) if declared.isdigit() else 0
        if length > limit:
            raise TooLarge(f"the body has {length} octets; at most {limit} are taken")
        held.grow(length)
    first = await receive()
    if first["type"] == "http.disconnect":
        raise ClientGone("the client left while it sent its request")
    data = first.get("body", b"")
    if not first.get("more_body", False) and len(data) <= min(PLAIN, limit):
        if declared is None:
            held.grow(len(data))
        return decode_json(data)
    cutter = Cutter()
    size = 0
    message = first
    loop = asyncio.get_running_loop()
    while True:
        data = message.get("body", b"")
        size += len(data)
        if size > limit:
            raise TooLarge(f"at most {limit} octets are taken")
        if declared is None:
            held.grow(len(data))
        if data:
            cutter.feed(data)
        if not message.get("more_body", False):
            return cutter.parse()
        watch.expires = loop.time() + wait
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left while it sent its request")
