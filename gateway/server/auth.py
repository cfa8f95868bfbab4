"""Who may ask, and for what. Decided on the path that is routed, before a body is read; deny by default."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from gateway.canonical.context import EVERYTHING, Rights
from gateway.engine.quota import Meter, Meters, quota_of
from gateway.errors import InvalidKey
from gateway.settings import KeySettings, Settings, digest_of

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""What answers without a key: nothing that a request or an answer contained."""
ADMIN_PATHS = frozenset({"/metrics"})
"""Of these, what is only at `admin.listen` where there is one."""

_GEMINI = re.compile(
    r"/(?:v1beta1?|v1alpha|upload)/.*|/v1/(?:models|tunedModels|files)(?:/.*)?|/[^:]*(?:models|endpoints)/.*:\w+"
)
"""Paths that clients of the Gemini API use, whose keys may stand in the URL. Elsewhere no key is looked for there."""
_QUERY_KEY = re.compile(rb"(?:^|&)key=([^&]*)")


@dataclass(slots=True, frozen=True)
class Grant:
    """What a key opens. `id` is what log and state go by: nothing of the key itself. `meter` None: not limited."""

    id: str
    rights: Rights = EVERYTHING
    meter: Meter | None = None
    expires: float | None = None
    """Unix seconds."""
    revoked: bool = False


class Keys:
    """The key check. With `auth: none` (loopback only) everybody is the key id `local`. `wall` gives Unix seconds;
    `now` is on the loop's clock."""

    def __init__(
        self,
        settings: Settings,
        meters: Meters | None = None,
        *,
        now: float = 0.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        meters = meters or Meters()
        self._wall = wall
        self._open: Grant | None = None
        self._usual = b""
        self._usual_grant: Grant | None = None
        self._secret = settings.auth.secret.get_secret_value() or secrets.token_bytes(32)
        self._grants: dict[bytes, Grant] = {}
        key = settings.auth.api_key
        default = quota_of(None, settings.quotas)
        if settings.auth.mode == "none":
            self._open = Grant("local", meter=meters.meter("local", default, now))
        elif settings.auth.mode == "keys_file":
            for one in settings.auth.keys:
                meter = meters.meter(one.id, quota_of(one, settings.quotas), now)
                self._grants[one.digest] = _grant(one, meter)
        elif key is None:
            raise ValueError(f"auth mode {settings.auth.mode} has no key to check")  # never open by accident
        else:
            text = key.get_secret_value().encode()
            name = sha256(sha256(text).digest()).hexdigest()[:8]
            self._usual = b"Bearer " + text
            self._usual_grant = Grant(name, meter=meters.meter(name, default, now))
            self._grants[digest_of(text, self._secret)] = self._usual_grant
        grants = [*self._grants.values(), self._open]
        self._by_id: dict[str, Grant] = {g.id: g for g in grants if g is not None}

    def check(self, headers: dict[bytes, bytes]) -> Grant:
        """What the client's key opens. Raises InvalidKey, the same for a missing and a wrong one, in the same time.

        A digest that nobody can foresee without the secret is looked up, whatever the key: how long that takes says
        nothing of the keys that there are. The header that nearly every client of a single key writes needs no digest;
        `compare_digest` takes as long for any header."""
        if self._open is not None:
            return self._open
        told = headers.get(b"authorization", b"")
        if self._usual_grant is not None and hmac.compare_digest(told, self._usual):
            return self._usual_grant
        scheme, _, token = told.partition(b" ")
        if scheme.lower() != b"bearer":
            token = headers.get(b"x-api-key") or headers.get(b"x-goog-api-key", b"")
        grant = self._grants.get(digest_of(token.strip(), self._secret))
        if grant is None:
            raise InvalidKey("the API key is missing or wrong: send it as `Authorization: Bearer <key>`")
        if grant.revoked:
            raise InvalidKey("this API key was revoked", code="revoked_api_key")
        if grant.expires is not None and self._wall() >= grant.expires:
            raise InvalidKey("this API key has expired", code="expired_api_key")
        return grant

    def by_id(self, name: str) -> Grant | None:
        """The grant of a key whose holder has proved something else; None if it opens nothing any more."""
        grant = self._by_id.get(name)
        if grant is None or grant.revoked or (grant.expires is not None and self._wall() >= grant.expires):
            return None
        return grant


def _grant(key: KeySettings, meter: Meter | None) -> Grant:
    modalities = None if key.modalities is None else frozenset(key.modalities)
    rights = Rights(key.models, modalities) if (key.models, modalities) != (None, None) else EVERYTHING
    return Grant(key.id, rights, meter, key.expires, key.revoked is not None)


def take_query_key(headers: dict[bytes, bytes], path: str, query: bytes) -> None:
    """A key in the URL of a Gemini path counts as one in a header, where no header has any."""
    found = _QUERY_KEY.search(query) if _GEMINI.fullmatch(path) and not path.startswith("/v1/route/") else None
    if found is not None and not ({b"authorization", b"x-api-key", b"x-goog-api-key"} & set(headers)):
        headers[b"x-goog-api-key"] = unquote_to_bytes(found[1])
