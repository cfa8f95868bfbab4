"""A form with one file in it, as the body of a request to a model: read into what JSON would have given.

The file is turned into base64 while it arrives, which is what the rest of the way is made for: a sound of 25 MB is held
once, as 33 MB.
"""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from typing import Any, Final

from gateway.canonical.content import Media, Segments
from gateway.engine.deadlines import Watch
from gateway.errors import BadRequest, ClientGone, TooLarge, UnsupportedMedia
from gateway.server.body import Held, Receive, check_coding
from gateway.server.multipart import FormReader, Part, boundary_of
from gateway.settings.model import Limits

FIELD: Final = 64 * 1024
"""Octets of a field."""
FIELDS: Final = 32
_AROUND: Final = 1024 * 1024
"""Octets of a form beside its file that are certainly too many: above that, nothing of it need be read."""
_STEP: Final = 48 * 1024
"""Octets of the file that become one piece of base64, however small the pieces are in which they arrive: each has its
price beside what it holds."""
_NOTHING: Final = ("", "application/octet-stream", "binary/octet-stream")
_BY_ENDING: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "mpga": "audio/mpeg",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/opus",
    "webm": "audio/webm",
    "flac": "audio/flac",
    "aac": "audio/aac",
}


def is_form(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"").lower().lstrip().startswith(b"multipart/")


async def read_form(
    receive: Receive, headers: dict[bytes, bytes], limits: Limits, name: str, held: Held, watch: Watch, wait: float
) -> dict[str, Any]:
    """The form's fields as texts, those called `x[]` as a list `x`, and its file as Media under `name`. Raises
    TooLarge, BadRequest, UnsupportedMedia, ClientGone. `watch` is given `wait` more seconds for every read."""
    check_coding(headers)
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    if not content_type.lower().startswith("multipart/form-data"):
        raise UnsupportedMedia(f"send the {name} as multipart/form-data")
    reader = FormReader(boundary_of(content_type))
    form = _Form(name, limits, held)
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > min(limits.body, limits.audio + _AROUND):
        raise TooLarge(f"the body has {int(declared)} octets: {form.most}", param=name)
    size = 0
    loop = asyncio.get_running_loop()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left while it sent its request")
        data = message.get("body", b"")
        size += len(data)
        if size > limits.body:
            raise TooLarge(f"at most {limits.body} octets are taken")
        for event in reader.feed(data):
            form.feed(event)
        if not message.get("more_body", False):
            break
        watch.expires = loop.time() + wait
    if not reader.done:
        raise BadRequest("the form is cut: its last boundary is missing")
    return form.whole()


class _Form:
    """What has come of a form."""

    def __init__(self, name: str, limits: Limits, held: Held) -> None:
        self.most = f"a {name} may have {limits.audio} octets"
        self._name = name
        self._limit = limits.audio
        self._held = held
        self._fields: dict[str, list[bytes]] = {}
        self._file: Part | None = None
        self._chunks: list[bytes] = []
        self._rest = bytearray()
        self._size = 0
        self._in_file = False

    def feed(self, event: Part | bytes | None) -> None:
        if isinstance(event, Part):
            self._begin(event)
        elif event is not None and self._in_file:
            self._more(event)
        elif event is not None:
            values = next(reversed(self._fields.values()))
            values[-1] += event
            if len(values[-1]) > FIELD:
                raise TooLarge("a field of the form is too long")

    def _begin(self, part: Part) -> None:
        self._in_file = part.name == self._name or part.filename is not None
        if not self._in_file:
            values = self._fields.pop(part.name, [])  # so that the last one is the open one
            self._fields[part.name] = [*values, b""]
            if sum(map(len, self._fields.values())) > FIELDS:
                raise TooLarge(f"at most {FIELDS} fields are taken")
        elif part.name != self._name:
            raise BadRequest(f"the form has one file, in the field `{self._name}`", param=part.name[:80])
        elif self._file is not None:
            raise BadRequest(f"the form has more than one `{self._name}`: send one at a time", param=self._name)
        else:
            self._file = part

    def _more(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise TooLarge(f"this one has more: {self.most}", param=self._name)
        self._rest += data
        while len(self._rest) >= _STEP:
            self._keep(self._rest[:_STEP])
            del self._rest[:_STEP]

    def _keep(self, data: bytearray) -> None:
        chunk = b2a_base64(data, newline=False)
        self._held.grow(len(chunk))
        self._chunks.append(chunk)

    def whole(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, values in self._fields.items():
            try:
                texts = [value.decode() for value in values]
            except UnicodeDecodeError:
                raise BadRequest("a field of the form is not UTF-8", param=name[:80]) from None
            if name.endswith("[]"):
                out.setdefault(name[:-2], []).extend(texts)
            elif len(texts) > 1 or name in out:
                raise BadRequest(f"`{name[:80]}` stands in the form more than once", param=name[:80])
            else:
                out[name] = texts[0]
        if self._file is not None:
            if self._rest:
                self._keep(self._rest)
                self._rest = bytearray()
            out[self._name] = Media(_claim(self._file), base64=Segments(self._chunks))
        return out


def _claim(part: Part) -> str:
    """The media type that the form says the file has, else what its name says."""
    if part.mime not in _NOTHING:
        return part.mime
    return _BY_ENDING.get((part.filename or "").rpartition(".")[2].lower(), "")
