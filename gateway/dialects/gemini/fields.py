"""Fields of Protocol Buffers' JSON: every name in two spellings (`maxOutputTokens`, `max_output_tokens`, which one SDK
mixes in one body), numbers that may be strings, durations such as `1.5s`, base64 of either alphabet.

Only the names of known objects are looked at. What belongs to the user (arguments, results, the property names of a
schema) keeps its spelling. Source: https://protobuf.dev/programming-guides/json/.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from gateway.canonical.content import Extra, Segments
from gateway.dialects.fields import Json, fields, integer, number, shown, text, wrong_type
from gateway.errors import BadRequest, InvalidJson

DIALECT: Final = "gemini"
FORM: Final = "gemini.form"
"""The layer of a part's or request's extras that holds how it was written, where several ways say the same. A server
of this dialect gets it back in the same words; nothing is lost where it is left out."""

_UPPER = re.compile(r"(?<!^)([A-Z])")
_DIGITS = re.compile(r"-?\d{1,20}")
_DURATION = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)s")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STANDARD = str.maketrans("-_", "+/")


class Shape:
    """The fields of one object, by their JSON names."""

    __slots__ = ("_names", "names")

    def __init__(self, names: str) -> None:
        self.names = tuple(names.split())
        self._names = {spelling: name for name in self.names for spelling in (name, snake(name))}

    def read(self, value: object, path: str) -> tuple[Json, Json]:
        """(the known fields under their JSON names, all others as they came); null is no field. Raises BadRequest if
        `value` is no object, or says one thing in both spellings."""
        known: Json = {}
        others: Json = {}
        for key, entry in fields(value, path).items():
            if entry is None:
                continue
            name = self._names.get(key)
            if name is None:
                others[key] = entry
            elif name in known:
                raise BadRequest(f"`{under(path, name)}` is given in two spellings", param=under(path, name))
            else:
                known[name] = entry
        return known, others


def snake(name: str) -> str:
    """`maxOutputTokens` -> `max_output_tokens`."""
    return _UPPER.sub(r"_\1", name).lower()


def under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def whole(value: object, path: str, low: int, high: int) -> int:
    """An integer; 64-bit ones are strings in this JSON, and some clients write `40.0`."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return integer(value, path, low, high)


def duration(value: object, path: str) -> float:
    """Seconds of `1.5s`; a bare number is taken for seconds."""
    if isinstance(value, int | float):
        return number(value, path, 0, 1e9)
    found = _DURATION.fullmatch(text(value, path))
    if found is None:
        raise BadRequest(f"`{path}` is {shown(value)}: write seconds, such as 1.5s", param=path)
    return number(float(found[1]), path, 0, 1e9)


def render_duration(seconds: float) -> str:
    """`1.5` -> `1.5s`, to the nanosecond."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def signature(value: object, path: str) -> str:
    """A signature in standard base64, padded. Its bytes are only its maker's concern."""
    given = text(value, path).translate(_STANDARD).rstrip("=")
    if not _BASE64.fullmatch(given) or len(given) % 4 == 1:
        raise BadRequest(f"`{path}` is not base64", param=path)
    return given + "=" * (-len(given) % 4)


def is_base64(value: str) -> bool:
    """Would a client of this dialect take it for bytes? Its SDKs raise for anything else."""
    return _BASE64.fullmatch(value) is not None and len(value) % 4 == 0


def plain(value: Any) -> Any:
    """A user's own JSON value, of which a long text may have come as Segments."""
    if isinstance(value, Segments):
        return value.text()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def json_text(value: Any) -> str:
    """A user's JSON value as text, in one fixed form, so that equal prompts stay equal. Raises InvalidJson."""
    try:
        return json.dumps(value, ensure_ascii=False, default=plain)
    except RecursionError:
        raise InvalidJson("the request is nested too deeply") from None


def objects(value: object, path: str) -> list[tuple[object, str]]:
    """The elements of an array with their paths; a single one stands for an array of one, as clients of REST write."""
    if isinstance(value, list):
        return [(entry, f"{path}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, dict | str):
        return [(value, path)]
    raise wrong_type(path, "an array", value)


def strings(value: object, path: str) -> list[str]:
    return [text(entry, where) for entry, where in objects(value, path)]


def layer(kept: Json, form: Json | None = None) -> Extra | None:
    """Extras out of the fields that are kept and those that only tell the form; None if there are none."""
    out = {name: held for name, held in ((DIALECT, kept), (FORM, form)) if held}
    return out or None


def form_of(extra: Extra | None) -> Json:
    return (extra or {}).get(FORM) or {}


def kept_of(extra: Extra | None) -> Json:
    return (extra or {}).get(DIALECT) or {}


def inside(name: str, others: Json) -> Json:
    """Fields of the object `name` within a part, as they are kept beside those of the part itself: `functionCall.x`."""
    return {f"{name}.{key}": entry for key, entry in others.items()}


def of_inside(name: str, kept: Json) -> Json:
    """The same, taken back."""
    return {key.removeprefix(f"{name}."): entry for key, entry in kept.items() if key.startswith(f"{name}.")}
