"""The gateway's own field of a request, in any dialect: it narrows the targets, never widens them, is never sent on.

Three ways in, merged: the body's top-level `gateway`, the header `x-gateway-options` (the same object as JSON text),
and the body's `provider`, an alias that clients of hosted routers already send.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from gateway.canonical.requests import Options
from gateway.errors import BadRequest

MATCH_FIELDS: Final = ("kind", "variant", "quantization", "hardware", "family", "backend", "model", "local")
"""What a target can be narrowed by; the same fields as in a route's `require` and `prefer`."""

_FIELDS: Final = ("require", "prefer", "parts", "reasoning_field")
_REASONING_FIELDS: Final = ("reasoning_content", "reasoning", "both")
_PROVIDER_FIELDS: Final = ("order", "only", "quantizations", "require_parameters", "ignore", "allow_fallbacks", "sort")
_MOST_VALUES: Final = 64
_MOST_CHARACTERS: Final = 256


def parse_options(body_field: object, provider_field: object = None, header_json: str | None = None) -> Options:
    """What the request says about its targets. Raises BadRequest with the path (`gateway.require.kind`) of what is
    wrong; `param` starts with `x-gateway-options` for the header. `require` of several sources must hold together."""
    options = Options()
    if header_json is not None:
        try:
            value = msgspec.json.decode(header_json)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise BadRequest("the header x-gateway-options is not JSON", param="x-gateway-options") from None
        _gateway(value, "x-gateway-options", options)
    if body_field is not None:
        _gateway(body_field, "gateway", options)
    if provider_field is not None:
        _provider(provider_field, "provider", options)
    return options


def _gateway(value: object, path: str, options: Options) -> None:
    for key, entry in _object(value, path, _FIELDS).items():
        where = f"{path}.{key}"
        if key == "require":
            for name, wanted in _match(entry, where).items():
                _require(options, name, wanted, f"{where}.{name}")
        elif key == "prefer":
            if not isinstance(entry, list) or len(entry) > _MOST_VALUES:
                raise BadRequest(f"`{where}` must be an array of at most {_MOST_VALUES} objects", param=where)
            options.prefer += [_match(tier, f"{where}[{i}]") for i, tier in enumerate(entry)]
        elif key == "parts":
            strict = _choice(entry, where, ("strict", "any")) == "strict"
            options.strict_parts = options.strict_parts or strict
        else:
            options.reasoning_field = cast(Any, _choice(entry, where, _REASONING_FIELDS))


def _provider(value: object, path: str, options: Options) -> None:
    """`order`: these backends first. `only`: no others. `require_parameters`: no parameter may be dropped.
    `allow_fallbacks` false: none but those of `order`. `sort` has no counterpart and allows nothing more."""
    entries = _object(value, path, _PROVIDER_FIELDS)
    for key, entry in entries.items():
        where = f"{path}.{key}"
        if key == "order":
            names = _strings(entry, where)
            options.prefer += [{"backend": [name]} for name in names]
            if entries.get("allow_fallbacks") is False:
                _require(options, "backend", names, where)
        elif key == "only":
            _require(options, "backend", _strings(entry, where), where)
        elif key == "quantizations":
            _require(options, "quantization", _strings(entry, where), where)
        elif key == "require_parameters":
            if not isinstance(entry, bool):
                raise BadRequest(f"`{where}` must be a boolean", param=where)
            options.strict_parameters = entry
        elif key == "ignore":
            # an exclusion can't be said as a list of allowed values; ignoring it would use what the client forbids
            raise BadRequest(f"`{where}` is not supported: name the allowed backends in `provider.only`", param=where)


def _require(options: Options, name: str, wanted: list[str], path: str) -> None:
    """Both lists must hold: what is left are the values in both."""
    held = options.require.get(name)
    left = wanted if held is None else [v for v in held if v in wanted]
    if not left:
        raise BadRequest(f"`{path}` leaves no {name} that is allowed", param=path)
    options.require[name] = left


def _match(value: object, path: str) -> dict[str, list[str]]:
    return {key: _strings(entry, f"{path}.{key}") for key, entry in _object(value, path, MATCH_FIELDS).items()}


def _object(value: object, path: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"`{path}` must be an object", param=path)
    for key in value:
        if key not in known:
            shown = key if len(key) <= 60 else key[:60] + "..."
            raise BadRequest(f"`{path}` has no field {shown!r} (choices: {', '.join(known)})", param=f"{path}.{shown}")
    return {k: v for k, v in value.items() if v is not None}


def _strings(value: object, path: str) -> list[str]:
    """One value or a list of values; booleans become "true" and "false"."""
    values = value if isinstance(value, list) else [value]
    if not values or len(values) > _MOST_VALUES:
        raise BadRequest(f"`{path}` must have 1 to {_MOST_VALUES} values", param=path)
    return [_string(v, path) for v in values]


def _string(value: object, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_CHARACTERS:
        raise BadRequest(f"`{path}` must be a string or an array of strings", param=path)
    return value


def _choice(value: object, path: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise BadRequest(f"`{path}` must be one of {', '.join(choices)}", param=path)
    return value
