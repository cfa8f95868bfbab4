"""The keys file, written: what an operator put into it stays as it is, comments included.

A new version takes the old one's place in one step, so that a gateway which reads the file meanwhile sees one or the
other. Whoever writes holds a lock on the secret's file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gateway.settings import ConfigErrors, KeySettings, digest_of, parse_keys, read_keys, read_secret, secret_path
from gateway.settings.keyfile import SECRET_OCTETS

_LETTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 43
"""Letters and digits: 256 bits."""
PREFIX: Final = "gw-"
"""What a key begins with: those who look for leaked keys find it by that."""
_BY_HAND: Final = "{} is not written as `gateway keys` writes it, one line per field: bring it into that form"
_HEAD: Final = """\
# The keys of this gateway's clients: their digests, never the keys. `gateway keys new|list|revoke` writes here; rights
# and limits may be changed by hand (docs/operations/keys.md). A running gateway takes a change over within a second.
keys:
"""


class NoSuchKey(Exception):
    """Nothing to revoke under that name."""


class NameTaken(Exception):
    """There is a key of that name which still opens something."""


class CantWrite(Exception):
    """The file or its secret can't be written."""


@dataclass(slots=True)
class Wanted:
    """A key to be made. `rights`: the fields of KeySettings that are not None, in the words of the file."""

    name: str
    rights: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Store:
    """One keys file. All methods but `create` and `revoke` only read. Raises ConfigErrors for a file that is wrong."""

    path: Path

    def keys(self) -> tuple[KeySettings, ...]:
        return read_keys(self.path)[0]

    def create(self, wanted: Wanted, now: float) -> tuple[str, KeySettings]:
        """The key, which is kept nowhere, and its entry. `now` in Unix seconds. Raises NameTaken or CantWrite."""
        with self._written() as (text, keys, secret):
            if any(k.name == wanted.name and alive(k, now) for k in keys):
                raise NameTaken(wanted.name)
            key = PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
            entry = {
                "id": f"k_{secrets.token_hex(5)}",
                "name": wanted.name,
                "digest": f"blake2b:{digest_of(key.encode(), secret).hex()}",
                "created": _moment(now),
                **wanted.rights,
            }
            return key, self._replace(_with(text, entry), str(entry["id"]))

    def revoke(self, which: str, now: float) -> KeySettings:
        """`which`: an id or a name. The entry stays, so that the list still tells whose key it was. Raises NoSuchKey or
        CantWrite."""
        none = NoSuchKey(f"there is no key {which!r} to revoke: `gateway keys list` shows what there is")
        if not self.keys():
            raise none
        with self._written() as (text, keys, _):
            found = [k for k in keys if k.revoked is None and which in (k.id, k.name)]
            found = [k for k in found if alive(k, now)] or found
            if not found:
                raise none
            entry = self._replace(_revoked(text, found[0].id, now), found[0].id)
        if entry.revoked is None:
            raise CantWrite(_BY_HAND.format(self.path))
        return entry

    @contextlib.contextmanager
    def _written(self) -> Iterator[tuple[str, tuple[KeySettings, ...], bytes]]:
        """The file's text, its keys and the secret, while nobody else writes; both files are made if there are none."""
        secret_file = secret_path(self.path)
        try:
            if not self.path.exists() and not secret_file.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() or not read_keys(self.path)[0]:
                _make_secret(secret_file)
            with secret_file.open("rb") as lock:
                _lock(lock.fileno())
                text = self.path.read_text("utf-8-sig") if self.path.exists() else ""
                keys = self.keys() if text.strip() else ()
                yield text, keys, read_secret(self.path).get_secret_value()
        except OSError as error:
            raise CantWrite(f"can't write {error.filename or self.path}: {error.strerror or error}") from None

    def _replace(self, text: str, name: str) -> KeySettings:
        """Puts the text in the file's place, and returns the entry of that id."""
        try:
            entry = next((k for k in parse_keys(text, self.path.name) if k.id == name), None)
        except ConfigErrors:
            entry = None
        if entry is None:
            raise CantWrite(_BY_HAND.format(self.path))
        target = self.path.resolve()
        new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            _make(new, text.encode())
            if target.exists() and hasattr(os, "chown"):
                old = target.stat()
                new.chmod(old.st_mode & 0o7755)
                with contextlib.suppress(OSError):
                    os.chown(new, old.st_uid, old.st_gid)  # as root for a gateway that is not
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
        return entry


def alive(key: KeySettings, now: float) -> bool:
    return key.revoked is None and (key.expires is None or now < key.expires)


def state_of(key: KeySettings, now: float) -> str:
    """active, expired or revoked."""
    if key.revoked is not None:
        return "revoked"
    return "active" if alive(key, now) else "expired"


def _moment(unix: float) -> str:
    return datetime.fromtimestamp(int(unix), UTC).isoformat().replace("+00:00", "Z")


def _with(text: str, entry: dict[str, Any]) -> str:
    """The text with one entry more at its end. JSON's scalars and lists are YAML's."""
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in entry.items()]
    block = "".join(f"  {'- ' if i == 0 else '  '}{line}\n" for i, line in enumerate(lines))
    body = text.rstrip()
    for empty in ("keys: []", "keys:"):
        if body == empty or body.endswith(f"\n{empty}"):
            return f"{body[: -len(empty)]}keys:\n{block}"
    if not body:
        return _HEAD + block
    return f"{body}\n{block}" if "\nkeys:" in f"\n{body}" else f"{body}\nkeys:\n{block}"


def _revoked(text: str, name: str, now: float) -> str:
    """The text with one line more, behind the entry's id."""
    out = []
    for line in text.splitlines(keepends=True):
        out.append(line if line.endswith("\n") else f"{line}\n")
        bare = line.strip().removeprefix("- ")
        if bare in (f'id: "{name}"', f"id: {name}", f"id: '{name}'"):
            indent = len(line) - len(line.lstrip()) + (2 if line.lstrip().startswith("- ") else 0)
            out.append(f'{" " * indent}revoked: "{_moment(now)}"\n')
    return "".join(out)


def _make(path: Path, data: bytes) -> None:
    """A new file that nobody else may read, on the disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_secret(path: Path) -> None:
    """Whole or not at all, and never in the place of one that is there."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _make(new, base64.b64encode(secrets.token_bytes(SECRET_OCTETS)) + b"\n")
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)


def _lock(fd: int) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows: there two commands at once may lose one's work
        return
    fcntl.flock(fd, fcntl.LOCK_EX)
