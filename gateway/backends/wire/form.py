"""A call whose body is a form with one file in it (multipart/form-data): https://www.rfc-editor.org/rfc/rfc7578

The file goes as the octets that it stands for, decoded while they are sent: nothing holds it a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from gateway.backends import Body, Call
from gateway.canonical.content import Decoded, Media

_ENDINGS = {
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/webm": "webm",
}
"""Servers that go by the name of a file want one that tells its type."""


def form_call(path: str, fields: Sequence[tuple[str, str]], media: Media, name: str = "file") -> Call:
    """`fields` in order, then the file. The boundary follows from the whole content, so that nothing in it can be one:
    a file that held it would end there, and say what else it likes in further fields."""
    digest = blake2b(digest_size=16)
    for key, value in fields:
        digest.update(f"{key}\0{value}\0".encode("utf-8", "replace"))
    content: bytes | Decoded
    if media.octets is not None:
        digest.update(media.octets)
        content = media.octets
    else:
        assert media.base64 is not None
        for chunk in (media.base64.encode(),) if isinstance(media.base64, str) else media.base64:
            digest.update(chunk)
        content = Decoded(media.base64)
    boundary = digest.hexdigest()
    head = b""
    for key, value in fields:
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'.encode()
        head += value.encode("utf-8", "replace") + b"\r\n"
    told = media.mime.isascii() and media.mime.isprintable() and media.mime
    kind = media.mime if told else "application/octet-stream"
    ending = _ENDINGS.get(media.mime, "bin")
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="sound.{ending}"\r\n'.encode()
    head += f"Content-Type: {kind}\r\n\r\n".encode()
    body: Body = [head, content, f"\r\n--{boundary}--\r\n".encode()]
    return Call("POST", path, body, {"content-type": f"multipart/form-data; boundary={boundary}"})
