"""The keys file: what may stand in it, and who may read it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway.settings import ConfigErrors, digest_of, parse, parse_keys, read_keys, read_secret, secret_path

ENTRY = "keys:\n  - {{id: a, name: anna, digest: 'blake2b:{digest}'{more}}}\n"
SECRET = base64.b64encode(bytes(range(32))) + b"\n"


def entry(more: str = "", digest: str = "0" * 64) -> str:
    return ENTRY.format(digest=digest, more=f", {more}" if more else "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(entry())
    path.chmod(0o600)
    secret_path(path).write_bytes(SECRET)
    secret_path(path).chmod(0o600)
    return path


def said(file: Path) -> str:
    with pytest.raises(ConfigErrors) as raised:
        read_keys(file)
    text = str(raised.value)
    assert len(text.splitlines()) == len(raised.value.problems)
    return text


def test_keys_and_their_secret(file: Path):
    [key], secret = read_keys(file)
    assert (key.id, key.name, key.digest, secret.get_secret_value()) == ("a", "anna", bytes(32), bytes(range(32)))
    assert (key.models, key.modalities, key.expires, key.in_flight) == (None, None, None, None)
    settings = parse("auth: {keys_file: keys.yaml}", {}, base=file.parent)
    assert settings.auth.keys == (key,) and settings.auth.secret == secret
    assert "AAECAw" not in repr(settings) and "\\x01\\x02\\x03" not in repr(settings)


def test_the_digest_is_keyed():
    one, other = bytes(32), bytes(31) + b"\1"
    assert digest_of(b"gw-x", one) == digest_of(b"gw-x", one) != digest_of(b"gw-x", other)
    assert len({digest_of(k, one) for k in (b"", b"gw-x", b"gw-y", b"gw-x ", b"GW-X")}) == 5
    # so that an update can't lock everybody out: these stand in files
    expected = "f7052c10"
    assert digest_of(b"gw-x", bytes(range(32))).hex()[:8] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys: [", "keys.yaml:1: is not YAML"),
        ("- a\n", "keys.yaml:1: the top level must be a mapping"),
        ("keys: 5\n", "keys.yaml:1: keys: must be a list"),
        ("keyz: []\n", "keys.yaml:1: keyz: unknown key 'keyz' (choices: keys; did you mean keys?)"),
        ("keys: [5]\n", "keys.yaml:1: keys[0]: must be a mapping of created, digest,"),
        ("keys:\n  - {id: a, name: n}\n", "keys.yaml:2: keys[0].digest: is required"),
        (entry(digest="xyz"), "keys.yaml:2: keys[0].digest: must be blake2b: and 64 hexadecimal digits"),
        (entry("colour: red"), "keys[0].colour: unknown key 'colour'"),
        (entry("modalities: [smell]"), "keys[0].modalities[0]: unknown value 'smell' (choices: audio,"),
        (entry("in_flight: 0"), "keys[0].in_flight: must be a whole number from 1 on"),
        (entry("expires: soon"), "keys[0].expires: must be a date such as 2027-01-31"),
        (entry("models: ['a b']"), "keys[0].models[0]: must be a model's name"),
        (
            entry() + "  - {id: a, name: b, digest: 'blake2b:" + "1" * 64 + "'}\n",
            "keys.yaml:3: keys[1].id: this id stands",
        ),
        (entry() + "  - {id: b, name: b, digest: 'blake2b:" + "0" * 64 + "'}\n", "keys[1].digest: this digest stands"),
    ],
)
def test_what_is_no_entry_is_named_with_its_line(text: str, message: str, file: Path):
    file.write_text(text)
    assert message in said(file)


def test_a_key_that_somebody_wrote_there_is_not_shown(file: Path):
    file.write_text(entry(digest="x").replace("blake2b:x", "gw-verysecret"))
    assert "verysecret" not in said(file)


def test_bytes_that_are_no_text(file: Path):
    file.write_bytes(b"keys: []\n\xff\xfe")
    assert said(file) == "keys.yaml:2: is not UTF-8 text"


def test_who_else_may_read_or_write(file: Path):
    file.chmod(0o644)
    read_keys(file)
    for mode in (0o666, 0o620, 0o602):
        file.chmod(mode)
        assert f"(mode {mode:04o}): chmod go-w {file}" in said(file)
    file.chmod(0o600)
    for mode in (0o644, 0o640, 0o604):
        secret_path(file).chmod(mode)
        assert f"(mode {mode:04o}): chmod go= {secret_path(file)}" in said(file)


def test_a_secret_that_is_not_there_or_another(file: Path):
    secret_path(file).write_bytes(b"nonsense\n")
    fix = ": bring it back as it was, or remove it and keys.yaml and make new keys with `gateway keys new`"
    assert said(file) == f"keys.yaml.secret: is not what `gateway keys new` has written there{fix}"
    for empty in (b"", b" \n"):
        secret_path(file).write_bytes(empty)
        assert said(file) == f"keys.yaml.secret: is empty{fix}"
    secret_path(file).write_bytes(SECRET[:20])
    assert said(file).endswith(fix)
    secret_path(file).unlink()
    assert "bring it back, or remove keys.yaml and make new keys with `gateway keys new`" in said(file)
    with pytest.raises(ConfigErrors):
        read_secret(file)
    file.write_text("keys: []\n")
    assert read_keys(file)[0] == ()  # nobody may come in: nothing to check


def test_a_file_of_somebody_else(file: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    assert said(file) == "keys.yaml: can't be read: Permission denied: chown it to the user that the gateway runs as"


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path):
    with pytest.raises(ConfigErrors) as raised:
        parse("auth: {keys_file: no/keys.yaml}", {}, "f.yaml", tmp_path)
    assert f"`gateway keys new NAME --file {tmp_path / 'no/keys.yaml'}` makes it" in str(raised.value)
    (tmp_path / "keys.yaml").mkdir()
    assert "can't be read: Is a directory" in said(tmp_path / "keys.yaml")


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-02T00:00:00Z", 86400.0),
        ("'1970-01-02 01:00:00+01:00'", 86400.0),
    ],
)
def test_moments(text: str, unix: float):
    [key] = parse_keys(entry(f"expires: {text}"), "keys.yaml")
    assert key.expires == unix
