from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import Address, ConfigErrors, parse


def problems(text: str, env: dict[str, str] | None = None, base: Path = Path()) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, env or {}, "f.yaml", base)
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("listen", "env", "addresses"),
    [
        ("", {}, ["127.0.0.1:4000"]),
        ("listen: localhost:80", {}, ["localhost:80"]),
        ("listen: ['127.0.0.1:1', '[::1]:1']", {}, ["127.0.0.1:1", "[::1]:1"]),
        ("listen: localhost:80", {"GATEWAY_LISTEN": "127.0.0.1:9"}, ["127.0.0.1:9"]),
        ("listen: localhost:80", {"GATEWAY_LISTEN": "127.0.0.1:9, [::1]:9"}, ["127.0.0.1:9", "[::1]:9"]),
        ("listen: localhost:80", {"PORT": "81"}, ["localhost:81"]),
        ("listen: localhost:80", {"GATEWAY_LISTEN": "127.0.0.1:9", "PORT": "81"}, ["127.0.0.1:81"]),
        ("listen: ['127.0.0.1:1', '127.0.0.1:2']", {"PORT": "81"}, ["127.0.0.1:81"]),
        ("listen: localhost:80", {"GATEWAY_LISTEN": "", "PORT": ""}, ["localhost:80"]),
        ("listen: ['127.0.0.1:0', '127.0.0.1:0']", {}, ["127.0.0.1:0", "127.0.0.1:0"]),
    ],
)
def test_listen_and_what_the_environment_makes_of_it(listen: str, env: dict[str, str], addresses: list[str]) -> None:
    assert [str(a) for a in parse(listen, env).listen] == addresses


@pytest.mark.parametrize("port", ["x", "-1", "65536", "80.5", "١", "0x50", "123456"])
def test_a_port_that_is_none(port: str) -> None:
    assert problems("", {"PORT": port}) == ["environment: PORT: must be a port number from 0 to 65535"]


def test_listen_addresses_that_are_none() -> None:
    assert 'f.yaml:1: listen: must be "host:port"' in problems("listen: 4000")[0]
    assert 'f.yaml:3: listen[1]: must be "host:port"' in problems("listen:\n - localhost:1\n - nowhere\n")[0]
    assert problems("listen: []") == ["f.yaml:1: listen: must have at least one address"]
    assert problems("listen: [localhost:1, localhost:1]") == ["f.yaml:1: listen[1]: localhost:1 stands twice"]
    assert 'environment: GATEWAY_LISTEN: must be "host:port"' in problems("", {"GATEWAY_LISTEN": "here"})[0]


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("auth: none\nlisten: 0.0.0.0:4000", {}),
        ("listen: 0.0.0.0:4000", {}),
        ("listen: [127.0.0.1:4000, 192.168.1.2:4000]", {}),
        ("listen: '[::]:4000'", {}),
        ("listen: gateway.local:4000", {}),
        ("auth: none", {"GATEWAY_LISTEN": "0.0.0.0:4000"}),
        ("admin: {listen: 0.0.0.0:4001}", {}),
    ],
)
def test_no_auth_is_only_for_loopback(text: str, env: dict[str, str]) -> None:
    (problem,) = problems(text, env)
    assert "write auth: {api_key_env: GATEWAY_API_KEY}" in problem


def test_an_open_address_with_a_key_is_fine() -> None:
    settings = parse("listen: 0.0.0.0:4000\nauth: {api_key_env: K}\nadmin: {listen: 0.0.0.0:4001}", {"K": "secret"})
    assert settings.auth.mode == "api_key"
    assert settings.auth.api_key is not None and settings.auth.api_key.get_secret_value() == "secret"
    assert settings.admin.listen == (Address("0.0.0.0", 4001),)


def test_keys_in_files(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("keys: []")
    (tmp_path / "key").write_text("secret\n")
    settings = parse("auth: {keys_file: keys.yaml}", {}, base=tmp_path)
    assert (settings.auth.mode, settings.auth.keys_file) == ("keys_file", tmp_path / "keys.yaml")
    settings = parse("auth: {api_key_file: key}", {}, base=tmp_path)
    assert settings.auth.api_key is not None and settings.auth.api_key.get_secret_value() == "secret"
    home = parse("auth: {api_key_file: ~/key}", {"HOME": str(tmp_path)}, base=Path("/nowhere"))
    assert home.auth.api_key == settings.auth.api_key
    assert "auth.keys_file: can't read 'none.yaml'" in problems("auth: {keys_file: none.yaml}", base=tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "env", "said"),
    [
        (
            "auth: {api_key_env: K}",
            {},
            "auth.api_key_env: the environment variable K is not set or empty: export K=...",
        ),
        (
            "auth: {api_key_env: K}",
            {"K": "  "},
            "auth.api_key_env: the environment variable K is not set or empty: export K=...",
        ),
        ("auth: {}", {}, "auth: must have exactly one of api_key_env, api_key_file, keys_file"),
        ("auth: {api_key_env: K, keys_file: f}", {"K": "k"}, "auth: must have exactly one of"),
        ("auth: {mode: none}", {}, "auth.mode: unknown key 'mode' (choices: api_key_env, api_key_file, keys_file)"),
        ("auth: {api_key: k}", {}, "auth.api_key: a secret may not stand in this file: write api_key_env"),
        ("auth: open", {}, "auth: must be none, or {api_key_env: NAME}"),
        ("auth: false", {}, "auth: must be none, or {api_key_env: NAME}"),
        ("admin: {listen: 127.0.0.1:4000}", {}, "admin.listen: 127.0.0.1:4000 is the main address already"),
        ("admin: {lisen: a:1}", {}, "admin.lisen: unknown key 'lisen' (choices: listen; did you mean listen?)"),
        ("admin: 3", {}, "admin: must be a mapping of listen"),
    ],
)
def test_what_is_wrong_at_the_entrance(text: str, env: dict[str, str], said: str) -> None:
    (problem,) = problems(text, env)
    assert problem.startswith(f"f.yaml:1: {said}")
