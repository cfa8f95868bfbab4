"""The configuration file -> Settings, or every problem in it at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.backends import kinds_of_environment
from gateway.settings.check import Check
from gateway.settings.document import MAX_CHARACTERS, Document, read_document
from gateway.settings.entrance import read_admin, read_auth, read_cors, read_listen
from gateway.settings.fleet import AUTO, check_queue, read_backends, read_models, read_prefer, read_routes
from gateway.settings.model import (
    AutoSettings,
    Limits,
    LogSettings,
    MediaSettings,
    ModelSettings,
    OtelSettings,
    QuotaSettings,
    Section,
    Settings,
    StateSettings,
    Timeouts,
    TlsSettings,
)
from gateway.settings.problems import ConfigErrors, ConfigProblem, choices, path_text, quoted
from gateway.settings.values import MODALITIES, one_of, read_header_list, read_list, read_media_host, read_text

S = TypeVar("S", bound=Section)

QUEUE_SHARE = 0.8
"""Of `life_sign`: how long a request waits for a target at most, unless the file says."""
_BACKEND_VARIABLE = re.compile(r"GATEWAY_BACKEND_([A-Za-z0-9_]+)")
_KEY = "_API_KEY"


def load(path: Path, env: Mapping[str, str]) -> Settings:
    """The settings in that file. `env` gives the secrets and the overrides GATEWAY_LISTEN and PORT. Raises
    ConfigErrors."""
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_CHARACTERS + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigErrors([ConfigProblem("", _unreadable(error), None, str(path))]) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([ConfigProblem("", "is not UTF-8 text", line, path.name)]) from None
    return parse(text, env, path.name, path.parent)


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file: `gateway init` looks for model servers and writes one"
    if isinstance(error, IsADirectoryError):
        return "is a folder: name the file in it"
    return f"can't be read: {error.strerror}"


def parse(text: str, env: Mapping[str, str], name: str = "gateway.yaml", base: Path = Path()) -> Settings:
    """The settings in that text. `name` stands in messages; relative paths start from `base`. Raises ConfigErrors."""
    document = read_document(text, name)
    if document.problems and not document.values:
        raise ConfigErrors(document.problems)
    return _settings(Check(document, env, base))


def defaults(env: Mapping[str, str], found: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The settings where there is no file. Backends are: each `GATEWAY_BACKEND_<NAME>=url`, whose kind is detected; the
    hosted ones whose own key is set (GEMINI_API_KEY); and `found`, name -> mapping. GATEWAY_BACKEND_<NAME>_API_KEY is
    the key of any of the first and last. Raises ConfigErrors."""
    document = Document(name="environment")
    backends, variables = _of_environment(env)
    for name, backend in (found or {}).items():
        backends.setdefault(name, {**backend, **_key_of(name, env)})
    if backends:
        document.values["backends"] = backends
    try:
        return _settings(Check(document, env, Path()))
    except ConfigErrors as errors:
        raise ConfigErrors(_by_variable(p, variables) for p in errors.problems) from None


def _by_variable(problem: ConfigProblem, variables: Mapping[str, str]) -> ConfigProblem:
    """The same, told of the variable that it is about."""
    for name, variable in variables.items():
        if problem.path == path_text(("backends", name)) or problem.path == path_text(("backends", name, "url")):
            return replace(problem, path=variable)
    return problem


def key_variable(name: str) -> str:
    """The variable that holds the key of a backend that no file names."""
    return f"GATEWAY_BACKEND_{re.sub('[^A-Z0-9]', '_', name.upper())}{_KEY}"


def _of_environment(env: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Name -> mapping, and name -> the variable that says so."""
    found: dict[str, dict[str, Any]] = {}
    variables: dict[str, str] = {}
    for variable, url in env.items():
        match = _BACKEND_VARIABLE.fullmatch(variable)
        if url and match and not match[1].upper().endswith(_KEY):
            name = match[1].lower()
            found[name] = {"url": url, **_key_of(name, env)}
            variables[name] = variable
    for name, (kind, variable) in kinds_of_environment().items():
        if env.get(variable):
            found.setdefault(name, {"kind": kind, "api_key_env": variable})
    return found, variables


def _key_of(name: str, env: Mapping[str, str]) -> dict[str, str]:
    variable = key_variable(name)
    return {"api_key_env": variable} if env.get(variable) else {}


def _settings(check: Check) -> Settings:
    top = {k: v for k, v in check.document.values.items() if v is not None}
    for key in top:
        if key not in Settings.model_fields:
            check.unknown_key((key,), key, Settings)
    timeouts = _timeouts(check, top)
    limits = _section(check, top, "limits", Limits)
    backends = read_backends(check, top.get("backends"), timeouts)
    raw_backends = top.get("backends")
    backend_names = list(raw_backends) if isinstance(raw_backends, dict) else []
    models = read_models(check, top.get("models"), backend_names)
    listen = read_listen(check, top.get("listen"))
    admin = read_admin(check, top.get("admin"), listen)
    values: dict[str, Any] = {
        "listen": listen,
        "auth": read_auth(check, top.get("auth"), (*listen, *admin.listen)),
        "cors": read_cors(check, top),
        "backends": backends,
        "models": models,
        "routes": read_routes(check, top.get("routes"), backend_names),
        "privacy": _privacy(check, top.get("privacy")),
        "media": _media(check, top.get("media")),
        "auto": _auto(check, top.get("auto"), backend_names),
        "unknown_model": _unknown_model(check, top.get("unknown_model"), models),
        "limits": limits,
        "timeouts": timeouts,
        "repair": check.value(("repair",), top.get("repair", "fix"), one_of("off", "observe", "fix")),
        "runaway": check.value(("runaway",), top.get("runaway", "observe"), one_of("off", "observe", "stop")),
        "state": _state(check, top),
        "admin": admin,
        "log": _section(check, top, "log", LogSettings),
        "otel": _otel(check, top),
        "tls": _tls(check, top),
        "quotas": _section(check, top, "quotas", QuotaSettings),
    }
    if check.problems:
        raise ConfigErrors(check.problems)
    return Settings(**values)


def _section(check: Check, top: Mapping[str, Any], key: str, cls: type[S]) -> S:
    """The section of that name; its defaults where it is absent or has problems."""
    return check.section((key,), cls, top.get(key, {})) or cls()


def _timeouts(check: Check, top: Mapping[str, Any]) -> Timeouts:
    """A shorter `life_sign` takes `queue` along where that is not said."""
    timeouts = _section(check, top, "timeouts", Timeouts)
    if "queue" not in timeouts.model_fields_set and timeouts.queue >= timeouts.life_sign:
        return timeouts.model_copy(update={"queue": QUEUE_SHARE * timeouts.life_sign})
    check_queue(check, ("timeouts", "queue"), timeouts, timeouts)
    return timeouts


def _optional(check: Check, top: Mapping[str, Any], key: str, cls: type[S]) -> S | None:
    return check.section((key,), cls, top[key]) if key in top else None


def _otel(check: Check, top: Mapping[str, Any]) -> OtelSettings | None:
    otel = _optional(check, top, "otel", OtelSettings)
    if otel is None:
        return None
    from gateway.observe.span import missing

    if absent := missing():
        check.problem(("otel",), absent)
    if otel.headers_env is None:
        return otel
    headers = check.variable(("otel", "headers_env"), otel.headers_env)
    if headers is not None:
        check.value(("otel", "headers_env"), headers.get_secret_value(), read_header_list)
    return otel.model_copy(update={"headers": headers})


def _privacy(check: Check, raw: Any) -> dict[str, str]:
    """Sound stays home unless `audio: any` says otherwise: other entries do not undo that."""
    privacy = {"audio": "local"}
    for name, value in check.mapping(("privacy",), raw, list(MODALITIES)).items():
        if name not in MODALITIES:
            check.problem(("privacy", name), f"unknown modality {quoted(name)} {choices(name, MODALITIES)}")
        elif value is not None and (word := check.value(("privacy", name), value, one_of("local", "any"))):
            privacy[name] = word
    return privacy


def _media(check: Check, raw: Any) -> MediaSettings:
    """`remote: {allow: [...]}` is the mode `allow` with its hosts."""
    media = dict(check.mapping(("media",), raw, MediaSettings.key_names()))
    where = ("media", "remote")
    remote = media.pop("remote", None)
    mode: str | None = "guarded"
    hosts: list[str] = []
    if isinstance(remote, dict):
        mode = "allow"
        for key in remote.keys() - {"allow"}:
            check.problem((*where, key), f"unknown key {quoted(key)} {choices(key, ['allow'])}")
        allow = check.value((*where, "allow"), remote.get("allow") or [], read_list) or ()
        for i, item in enumerate(allow):
            host = check.value((*where, "allow", i), item, read_media_host)
            hosts += [host] if host is not None else []
        if not allow:
            check.problem(where, 'needs allow: a list of "host" or "host:port"')
    elif remote is not None:
        mode = check.value(where, remote, _read_remote)
    return check.section(("media",), MediaSettings, {**media, "remote": mode}, allow=hosts) or MediaSettings()


def _read_remote(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be guarded, off, or {allow: [host, ...]}")
    return one_of("guarded", "off")(value)


def _auto(check: Check, raw: Any, backend_names: list[str]) -> AutoSettings:
    auto = dict(check.mapping(("auto",), raw, AutoSettings.key_names()))
    prefer = read_prefer(check, ("auto", "prefer"), auto.pop("prefer", None), backend_names)
    return check.section(("auto",), AutoSettings, {**auto, "prefer": prefer}) or AutoSettings()


def _unknown_model(check: Check, raw: Any, models: Mapping[str, ModelSettings]) -> str:
    """`error`, `auto`, or a name that is in this file: of a model, an alias, or what a target calls its model."""
    if raw is None:
        return "error"
    name = check.value(("unknown_model",), raw, read_text) or "error"
    names = {"error", AUTO, *models}
    for model in models.values():
        names |= {alias for alias in model.aliases if not set(alias) & set("*?")}
        names |= {target.model for target in model.targets if target.model is not None}
    if name not in names:
        check.problem(("unknown_model",), f"unknown model {quoted(name)} {choices(name, names)}")
    return name


def _state(check: Check, top: Mapping[str, Any]) -> StateSettings:
    state = _section(check, top, "state", StateSettings)
    return state if state.dir is None else state.model_copy(update={"dir": check.path(state.dir)})


def _tls(check: Check, top: Mapping[str, Any]) -> TlsSettings | None:
    tls = _optional(check, top, "tls", TlsSettings)
    if tls is None:
        return None
    files = {key: check.readable(("tls", key), path) for key, path in (("cert", tls.cert), ("key", tls.key))}
    return tls.model_copy(update=files)
