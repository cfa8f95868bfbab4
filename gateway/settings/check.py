"""Checking one piece of the file after another, while the problems add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import SecretStr, ValidationError

from gateway.settings.document import Document
from gateway.settings.model import Section
from gateway.settings.problems import ConfigProblem, Where, choices, quoted

S = TypeVar("S", bound=Section)
T = TypeVar("T")

MAX_SECRET = 8 * 1024
_IN_THE_FILE = ("api_key", "apikey", "key", "token", "password", "secret")


class Check:
    """`base` is the folder that relative paths start from. No method raises on what an operator may write: a problem
    is noted, and None returned."""

    def __init__(self, document: Document, env: Mapping[str, str], base: Path) -> None:
        self.document = document
        self.env = env
        self.base = base
        self.problem = document.problem

    @property
    def problems(self) -> list[ConfigProblem]:
        return self.document.problems

    def env_problem(self, variable: str, message: str) -> None:
        self.problems.append(ConfigProblem(variable, message, None, "environment"))

    def mapping(self, where: Where, raw: object, keys: list[str] | None = None) -> dict[str, Any]:
        """The mapping there; what is no mapping is a problem and reads as an empty one."""
        if isinstance(raw, dict):
            return raw
        if raw is not None:
            self.problem(where, f"must be a mapping of {', '.join(keys)}" if keys else "must be a mapping")
        return {}

    def listed(self, where: Where, raw: object) -> Iterator[tuple[Where, Any]]:
        """The items of the list there, each with its place; anything but a list is a problem."""
        if isinstance(raw, list):
            for i, item in enumerate(raw):
                yield (*where, i), item
        elif raw is not None:
            self.problem(where, "must be a list")

    def value(self, where: Where, raw: object, read: Callable[[object], T]) -> T | None:
        """What `read` makes of the value there."""
        try:
            return read(raw)
        except ValueError as error:
            self.problem(where, str(error))
            return None

    def section(self, where: Where, cls: type[S], raw: object, **derived: object) -> S | None:
        """The mapping there as a `cls`; `derived` are the attributes that are not the file's to say."""
        if not isinstance(raw, dict):
            self.problem(where, f"must be a mapping of {', '.join(cls.key_names())}")
            return None
        told = {k: v for k, v in raw.items() if k not in cls.derived}
        for key in raw.keys() & cls.derived:
            self.unknown_key((*where, key), key, cls)
        try:
            section = cls.model_validate({**told, **derived})
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self._complain(where, cls, dict(item))
            return None
        return section if raw.keys().isdisjoint(cls.derived) else None

    def unknown_key(self, where: Where, key: str, cls: type[Section]) -> None:
        if key.lower() in _IN_THE_FILE and "api_key_env" in cls.model_fields:
            self.problem(where, "a secret may not stand in this file: write api_key_env: NAME, or api_key_file: PATH")
        else:
            self.problem(where, f"unknown key {quoted(key)} {choices(key, cls.key_names())}")

    def _complain(self, where: Where, cls: type[Section], item: dict[str, Any]) -> None:
        """One complaint of pydantic in our words. Values are shown only by our own readers, which know what is safe."""
        loc: Where = item["loc"]
        place = (*where, *loc)
        while place and isinstance(place[-1], int) and place not in self.document.lines:
            place = place[:-1]  # a value alone stood for a list of one
        kind: str = item["type"]
        if kind == "extra_forbidden":
            self.unknown_key(place, str(loc[-1]), _section_at(cls, loc[:-1]))
        elif kind == "missing":
            self.problem(place, "is required")
        elif kind == "value_error":
            self.problem(place, str(item["ctx"]["error"]))
        elif kind == "model_type":
            self.problem(place, f"must be a mapping of {', '.join(_section_at(cls, loc).key_names())}")
        elif kind in ("dict_type", "mapping_type"):
            self.problem(place, "must be a mapping")
        elif kind == "too_short":
            self.problem(place, "must have at least one entry")
        else:
            self.problem(place, str(item["msg"]))

    def secret(self, where: Where, variable: str | None, file: Path | None) -> SecretStr | None:
        """The secret that `api_key_env` or `api_key_file` of the mapping there leads to."""
        if variable is not None and file is not None:
            self.problem(where, "has api_key_env and api_key_file: write one of them")
        elif variable is not None:
            return self.variable((*where, "api_key_env"), variable)
        elif file is not None:
            return self._from_file((*where, "api_key_file"), file)
        return None

    def variable(self, where: Where, name: str) -> SecretStr | None:
        """The secret in that environment variable."""
        return self._usable(where, self.env.get(name, ""), f"the environment variable {name}", f": export {name}=...")

    def _from_file(self, where: Where, file: Path) -> SecretStr | None:
        try:
            with self.path(file).open("rb") as stream:
                text = stream.read(MAX_SECRET + 1).decode()
        except OSError as error:
            self.problem(where, f"can't read {quoted(str(file))}: {error.strerror or 'no such file'}")
            return None
        except ValueError:
            self.problem(where, f"the file {quoted(str(file))} is not text")
            return None
        return self._usable(where, text, f"the file {quoted(str(file))}")

    def _usable(self, where: Where, text: str, source: str, fix: str = "") -> SecretStr | None:
        """A secret travels in a header: one line of visible ASCII."""
        secret = text.strip()
        if not secret:
            self.problem(where, f"{source} is not set or empty{fix}")
        elif len(secret) > MAX_SECRET:
            self.problem(where, f"{source} holds more than {MAX_SECRET} characters")
        elif not all("!" <= c <= "~" for c in secret):
            self.problem(where, f"{source} holds characters that can't be part of a key (spaces, line ends, non-ASCII)")
        else:
            return SecretStr(secret)
        return None

    def path(self, path: Path) -> Path:
        """`~/` is HOME; a relative path starts from the folder of the file."""
        home = self.env.get("HOME", "")
        if path.parts[:1] == ("~",) and home:
            return Path(home, *path.parts[1:])
        return self.base / path

    def readable(self, where: Where, path: Path) -> Path | None:
        """The file there, if it can be opened."""
        full = self.path(path)
        try:
            with full.open("rb"):
                return full
        except OSError as error:
            self.problem(where, f"can't read {quoted(str(path))}: {error.strerror or 'no such file'}")
        except ValueError:
            self.problem(where, "is not a path")
        return None


def _section_at(cls: type[Section], loc: Where) -> type[Section]:
    """The class of the mapping that `loc` leads to from a `cls`."""
    for step in loc:
        field = cls.model_fields.get(step) if isinstance(step, str) else None
        cls = (_section_in(field.annotation) if field is not None else None) or cls
    return cls


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg)) is not None), None)
