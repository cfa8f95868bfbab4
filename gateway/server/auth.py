"""Who may ask. Decided on the path that is routed, before a body is read; deny by default."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from gateway.errors import InvalidKey
from gateway.settings import Settings

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""What answers without a key: nothing that a request or an answer contained."""
ADMIN_PATHS = frozenset({"/metrics"})
"""Of these, what is only at `admin.listen` where there is one."""

_GEMINI = re.compile(
    r"/(?:v1beta1?|v1alpha|upload)/.*|/v1/(?:models|tunedModels|files)(?:/.*)?|/[^:]*(?:models|endpoints)/.*:\w+"
)
"""Paths that clients of the Gemini API use, whose keys may stand in the URL. Elsewhere no key is looked for there."""
_QUERY_KEY = re.compile(rb"(?:^|&)key=([^&]*)")


class Keys:
    """The key check. With `auth: none` (loopback only) everybody is the key id `local`."""

    def __init__(self, settings: Settings) -> None:
        key = settings.auth.api_key
        if settings.auth.mode != "none" and key is None:
            raise ValueError(f"auth mode {settings.auth.mode} has no key to check")  # never open by accident
        self._digest = sha256(key.get_secret_value().encode()).digest() if key is not None else None
        self._usual = b"Bearer " + key.get_secret_value().encode() if key is not None else b""
        self._id = sha256(self._digest).hexdigest()[:8] if self._digest else "local"

    def check(self, headers: dict[bytes, bytes]) -> str:
        """The id of the client's key. Raises InvalidKey, the same for a missing and a wrong one, in the same time.

        The header that nearly every client writes needs no digest; `compare_digest` takes as long for any header."""
        if self._digest is None:
            return self._id
        told = headers.get(b"authorization", b"")
        if hmac.compare_digest(told, self._usual):
            return self._id
        scheme, _, token = told.partition(b" ")
        if scheme.lower() != b"bearer":
            token = headers.get(b"x-api-key") or headers.get(b"x-goog-api-key", b"")
        if not hmac.compare_digest(sha256(token.strip()).digest(), self._digest):
            raise InvalidKey("the API key is missing or wrong: send it as `Authorization: Bearer <key>`")
        return self._id


def take_query_key(headers: dict[bytes, bytes], path: str, query: bytes) -> None:
    """A key in the URL of a Gemini path counts as one in a header, where no header has any."""
    found = _QUERY_KEY.search(query) if _GEMINI.fullmatch(path) and not path.startswith("/v1/route/") else None
    if found is not None and not ({b"authorization", b"x-api-key", b"x-goog-api-key"} & set(headers)):
        headers[b"x-goog-api-key"] = unquote_to_bytes(found[1])
