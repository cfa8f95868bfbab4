"""The file of the clients' keys, and the secret beside it.

    keys.yaml           one entry per key: id, name, digest, rights, limits (KeySettings)
    keys.yaml.secret    what the digests are made with, 0600

A digest is BLAKE2b, keyed with the secret (RFC 7693, 2.9): who has read the first file alone can't check a guess, and
can't make an entry for a key of their own. Keys are 256 random bits, so nothing slow is needed; and no salt, so that a
key is found by one look-up (docs/decisions/0006).
"""

from __future__ import annotations

import base64
import os
from hashlib import blake2b
from pathlib import Path
from typing import Final

from pydantic import SecretBytes

from gateway.settings.check import Check
from gateway.settings.document import MAX_CHARACTERS, Document, read_document
from gateway.settings.model import KeySettings
from gateway.settings.problems import ConfigErrors, ConfigProblem, choices, quoted

SECRET_OCTETS: Final = 32
_PERSON: Final = b"gateway key"
_HAS_MODES: Final = os.name == "posix"


def digest_of(key: bytes, secret: bytes) -> bytes:
    """32 octets that stand for a client's key. `secret`: at most 64 octets."""
    return blake2b(key, key=secret, digest_size=32, person=_PERSON).digest()


def secret_path(keys: Path) -> Path:
    return keys.with_name(f"{keys.name}.secret")


def read_keys(path: Path) -> tuple[tuple[KeySettings, ...], SecretBytes]:
    """The keys of that file and its secret. Raises ConfigErrors with everything that is wrong with them."""
    text = _read(path, 0o022, "others than its owner can write to it, and give keys other rights", "go-w")
    keys = parse_keys(text, path.name)
    return keys, read_secret(path) if keys else SecretBytes(b"")


def parse_keys(text: str, name: str) -> tuple[KeySettings, ...]:
    """The entries of that text; `name` stands in messages. Raises ConfigErrors."""
    document = read_document(text, name)
    keys = _entries(document)
    if document.problems:
        raise ConfigErrors(document.problems)
    return keys


def read_secret(keys: Path) -> SecretBytes:
    """Raises ConfigErrors."""
    path = secret_path(keys)
    if not path.exists():
        raise _problem(
            path,
            f"is not there, and without it no key in {keys.name} can be checked: bring it back, or remove {keys.name} "
            "and make new keys with `gateway keys new`",
        )
    text = _read(path, 0o077, "others than its owner can read it", "go=")
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_OCTETS:
        what = "is not what `gateway keys new` has written there" if text.strip() else "is empty"
        raise _problem(
            path,
            f"{what}: bring it back as it was, or remove it and {keys.name} and make new keys with `gateway keys new`",
        )
    return SecretBytes(secret)


def _read(path: Path, never: int, why: str, fix: str) -> str:
    """The text of a file whose mode has no bit of `never`."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(4 * MAX_CHARACTERS + 1)
    except OSError as error:
        whose = ": chown it to the user that the gateway runs as" if isinstance(error, PermissionError) else ""
        raise _problem(path, f"can't be read: {error.strerror or 'no such file'}{whose}") from None
    if _HAS_MODES and mode & never:
        raise _problem(path, f"{why} (mode {mode & 0o777:04o}): chmod {fix} {path}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([ConfigProblem("", "is not UTF-8 text", line, path.name)]) from None


def _entries(document: Document) -> tuple[KeySettings, ...]:
    check = Check(document, {}, Path())
    for other in document.values.keys() - {"keys"}:
        check.problem((other,), f"unknown key {quoted(str(other))} {choices(str(other), ['keys'])}")
    found: list[KeySettings] = []
    for where, raw in check.listed(("keys",), document.values.get("keys")):
        key = check.section(where, KeySettings, raw)
        if key is None:
            continue
        for name in ("id", "digest"):
            if any(getattr(one, name) == getattr(key, name) for one in found):
                check.problem((*where, name), f"this {name} stands twice")
        found.append(key)
    return tuple(found)


def _problem(path: Path, message: str) -> ConfigErrors:
    return ConfigErrors([ConfigProblem("", message, None, path.name)])
