"""What web pages may do here, decided before the key is looked at.

Where nobody needs a key, every page that a browser of this machine shows could use the gateway: by a request that needs
no preflight (https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS#simple_requests), or under a name of its own that
it lets point to 127.0.0.1 (DNS rebinding). So there a request has to name this machine, must not come from a page of
another origin, and its body must be JSON, which no page may send without asking first. Forms (uploads of files) need no
preflight; browsers say the origin of every POST, and curl and the SDKs say none.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import BadRequest, FromElsewhere, NotImplementedHere
from gateway.server.answer import Header
from gateway.server.body import check_media_type
from gateway.server.protocol import Scope
from gateway.settings import Settings

_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::\d{1,5})?")
_FIELDS = re.compile(rb"[A-Za-z0-9_\-, ]{1,1024}")
_CONTAINERS: Final = frozenset({"host.docker.internal", "host.containers.internal"})
"""What this machine is called inside of its containers. `.internal` is kept free: nobody has such a name on the net."""
_MOST = 256
"""Names of hosts that are remembered."""
_FORMS: Final = re.compile(
    r"/(?:v1|v1beta|v1alpha)/files|/upload/.*|(?:/v1/route/explain)?/v1/audio/(?:transcriptions|translations)"
)
"""Where a body need not be JSON."""

_EXPOSED: Final = b", ".join(
    [
        b"x-request-id",
        *(
            b"x-gateway-" + name
            for name in (b"target", b"parts", b"dropped", b"attempts", b"repaired", b"quantization", b"estimated")
        ),
        *(
            b"x-ratelimit-%s-%s" % (what, of)
            for of in (b"requests", b"tokens")
            for what in (b"limit", b"remaining", b"reset")
        ),
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-goog-upload-url",
        b"x-goog-upload-status",
        b"x-goog-upload-size-received",
    ]
)


_ONCE: Final = (
    *(b"host", b"origin", b"sec-fetch-site", b"content-type", b"transfer-encoding"),
    *(b"authorization", b"x-api-key", b"x-goog-api-key"),
)
"""Fields that decide who may do what, and that no client sends twice."""


def check_head(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Raises BadRequest for a request that does not say clearly where it is for and where it is from, and
    NotImplementedHere for one whose body is coded in a way that nobody here reads. `headers`: those of the scope, each
    name once. What stands in front of the gateway may have judged by the other of two values, so none of them is taken
    (RFC 9112, 3.2: https://www.rfc-editor.org/rfc/rfc9112#section-3.2)."""
    if b"host" not in headers and scope["http_version"] != "1.0":
        raise BadRequest("the request has no Host header", code="invalid_http")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise NotImplementedHere("send the body as it is: chunked, or with its Content-Length")
    if len(headers) == len(scope["headers"]):
        return
    names = [name for name, _ in scope["headers"]]
    for name in _ONCE:
        if names.count(name) > 1:
            raise BadRequest(f"the request has more than one {name.decode().title()} header", code="invalid_http")


class Door:
    """Made once for a configuration."""

    def __init__(self, settings: Settings) -> None:
        self._guarded = settings.auth.mode == "none"
        origins = settings.cors.origins
        self._everywhere = "*" in origins
        self._origins = frozenset(o.encode() for o in origins)
        self._names = {_host_of(o) for o in origins if o.startswith("http")} | _CONTAINERS
        self._hosts: dict[bytes, bool] = {}

    # ---- what browsers ask

    def shared_with(self, origin: bytes) -> list[Header]:
        """The headers that let a page of that origin read the answer; none for a page that may not."""
        if self._everywhere:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED)]
        if origin.lower() not in self._origins:
            return [(b"vary", b"origin")] if self._origins else []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]

    def preflight(self, scope: Scope, headers: dict[bytes, bytes]) -> list[Header] | None:
        """The answer's headers if this asks whether a page may send something, and it may. Nothing is served by it, so
        it needs no key: browsers send none with it."""
        if scope["method"] != "OPTIONS" or b"access-control-request-method" not in headers:
            return None
        shared = self.shared_with(headers.get(b"origin", b""))
        if len(shared) < 2:
            return None
        asked = headers.get(b"access-control-request-headers", b"")
        out = [
            *(h for h in shared if h[0] != b"access-control-expose-headers"),
            (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
            (b"access-control-max-age", b"600"),
        ]
        if _FIELDS.fullmatch(asked):
            out.append((b"access-control-allow-headers", asked))
        if headers.get(b"access-control-request-private-network") == b"true":
            # https://wicg.github.io/private-network-access/: a page of the net that may call a machine at home
            out.append((b"access-control-allow-private-network", b"true"))
        return out

    # ---- what is refused

    def check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raises FromElsewhere, and UnsupportedMedia for a body that a page could send without asking."""
        if not self._guarded:
            return
        host = headers.get(b"host")
        if host is not None and not (self._hosts.get(host) or self._is_here(host)):
            raise FromElsewhere(
                "without a key this gateway is for this machine only: call it localhost, or set a key "
                "(auth: {api_key_env: GATEWAY_API_KEY})",
                code="host_not_allowed",
            )
        origin = headers.get(b"origin")
        if origin is not None:
            if not (origin.lower() in self._origins or self._is_local_page(origin)):
                raise _foreign()
        elif scope["method"] not in ("GET", "HEAD") and headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            raise _foreign()
        if headers.get(b"content-type") == b"application/json" or scope["method"] != "POST":
            return
        if _has_body(headers) and not _FORMS.fullmatch(scope["path"]):
            check_media_type(headers, said=True)

    def _is_here(self, host: bytes) -> bool:
        """Whether a Host header names this machine, or the host of a page that may call anyway."""
        found = _HOST.fullmatch(host.decode("latin-1").lower())
        here = found is not None and self._is_ours(found[1] or found[2])
        if here and len(self._hosts) < _MOST:
            self._hosts[host] = True
        return here

    def _is_ours(self, name: str) -> bool:
        return _is_loopback(name) or name in self._names

    def _is_local_page(self, origin: bytes) -> bool:
        """A page that this machine itself serves, at any port."""
        scheme, _, rest = origin.decode("latin-1").lower().partition("://")
        found = _HOST.fullmatch(rest)
        return scheme in ("http", "https") and found is not None and _is_loopback(found[1] or found[2])


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _foreign() -> FromElsewhere:
    return FromElsewhere(
        "without a key, web pages of other origins may not use this gateway: list the page's origin in cors.origins, "
        "or set a key (auth: {api_key_env: GATEWAY_API_KEY})"
    )


def _host_of(origin: str) -> str:
    return urlsplit(origin).hostname or ""


def _is_loopback(name: str) -> bool:
    """127.0.0.0/8, ::1, `localhost` and what is below it (RFC 6761, 6.3: never asked of any name server)."""
    name = name.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
