from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.address import Address, is_local, read_address, read_url


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:4000", "127.0.0.1", 4000, True),
        ("127.8.9.1:1", "127.8.9.1", 1, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:4000", "::1", 4000, True),
        ("[::ffff:127.0.0.1]:4000", "::ffff:127.0.0.1", 4000, True),
        ("0.0.0.0:4000", "0.0.0.0", 4000, False),
        ("[::]:4000", "::", 4000, False),
        ("192.168.1.2:65535", "192.168.1.2", 65535, False),
        ("gpu1.lan:80", "gpu1.lan", 80, False),
        ("localhost.example.com:80", "localhost.example.com", 80, False),
    ],
)
def test_listen_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = read_address(text)
    assert (address.host, address.port, address.loopback) == (host, port, loopback)
    assert str(address) == text


@pytest.mark.parametrize(
    "value",
    ["4000", ":4000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:4000", "[127]:1", "127.1:4000", "300.0.0.1:1",
     "http://127.0.0.1:4000", "*:4000", "a b:1", "", 4000, True, None, ["127.0.0.1:4000"]],
)  # fmt: skip
def test_what_is_no_listen_address(value: object) -> None:
    with pytest.raises(ValueError):
        read_address(value)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("HTTPS://API.Example.com/api/v1", "https://api.example.com/api"),
        ("http://gpu_1:8000/models/a", "http://gpu_1:8000/models/a"),
        ("http://[fd00::1]:8000", "http://[fd00::1]:8000"),
        ("http://host/v1beta", "http://host/v1beta"),
    ],
)
def test_urls_of_servers(given: str, read: str) -> None:
    assert read_url(given) == read
    assert read_url(read) == read


@pytest.mark.parametrize(
    "value",
    ["gpu1:8000", "ftp://x", "file:///etc/passwd", "http://", "http:///x", "http://a:b", "http://a:99999", "http://a:0",
     "http://a?key=1", "http://a#x", "http://a b", "http://a\nb", "http://a\\b", "http://a..b", "http://-a",
     "http://2130706433", "http://0x7f000001", "http://127.1", "http://0177.0.0.1", "http://[::1", "http://a。b",
     "http://ｌocalhost", "http://%6c", 8080, None, True],
)  # fmt: skip
def test_what_is_no_url(value: object) -> None:
    with pytest.raises(ValueError):
        read_url(value)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError) as caught:
        read_url("http://me:hunter2@gpu1:8000")
    assert "hunter2" not in str(caught.value)
    assert "api_key_env" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://LOCALHOST.:8080", True),
        ("http://0.0.0.0:8080", True),
        ("http://10.1.2.3", True),
        ("http://172.16.0.1", True),
        ("http://172.31.255.255", True),
        ("http://192.168.0.5", True),
        ("http://169.254.1.1", True),
        ("http://[::1]", True),
        ("http://[fd12::1]", True),
        ("http://[fe80::1]", True),
        ("http://[::ffff:192.168.1.1]", True),
        ("http://mac.local:8080", True),
        ("http://gpu1:8000", True),
        ("http://host.docker.internal:8000", True),
        ("http://172.32.0.1", False),
        ("http://100.64.0.1", False),
        ("http://192.0.2.1", False),
        ("http://8.8.8.8", False),
        ("http://[2001:4860::8888]", False),
        ("http://[::ffff:8.8.8.8]", False),
        ("http://[64:ff9b::808:808]", False),
        ("https://api.example.com", False),
        ("https://gpu1.", False),
        ("https://local.example.com", False),
        ("https://notlocal", True),
        ("https://mac.local.example.com", False),
        ("https://localhost.example.com", False),
        ("https://foo.localhost", False),
        ("http://gpu.lan", False),
        ("", False),
    ],
)
def test_local_is_what_the_text_proves(url: str, local: bool) -> None:
    assert is_local(url) is local


@given(st.ip_addresses(v=4))
def test_local_is_loopback_private_or_link_local(ip: object) -> None:
    octets = [int(x) for x in str(ip).split(".")]
    home = (
        octets[0] in (10, 127)
        or octets[:2] in ([192, 168], [169, 254])
        or (octets[0] == 172 and 16 <= octets[1] <= 31)
        or octets == [0, 0, 0, 0]
    )
    assert is_local(f"http://{ip}:1") is home
    assert is_local(f"http://[::ffff:{ip}]:1") is home


def test_addresses_compare_by_value() -> None:
    assert Address("::1", 4000) == read_address("[::1]:4000")
