"""What a message is made of.

A *part* is one piece of content. The union is closed: code that handles parts handles every kind, or refuses by path.
Every part may carry a `signature` (an opaque token of the model's maker that must come back untouched) and `extra`
(fields that only one dialect knows, kept under that dialect's name so that they survive its round trip).
`path` is where the part stood in the client's body (`messages[0].content[2]`); it names the part in errors and is not
part of its value.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Extra = dict[str, dict[str, Any]]
"""Fields of one dialect, under the dialect's name: `{"openai": {"cache_control": {...}}}`."""


class Segments:
    """A base64 text too long to be held as one `str`: ASCII chunks as they arrived, never joined on the way through.

    `size` is the number of characters. Equality is by content, whatever the chunking.
    """

    __slots__ = ("chunks", "size")

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.size = sum(map(len, chunks))

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.size == len(other) and self.text() == other
        return isinstance(other, Segments) and self.size == other.size and self.text() == other.text()

    __hash__ = None  # type: ignore[assignment]  # mutable chunks

    def __repr__(self) -> str:
        return f"Segments({self.size} characters)"

    def head(self, n: int) -> str:
        """The first `n` characters (fewer if there are no more)."""
        out = b""
        for chunk in self.chunks:
            out += chunk[: n - len(out)]
            if len(out) >= n:
                break
        return out.decode("ascii")

    def skip(self, n: int) -> Segments:
        """The same text without its first `n` characters; no chunk but the first ones is copied."""
        out: list[bytes] = []
        for chunk in self.chunks:
            if n >= len(chunk):
                n -= len(chunk)
            else:
                out.append(chunk[n:] if n else chunk)
                n = 0
        return Segments(out)

    def text(self) -> str:
        """The whole text in one piece: costs a copy of everything."""
        return b"".join(self.chunks).decode("ascii")


class Decoded:
    """The octets that a base64 text stands for, decoded piece by piece while they are sent. `len` = how many."""

    __slots__ = ("_size", "_text")

    def __init__(self, text: Base64) -> None:
        self._text = text
        tail = text[-2:] if isinstance(text, str) else b"".join(text.chunks[-2:])[-2:].decode("ascii")
        self._size = len(text) * 3 // 4 - tail.count("=")

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        text = self._text
        if isinstance(text, str):
            for at in range(0, len(text), _PIECE):
                yield b64decode(text[at : at + _PIECE])
            return
        rest = b""
        for chunk in text:
            whole = rest + chunk if rest else chunk
            end = len(whole) & ~3
            rest = whole[end:]
            yield b64decode(memoryview(whole)[:end])


_PIECE = 64 * 1024
Base64 = str | Segments


def whole_text(value: object) -> str:
    """What a JSON encoder writes for `Segments` where the text is needed in one piece."""
    if not isinstance(value, Segments):
        raise TypeError(f"JSON has no {type(value).__name__}")
    return value.text()


@dataclass(slots=True)
class Clip:
    """The piece of a sound or video that is meant: seconds from its start, and frames per second to look at."""

    start: float | None = None
    end: float | None = None
    fps: float | None = None


@dataclass(slots=True)
class Header:
    """What a medium's own first bytes and headers tell (`canonical/media`). `mime` "" = they show nothing known.

    `seconds` and `frames` None = not told; `width` and `height` in pixels, 0 = not told. `pictures` and `sound`:
    whether there are such tracks. `rate`, `channels`, `bits` and `plain` (uncoded samples) are those of a WAV file.
    `problem`: why nobody should decode it."""

    mime: str = ""
    size: int = 0
    seconds: float | None = None
    width: int = 0
    height: int = 0
    frames: int | None = None
    pictures: bool | None = None
    sound: bool | None = None
    rate: int = 0
    channels: int = 0
    bits: int = 0
    plain: bool = False
    problem: str = ""


@dataclass(slots=True)
class Media:
    """A medium by exactly one of `base64`, `octets`, `url` or `file_id`. `mime` is the client's claim, "" if none,
    until its bytes were looked at: from then on it is what they show, and `claimed` is what the client said instead."""

    mime: str = ""
    base64: Base64 | None = None
    octets: bytes | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None
    clip: Clip | None = None
    claimed: str = field(default="", compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        held = sum(x is not None for x in (self.base64, self.octets, self.url, self.file_id))
        if held != 1:
            raise ValueError(f"a medium has exactly one of base64, octets, url and file_id, not {held}")

    @property
    def size(self) -> int:
        """Octets of the medium, where it is here; 0 for a url or a file id."""
        if self.base64 is not None:
            return len(self.base64) * 3 // 4
        return len(self.octets) if self.octets is not None else 0


@dataclass(slots=True)
class Text:
    text: str
    annotations: list[Any] | None = None
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Image:
    media: Media
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Audio:
    media: Media
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Video:
    media: Media
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Document:
    media: Media
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class ToolCall:
    """A call that the model made. `arguments` is the JSON text exactly as received; a cut answer may cut it too."""

    id: str
    name: str
    arguments: str
    kind: Literal["function", "custom"] = "function"
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class ToolResult:
    """What a tool answered: parts, or a JSON object where the dialect has one."""

    call_id: str
    content: list[Part] | dict[str, Any]
    name: str | None = None
    is_error: bool = False
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Thinking:
    """The model's thoughts. `redacted` is an encrypted form that only its maker can read."""

    text: str
    summary: list[str] | None = None
    redacted: str | None = None
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Refusal:
    text: str
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


@dataclass(slots=True)
class Opaque:
    """A part that only one dialect knows (server tools, grounding): kept in that dialect, refused by path elsewhere."""

    dialect: str
    type: str
    raw: dict[str, Any]
    signature: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)


Part = Text | Image | Audio | Video | Document | ToolCall | ToolResult | Thinking | Refusal | Opaque
MediaPart = Image | Audio | Video | Document

MODALITY: dict[type, str] = {Image: "image", Audio: "audio", Video: "video", Document: "document"}
"""The modality of a media part, by its class."""

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(slots=True)
class Message:
    """One turn. A `tool` message holds ToolResult parts. The last assistant message of a request may be a prefill."""

    role: Role
    parts: list[Part]
    name: str | None = None
    extra: Extra | None = None
    path: str = field(default="", compare=False, repr=False)
