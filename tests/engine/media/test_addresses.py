from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.media.addresses import is_public, parse_url
from gateway.errors import BadRequest

CLOSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "168.63.129.16",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:8.8.8.8",
    "::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:a9fe:a9fe::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:a9fe:a9fe::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "nonsense",
    "1.2.3",
    "127.1",
]
OPEN = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
]


@pytest.mark.parametrize("address", CLOSED)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OPEN)
def test_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_mapped_and_translated_addresses_are_never_public(ip: object) -> None:
    number = int(ip_address(str(ip)))
    for net in ("::ffff:0:0", "64:ff9b::", "::"):
        assert not is_public(str(IPv6Address(int(IPv6Address(net)) + number)))
    assert not is_public(str(IPv6Address((0x2002 << 112) + (number << 80))))


BAD = [
    "file:///etc/passwd",
    "gopher://h.example/",
    "ftp://h.example/x",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://127.1/",
    "https://0/",
    "https://0177.0.0.1/",
    "https://1.2.3.4.5/",
    "https://a@b.example/",
    "https://a@b:80@127.0.0.1/",
    "https://ok\\@127.0.0.1/",
    "https://h.example\\x/",
    "https://h.exa mple/",
    "https://h.example/a b",
    "https://h.example:0/",
    "https://h.example:99999/",
    "https://h.example:/",
    "https://",
    "https:///x",
    "https:/h.example/",
    "//h.example/x",
    "https://[::1",
    "https://[::1]x/",
    "https://[fe80::1%25eth0]/",
    "https://[::ffff:1.2.3.4.5]/",
    "https://h%2eexample/",
    "https://-h.example/",
    "https://h..example/",
    "https://h.example\n/",
    "https://h.example/\r\nHost: x",
    "",
]


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_url(url, "messages[0]")
    assert caught.value.param == "messages[0]"


def test_taken_apart() -> None:
    p = parse_url("HTTPS://Cats.Example.:8443/a/b.png?x=1&y=%20#top")
    assert (p.tls, p.host, p.port, p.target) == (True, "cats.example", 8443, "/a/b.png?x=1&y=%20")
    assert p.authority == "cats.example:8443"
    assert parse_url("https://h.example?q=1").target == "/?q=1"
    assert parse_url("http://h.example").port == 80
    assert parse_url("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"
    assert parse_url("https://bücher.example/ä").host == "xn--bcher-kva.example"
    assert parse_url("https://bücher.example/ä").target == "/%C3%A4"
    assert parse_url("https://8.8.8.8/").address == ip_address("8.8.8.8")


@given(st.text(st.sampled_from("abc01.@:/\\[]%?#- \tx\u00e9"), max_size=30))
def test_no_other_parser_sees_another_host(rest: str) -> None:
    """What is accepted is read alike by the standard library's parser."""
    url = "https://" + rest
    try:
        place = parse_url(url)
    except BadRequest:
        return
    other = urlsplit(url)
    assert other.username is None
    host = (other.hostname or "").removesuffix(".")
    assert place.host == (host if host.isascii() else host.encode("idna").decode())
    assert place.port == (other.port or 443)
