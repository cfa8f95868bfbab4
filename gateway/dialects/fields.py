"""Decoded JSON read by hand: every complaint names the JSON path of the field at fault and never repeats its value at
length. Each reader returns the value in its Python type, or raises BadRequest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any, Final, Literal

from gateway.canonical.content import Base64, Segments
from gateway.dialects import LIMITS, Limits
from gateway.errors import BadRequest, MissingParameter, ModelNotFound, UnsupportedParameter

Json = dict[str, Any]
Fate = Literal["modelled", "extra", "dropped", "refused"]
"""What becomes of a field of a request."""

INT32: Final = 2**31 - 1
INT64: Final = 2**63 - 1
_SHOWN: Final = 60
_MODEL = re.compile(r"[A-Za-z0-9._:/@+\[\]-]+")
_FIELD = re.compile(r"[A-Za-z0-9_.$-]{1,64}")
_TOOL = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def shown(value: object) -> str:
    """`value` as an error may repeat it."""
    text = str(value)
    return repr(text) if len(text) <= _SHOWN else repr(text[:_SHOWN]) + "..."


def field_name(key: str) -> str:
    """A field's name as a header may carry it; names that no API has are not repeated."""
    return key if _FIELD.fullmatch(key) else "?"


def kind_of(value: object) -> str:
    """What JSON calls the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str | Segments):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def wrong_type(path: str, expected: str, value: object) -> BadRequest:
    return BadRequest(f"`{path}` must be {expected}, not {kind_of(value)}", param=path, code="invalid_type")


def missing(path: str) -> MissingParameter:
    return MissingParameter(f"`{path}` is required", param=path)


def text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise missing(path) if value is None else wrong_type(path, "a string", value)
    return value


def text_or_none(value: object, path: str) -> str | None:
    return None if value is None else text(value, path)


def long_text(value: object, path: str) -> Base64:
    """A string that may be a medium, and then too long to be one `str`."""
    if isinstance(value, Segments):
        return value
    return text(value, path)


def boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)
    return value


def boolean_or_none(value: object, path: str) -> bool | None:
    return None if value is None else boolean(value, path)


def lenient_boolean(value: object, path: str) -> bool:
    """A boolean, also as the strings that some clients write: a server would take "false" for true."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return boolean(value, path)


def integer(value: object, path: str, low: int, high: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(path, "an integer", value)
    if not low <= value <= high:
        raise BadRequest(f"`{path}` must be between {low} and {high}", param=path)
    return value


def integer_or_none(value: object, path: str, low: int, high: int) -> int | None:
    return None if value is None else integer(value, path, low, high)


def number(value: object, path: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(path, "a number", value)
    if not isfinite(value) or not low <= value <= high:
        raise BadRequest(f"`{path}` must be between {low:g} and {high:g}", param=path)
    return value


def items(value: object, path: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise missing(path) if value is None else wrong_type(path, "an array", value)
    if len(value) > most:
        raise BadRequest(
            f"`{path}` has {len(value)} elements, at most {most} are allowed", param=path, code="array_above_max_length"
        )
    return value


def stop_texts(value: object, path: str, most: int) -> list[str] | None:
    """Texts that end an answer: one or a list of at most `most`, none of them empty. One that is empty means none."""
    if isinstance(value, str):
        return [value] if value else None
    out = [text(s, f"{path}[{i}]") for i, s in enumerate(items(value, path, most))]
    if "" in out:
        raise BadRequest("a stop sequence is empty", param=f"{path}[{out.index('')}]")
    return out or None


def fields(value: object, path: str) -> Json:
    if not isinstance(value, dict):
        raise missing(path) if value is None else wrong_type(path, "an object", value)
    return value


def fields_or_none(value: object, path: str) -> Json | None:
    return None if value is None else fields(value, path)


def one_of(value: object, path: str, choices: Collection[str]) -> str:
    if not isinstance(value, str):
        raise missing(path) if value is None else wrong_type(path, "a string", value)
    if value not in choices:
        raise BadRequest(f"`{path}` is {shown(value)}; choices: {', '.join(choices)}", param=path)
    return value


def model_name(value: object, limits: Limits = LIMITS) -> str:
    """The model's name. One that no model can have is not found, like any other that is not there."""
    name = text(value, "model")
    if len(name) > limits.model or not _MODEL.fullmatch(name):
        raise ModelNotFound(f"there is no model {shown(name)}", param="model")
    return name


def tool_name(value: object, path: str) -> str:
    name = text(value, path)
    if not _TOOL.fullmatch(name):
        raise BadRequest(f"`{path}` must be 1 to 128 letters, digits, `_`, `-` or `.`", param=path)
    return name


def rest(value: Json, known: Collection[str]) -> Json | None:
    """The fields of `value` that are not `known` and not null; None if there are none."""
    out = {k: v for k, v in value.items() if v is not None and k not in known}
    return out or None


def sort_out(
    body: Json, fates: Mapping[str, Fate], is_default: Callable[[object], bool], where: str = ""
) -> tuple[Json, list[str]]:
    """(the extras, the names of the fields that are dropped) of a request. Raises UnsupportedParameter for a field that
    is refused, unless its value `is_default`: the server's default, written out. `where` ends that sentence."""
    extra: Json = {}
    dropped: list[str] = []
    for key, value in body.items():
        fate = fates.get(key, "dropped")
        if fate == "modelled" or value is None:
            continue
        if fate == "extra":
            extra[key] = value
        elif fate == "dropped":
            dropped.append(field_name(key))
        elif not is_default(value):
            raise UnsupportedParameter(f"`{key}` is not supported{where}", param=key)
    return extra, dropped
