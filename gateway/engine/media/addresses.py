"""Where media may be fetched from: one parser for URLs, and which network addresses are the public Internet's.

`ipaddress.is_global` alone is not enough: it takes NAT64, 6to4 and multicast for global. So of IPv6 only what is given
out (2000::/3) counts, without the pieces that lead elsewhere.
https://www.iana.org/assignments/iana-ipv6-special-registry, https://www.iana.org/assignments/iana-ipv4-special-registry
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

from gateway.errors import BadRequest

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^\s/?#@:\\\[\]%]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][^\s#\\]*)?(?:#\S*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
)

_CLOSED_4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("168.63.129.16/32", "224.0.0.0/4", "240.0.0.0/4"),  # the first is Azure's own, of every machine there
        ),
    )
)
_OPEN_6 = IPv6Network("2000::/3")
_CLOSED_6 = tuple(
    map(
        IPv6Network,
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)


@dataclass(slots=True, frozen=True)
class Place:
    """A URL, taken apart once. `host` in lower case, without brackets; `target` = path and query as they are sent."""

    tls: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the `Host` header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address that stands in place of a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def parse_url(url: str, path: str | None = None) -> Place:
    """Raises BadRequest, with `path`, for anything that two parsers could read in two ways: user names, backslashes,
    blanks, numbers that are no address in four parts."""
    found = _URL.fullmatch(url)
    if found is None:
        raise BadRequest("a medium's URL is https://host/path, without a user name and without blanks", param=path)
    host = found["host"].lower()
    if host.startswith("["):
        host = host[1:-1]
        try:
            host = str(IPv6Address(host))
        except ValueError:
            raise BadRequest("the URL's IPv6 address is none", param=path) from None
    elif not _IPV4.fullmatch(host):
        host = _name(host, path)
    tls = found["scheme"].lower() == "https"
    port = int(found["port"]) if found["port"] else (443 if tls else 80)
    if not 0 < port < 65536:
        raise BadRequest("the URL's port is none", param=path)
    target = found["target"] or "/"
    target = quote(target if target[0] == "/" else "/" + target, safe="%/:?#[]@!$&'()*+,;=-._~")
    return Place(tls, host, port, target)


def _name(host: str, path: str | None) -> str:
    """A host's name in its ASCII form."""
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise BadRequest("the URL's host name is none", param=path) from None
    labels = host.removesuffix(".").split(".")
    # what ends in a number is read as an address by some: 127.1, 0x7f.1, 2130706433
    if _NUMERIC.fullmatch(labels[-1]) or not all(map(_LABEL.fullmatch, labels)) or len(host) > 253:
        raise BadRequest("the URL's host name is none", param=path)
    return ".".join(labels)


def is_public(address: str) -> bool:
    """Whether an address is one of the public Internet, and of no machine or service inside."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return ip.is_global and not ip.is_multicast and not any(ip in net for net in _CLOSED_4)
    return ip in _OPEN_6 and ip.is_global and not any(ip in net for net in _CLOSED_6)
