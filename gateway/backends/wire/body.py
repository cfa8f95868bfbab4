"""A request body out of a dict whose long texts are not joined."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.canonical.content import Segments
from gateway.errors import InvalidJson

_PLAIN = msgspec.json.Encoder().encode
_HALF = "a text holds half of a surrogate pair, which is no character"
_HOLE = msgspec.Raw(b'"\x00"')
# A raw NUL can't stand in JSON text (RFC 8259, section 7), so it marks the holes without a search for a free mark.


def encode_body(body: dict[str, Any]) -> list[bytes | Segments]:
    """The JSON text of `body` in pieces; each `Segments` value stays the object that it is, between its quotes.

    Keys keep their order: what is sent for turn n is a prefix of what is sent for turn n+1. Raises InvalidJson for
    what JSON can't carry: lone surrogates, or more levels than the encoder goes down.
    """
    try:
        return [_PLAIN(body)]
    except TypeError:
        pass  # it holds Segments, as only bodies with long media do
    except UnicodeEncodeError:
        raise InvalidJson(_HALF) from None
    except RecursionError:
        raise InvalidJson("the request is nested too deeply") from None
    held: list[Segments] = []

    def hold(value: Any) -> msgspec.Raw:
        if type(value) is Segments:
            held.append(value)
            return _HOLE
        raise TypeError(f"a body holds no {type(value).__name__}")

    try:
        text = msgspec.json.Encoder(enc_hook=hold).encode(body)
    except UnicodeEncodeError:
        raise InvalidJson(_HALF) from None
    except RecursionError:
        raise InvalidJson("the request is nested too deeply") from None
    if not held:
        return [text]
    out: list[bytes | Segments] = []
    for piece, segments in zip(text.split(b"\x00"), [*held, None], strict=True):
        out.append(piece)
        if segments is not None:
            out.append(segments)
    return out
