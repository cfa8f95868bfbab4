"""A client's own configuration files: what is to be in them, laid over what is there, and what was there kept beside.

Structured files are merged key by key, so that nothing else of a person's settings is touched. What a merge cannot do
without guessing is refused, and then the printed text is there to be pasted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

Format = Literal["json", "yaml", "toml", "env"]


class CannotMerge(Exception):
    """What is in the file is not what its name says. The message names the file."""


@dataclass(slots=True, frozen=True)
class File:
    """`path` may begin with `~`. `content` = the keys to be set; in a list, entries with a `name` replace those of the
    same name. `secret` = only its owner may read it."""

    path: str
    format: Format
    content: Mapping[str, Any]
    secret: bool = False

    def text(self) -> str:
        """The file as it would be if there were none."""
        return render(self.format, self.content)


def render(kind: Format, content: Mapping[str, Any]) -> str:
    if kind == "json":
        return json.dumps(content, indent=2) + "\n"
    if kind == "yaml":
        return yaml.safe_dump(dict(content), sort_keys=False)  # escaped: what PyYAML leaves as it is, it misreads
    if kind == "toml":
        return _toml(content)
    return "".join(f"{name}={value}\n" for name, value in content.items())


def write(file: File, home: Path) -> tuple[Path, Path | None]:
    """Merges the file into what is there: (its path, the copy of what was there). The copy is None where there was
    nothing, or nothing changed. Raises CannotMerge and OSError; then nothing was written."""
    path = home / file.path[2:] if file.path.startswith("~/") else Path(file.path)
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""
    except UnicodeDecodeError:
        raise CannotMerge(f"{path} is no text") from None
    after = merged(file, before, str(path))
    if after == before:
        return path, None
    path.parent.mkdir(parents=True, exist_ok=True)
    backup = _copy(path, before) if before else None
    _replace(path, after, secret=file.secret)
    return path, backup


def merged(file: File, before: str, name: str) -> str:
    """The text of the file with the content laid over `before`. Raises CannotMerge, naming `name`."""
    if not before.strip():
        return file.text()
    if file.format == "env":
        return _merge_env(before, file.content)
    if file.format == "toml":
        return _merge_toml(before, file.content, name)
    try:
        there = json.loads(before) if file.format == "json" else yaml.safe_load(before)
    except (ValueError, yaml.YAMLError):
        why = "it has comments, perhaps" if file.format == "json" else "it can't be read"
        raise CannotMerge(f"{name} is not plain {file.format.upper()} ({why})") from None
    if not isinstance(there, dict):
        raise CannotMerge(f"{name} is not a mapping")
    out = overlay(there, file.content)
    return before if out == there else render(file.format, out)


def overlay(there: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`new` laid over `there`, key by key."""
    out = dict(there)
    for key, value in new.items():
        old = out.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            out[key] = overlay(old, value)
        elif isinstance(value, list) and isinstance(old, list) and all(_named(v) for v in value):
            fresh = {v["name"]: v for v in value}
            kept = [fresh.pop(v["name"], v) if _named(v) else v for v in old]
            out[key] = [*kept, *fresh.values()]
        else:
            out[key] = value
    return out


def _named(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _merge_env(before: str, content: Mapping[str, Any]) -> str:
    left = dict(content)
    lines = []
    for line in before.splitlines():
        name = re.match(r"(?:export )?\s*(\w+)=", line)
        if name and name[1] in content:
            if name[1] in left:
                lines.append(f"{name[1]}={left.pop(name[1])}")
            continue
        lines.append(line)
    return "\n".join([*lines, *(f"{n}={v}" for n, v in left.items())]) + "\n"


# ---- TOML: the standard library reads it only, so it is edited as text, and what came out is read again ----


def _toml(content: Mapping[str, Any], at: tuple[str, ...] = ()) -> str:
    plain = {k: v for k, v in content.items() if not isinstance(v, Mapping)}
    tables = {k: v for k, v in content.items() if isinstance(v, Mapping)}
    out = ""
    if at and (plain or not tables):
        out += f"\n[{'.'.join(_toml_key(k) for k in at)}]\n"
    out += "".join(f"{_toml_key(k)} = {_toml_value(v)}\n" for k, v in plain.items())
    return out + "".join(_toml(v, (*at, k)) for k, v in tables.items())


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    """A string, truth value or number. JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _merge_toml(before: str, content: Mapping[str, Any], name: str) -> str:
    try:
        there = tomllib.loads(before)
    except tomllib.TOMLDecodeError:
        raise CannotMerge(f"{name} is not TOML") from None
    wanted = overlay(there, content)
    if wanted == there:
        return before
    plain = {k: v for k, v in content.items() if not isinstance(v, Mapping)}
    text = _set_top(before, plain)
    for path, table in _tables(content):
        text = _set_table(text, path, table)
    try:
        if tomllib.loads(text) == wanted:
            return text
    except tomllib.TOMLDecodeError:
        pass
    raise CannotMerge(f"{name} is written in a way that can't be edited safely")


def _tables(content: Mapping[str, Any], at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every table with plain values in it, by its path."""
    out = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            plain = {k: v for k, v in value.items() if not isinstance(v, Mapping)}
            if plain:
                out.append(((*at, key), plain))
            out += _tables(value, (*at, key))
    return out


_HEADER = re.compile(r"^\s*\[", re.MULTILINE)


def _set_top(text: str, plain: Mapping[str, Any]) -> str:
    """Top-level keys stand before the first table."""
    header = _HEADER.search(text)
    end = header.start() if header else len(text)
    return _set_keys(text[:end], plain) + text[end:]


def _set_table(text: str, path: tuple[str, ...], plain: Mapping[str, Any]) -> str:
    name = ".".join(_toml_key(k) for k in path)
    found = re.search(rf"^\s*\[{re.escape(name)}\][^\n]*\n?", text, re.MULTILINE)
    if not found:
        return text.rstrip("\n") + "\n" + _toml(plain, path)
    following = _HEADER.search(text, found.end())
    end = following.start() if following else len(text)
    return text[: found.end()] + _set_keys(text[found.end() : end], plain) + text[end:]


def _set_keys(body: str, plain: Mapping[str, Any]) -> str:
    """`body` with these keys: lines that set one are changed where they stand, the others come first."""
    first = ""
    for key, value in plain.items():
        line = f"{_toml_key(key)} = {_toml_value(value)}"
        found = re.search(rf"^[ \t]*{re.escape(_toml_key(key))}[ \t]*=[^\n]*$", body, re.MULTILINE)
        if found:
            body = body[: found.start()] + line + body[found.end() :]
        else:
            first += f"{line}\n"
    return first + body


# ---- writing ----


def _copy(path: Path, before: str) -> Path:
    """What was there, beside it, under a name that nothing has; as private as it was."""
    for n in range(1, 1000):
        backup = path.with_name(f"{path.name}.before-gateway{'' if n == 1 else f'.{n}'}")
        try:
            descriptor = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as copy:
            copy.write(before)
        return backup
    raise OSError(f"too many copies of {path}")


def _replace(path: Path, text: str, *, secret: bool) -> None:
    """Whole or not at all. A link stays a link."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    descriptor, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
        Path(beside).chmod(mode & 0o600 if secret else mode)
        Path(beside).replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise
