"""Addresses: where the gateway listens, where a server is, and whether that is on the user's own machines. No DNS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})")
_PLACE = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?(?:/[\w./-]*)?")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_NUMBERS = re.compile(r"(?:0[xX][0-9A-Fa-f]*|\d+)(?:\.(?:0[xX][0-9A-Fa-f]*|\d+))*\.?")

_HOME = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
            "::1/128", "::/128", "fc00::/7", "fe80::/10",
        ),
    )
)  # fmt: skip
"""Loopback, private and link-local, written out: `is_private` of the standard library counts more (documentation,
benchmark and mapped ranges). 0.0.0.0 as a destination is this machine."""


@dataclass(slots=True, frozen=True)
class Address:
    """Where to listen. `host` is a name or an address without brackets; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """True only for what can't be reached from another machine: 127.0.0.0/8, ::1, localhost."""
        if self.host.lower() == "localhost":
            return True
        address = _ip(self.host)
        return address is not None and address.is_loopback


def read_address(value: object) -> Address:
    """`127.0.0.1:4000`, `[::1]:4000`, `localhost:4000`. Raises ValueError."""
    found = _LISTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found["port"]) > 65535:
        raise ValueError('must be "host:port", such as 127.0.0.1:4000 (this machine), 0.0.0.0:4000 (all), [::1]:4000')
    host: str = found["six"] or found["host"]
    address = _ip(host)
    if address is None and (found["six"] or _NUMBERS.fullmatch(host)):
        raise ValueError("is not a valid IP address")
    return Address(host.lower(), int(found["port"]))


def read_url(value: object) -> str:
    """A server's base URL, without a slash at its end. A final `/v1` is cut: clients are pointed at that, but servers
    have paths beside it. Raises ValueError, whose text never shows what may be a password."""
    if not isinstance(value, str):
        raise ValueError('must be a URL such as "http://127.0.0.1:8080"')
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError(
            "must be a URL of printable ASCII characters without spaces (a host name in its punycode form)"
        )
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid URL: look at its host and port") from None
    if parts.scheme.lower() not in ("http", "https"):
        meant = f', such as "http://{value}"' if _PLACE.fullmatch(value) else ""
        raise ValueError(f"must begin with http:// or https://{meant}")
    if port == 0:
        raise ValueError("must not have port 0")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password: write api_key_env")
    if "?" in value or "#" in value:
        raise ValueError("must not carry a query or a fragment: write api_key_env for a key")
    host = _host_of(parts.hostname or "")
    path = parts.path.rstrip("/")
    path = path.removesuffix("/v1").rstrip("/")
    netloc = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{netloc}{'' if port is None else f':{port}'}{path}"


def _host_of(host: str) -> str:
    """The host in lower case. Numbers that only a C library would read as an address (`2130706433`, `0x7f.1`) are
    refused: a host is judged by its text."""
    if ":" in host or _NUMBERS.fullmatch(host):
        if _ip(host) is None:
            raise ValueError("must have an IP address in its usual form, such as 192.168.1.5")
    elif not _HOST_NAME.fullmatch(host) or ".." in host:
        raise ValueError("must have a host name of letters, digits, dots and dashes")
    return host.lower()


def is_local(url: str) -> bool:
    """Is the URL's host on the user's own machines, as far as its text tells: a loopback, private or link-local
    address, `localhost`, `*.local`, `host.docker.internal`, or a bare name without dots. All else is not: privacy
    fails closed, and `local: true` says otherwise."""
    host = (urlsplit(url).hostname or "").lower()
    address = _ip(host)
    if address is not None:
        return any(address in network for network in _HOME)
    name = host.rstrip(".")
    if name in ("localhost", "host.docker.internal") or name.endswith(".local"):
        return True
    return bool(host) and "." not in host


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address
