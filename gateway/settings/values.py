"""Single values as an operator writes them -> what the gateway works with. A ValueError says what to write."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import BeforeValidator

from gateway.canonical.content import MODALITY
from gateway.settings.problems import choices, quoted

MODALITIES: tuple[str, ...] = ("text", *MODALITY.values())

MAX_SECONDS = 7 * 86400.0
MAX_SIZE = 1 << 40
MAX_COUNT = 1_000_000_000

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|min|h|d)?")
_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]?)(i?)b?", re.IGNORECASE)
_EXPONENT = {"": 0, "k": 1, "m": 2, "g": 3}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PUBLIC_NAME = re.compile(r"[A-Za-z0-9._:/@+\[\]-]{1,256}")
_ALIAS = re.compile(r"[A-Za-z0-9._:/@+\[\]*?-]{1,256}")
_MIME = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+*-]+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def read_seconds(value: object) -> float:
    """30, 0.5, "30s", "2m", "1h" -> seconds."""
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        number = float(found[1]) * _PER_UNIT[found[2] or "s"]
    elif isinstance(value, str) and value.strip().lower() in ("inf", "infinite", "infinity", "never", "none", "off"):
        number = math.inf
    if math.isnan(number):
        raise ValueError('must be a time such as 30, "30s" or "2m"')
    if not 0 < number <= MAX_SECONDS:
        raise ValueError("must be more than 0 and at most 7d: nothing here waits without end")
    return number


def read_size(value: object) -> int:
    """65536, "64KiB", "64 MiB", "1.5G", "10MB" -> octets. `i` or no letter after k, m, g: powers of 1024; `kB`, `MB`,
    `GB`: powers of 1000."""
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        decimal = found[2] and not found[3] and found[0].lower().endswith("b")
        number = float(found[1]) * (1000 if decimal else 1024) ** _EXPONENT[found[2].lower()]
    if math.isnan(number):
        raise ValueError('must be a size such as 65536, "64KiB" or "64MiB"')
    if not 1 <= number <= MAX_SIZE:
        raise ValueError("must be at least 1 octet and at most 1024GiB")
    return int(number)


def read_count(value: object) -> int:
    number = read_whole(value)
    if number < 1:
        raise ValueError("must be a whole number from 1 on")
    return number


def read_whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"must be a whole number from 0 to {MAX_COUNT}")
    return value


def read_positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MAX_COUNT:
        raise ValueError("must be a number above 0")
    return float(value)


def between(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return read


def whole_between(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return read


def read_flag(value: object) -> bool:
    """`yes`, `no`, `on` and `off` are words in YAML 1.2; what they mean is not in doubt."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("yes", "on", "no", "off"):
        return value.lower() in ("yes", "on")
    raise ValueError("must be true or false")


def read_text(value: object) -> str:
    if not isinstance(value, str):
        quotes = ": put it in quotes" if isinstance(value, int | float) else ""
        raise ValueError(f"must be text{quotes}")
    if not value or value != value.strip() or not value.isprintable():
        raise ValueError("must be text of one line, not empty, without spaces around it")
    return value


def read_list(value: object) -> tuple[object, ...]:
    """A scalar stands for a list of one."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, dict):
        raise ValueError("must be a value or a list of values")
    return (value,)


def read_entries(value: object) -> tuple[object, ...]:
    """One mapping stands for a list of one."""
    return (value,) if isinstance(value, dict) else read_list(value)


def read_word(value: object) -> str:
    """A word that is compared with what servers and tables say: always in lower case."""
    return read_text(value).lower()


def read_public_name(value: object) -> str:
    text = read_text(value)
    if not _PUBLIC_NAME.fullmatch(text):
        raise ValueError("must be a model's name: letters, digits and . _ : / @ + - [ ], at most 256")
    return text


def read_alias(value: object) -> str:
    text = read_text(value)
    if not _ALIAS.fullmatch(text):
        raise ValueError('must be a model\'s name, or a pattern such as "claude-*" (* and ? are the only wildcards)')
    return text


def read_backend_name(value: object) -> str:
    text = read_text(value)
    if not _NAME.fullmatch(text):
        raise ValueError("must be a name of letters, digits, dots, dashes and underscores, at most 64")
    return text


def read_stops(value: object) -> tuple[str, ...]:
    """Texts that end an answer: of any kind, line breaks too."""
    texts = tuple(t for t in read_list(value) if isinstance(t, str) and t)
    if len(texts) != len(read_list(value)):
        raise ValueError("must be a text or a list of texts")
    return texts


def read_biases(value: object) -> dict[str, float]:
    """Token id, or its text where a server takes that -> bias."""
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of token ids and numbers")
    return {str(token): between(-100, 100)(bias) for token, bias in value.items()}


def read_mime(value: object) -> str:
    text = read_word(value)
    if not _MIME.fullmatch(text):
        raise ValueError("must be a MIME type such as audio/wav")
    return text


def read_variable(value: object) -> str:
    """The name of an environment variable. What does not look like one may be the secret itself: it is not shown."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError("must be the name of an environment variable, not the secret itself")
    return value


def read_header_list(value: object) -> dict[str, str]:
    """Headers as OpenTelemetry writes them: `name=value,name=value`, values percent-encoded. It holds secrets, and is
    not shown."""
    out = {}
    for pair in str(value).split(","):
        name, equals, text = pair.partition("=")
        text = unquote(text)
        if not (equals and _HEADER.fullmatch(name) and text.isascii() and text.isprintable()):
            raise ValueError("must hold name=value,name=value (a space in a value is written %20)")
        out[name] = text
    return out


def read_origin(value: object) -> str:
    text = read_word(value)
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", text):
        raise ValueError('must be an origin such as "https://chat.example.com", without a path, or "*"')
    return text


def read_media_host(value: object) -> str:
    text = read_word(value)
    if not re.fullmatch(r"(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", text):
        raise ValueError('must be "host" or "host:port", without a scheme or a path')
    return text


def one_of(*valid: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in valid:
            given = value if isinstance(value, str) else ""
            raise ValueError(f"unknown value {quoted(given)} {choices(given, valid)}" if given else _pick(valid))
        return value.lower()

    return read


def _pick(valid: tuple[str, ...]) -> str:
    return f"must be one word {choices('', valid)}"


def read_key_id(value: object) -> str:
    text = read_text(value)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text):
        raise ValueError("must be the id of a key: letters, digits, dots, dashes and underscores, at most 64")
    return text


def read_digest(value: object) -> bytes:
    """The value is not shown: it may be a key that somebody wrote here."""
    found = re.fullmatch(r"blake2b:([0-9a-f]{64})", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be blake2b: and 64 hexadecimal digits, as `gateway keys new` writes it; never the key")
    return bytes.fromhex(found[1])


def read_moment(value: object) -> float:
    """2027-01-31, 2027-01-31T12:00:00Z, "2027-01-31 12:00+01:00" -> Unix seconds. Without a zone it is UTC."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
            return (moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):  # OverflowError: in UTC it is outside of the years 1 to 9999
            pass
    raise ValueError("must be a date such as 2027-01-31, or a date and time such as 2027-01-31T12:00:00Z")


def read_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    text = read_text(value)
    if "\0" in text:
        raise ValueError("must be a path")
    return Path(text)


Seconds = Annotated[float, BeforeValidator(read_seconds)]
Size = Annotated[int, BeforeValidator(read_size)]
Count = Annotated[int, BeforeValidator(read_count)]
Whole = Annotated[int, BeforeValidator(read_whole)]
Positive = Annotated[float, BeforeValidator(read_positive)]
Flag = Annotated[bool, BeforeValidator(read_flag)]
Line = Annotated[str, BeforeValidator(read_text)]
Word = Annotated[str, BeforeValidator(read_word)]
KeyId = Annotated[str, BeforeValidator(read_key_id)]
Digest = Annotated[bytes, BeforeValidator(read_digest)]
Moment = Annotated[float, BeforeValidator(read_moment)]
Modalities = Annotated[tuple[Annotated[str, BeforeValidator(one_of(*MODALITIES))], ...], BeforeValidator(read_list)]
Mime = Annotated[str, BeforeValidator(read_mime)]
Variable = Annotated[str, BeforeValidator(read_variable)]
FilePath = Annotated[Path, BeforeValidator(read_path)]
Lines = Annotated[tuple[Line, ...], BeforeValidator(read_list)]
Words = Annotated[tuple[Word, ...], BeforeValidator(read_list)]
Mimes = Annotated[tuple[Mime, ...], BeforeValidator(read_list)]
Origins = Annotated[tuple[Annotated[str, BeforeValidator(read_origin)], ...], BeforeValidator(read_list)]
MediaHosts = Annotated[tuple[Annotated[str, BeforeValidator(read_media_host)], ...], BeforeValidator(read_list)]
