"""What the look-out for servers found, for a person and as YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from gateway.backends import load
from gateway.canonical.facts import Facts, shown_model
from gateway.engine.fleet import Fleet
from gateway.engine.scan import Found, Scan, remark
from gateway.engine.servers import Deployment, Server
from gateway.report.table import table
from gateway.settings import BackendSettings, Settings, key_variable

View = dict[str, Any]
"""JSON-ready."""

_HEADS = ("BACKEND", "KIND", "MODEL", "SEES", "HEARS", "CONTEXT", "STATE")


def view(fleet: Fleet, scan: Scan | None) -> View:
    """All of it: where was looked, the backends with their models, and what was left out."""
    scanned = {f.name: f for f in scan.found.values()} if scan else {}
    return {
        "looked": _looked(scan),
        "backends": [_backend(s, scanned.get(s.name)) for s in fleet.servers.values()],
        "left_out": _left_out(scanned.values()),
        "yaml": as_yaml(fleet.settings, scan),
    }


def _left_out(found: Iterable[Found]) -> list[View]:
    """A machine that is not known is said once, not with each port."""
    said = dict.fromkeys((f.url, f.left_out) for f in found if f.left_out)
    return [{"url": url, "why": why} for url, why in said]


def _looked(scan: Scan | None) -> View:
    if scan is None:
        return {"hosts": [], "ports": [], "seconds": 0.0}
    hosts = list(dict.fromkeys(s.hosts[0] for s in scan.spots))
    return {"hosts": hosts, "ports": sorted({s.port for s in scan.spots}), "seconds": round(scan.took, 3)}


def _backend(server: Server, found: Found | None) -> View:
    return {
        "backend": server.name,
        "kind": server.kind,
        "url": server.settings.url,
        "local": server.settings.local,
        "state": server.state,
        "detail": server.detail,
        "remark": remark(found, key_variable(server.name)) if found else "",
        "models": [_model(d) for d in server.deployments.values() if d.listed],
    }


def _model(d: Deployment) -> View:
    facts: Facts = d.candidate.facts
    return {
        "model": shown_model(d.candidate.target.model),
        "state": d.candidate.state,
        **{name: getattr(facts, name) for name in ("image", "audio", "video", "tools", "context", "variant")},
        "test_stand_in": bool(facts.fixture),
    }


def told(seen: View, width: int = 120, *, colour: bool = False, where: str = "") -> str:
    """The table, what was left out, and what to do where there is nothing. `where`: what names the servers, where no
    port was looked at."""
    rows = [row for backend in seen["backends"] for row in _rows(backend)]
    lines = [f"{where or place(seen)}: {count(len(seen['backends']))}"]
    if rows:
        lines += ["", table(_HEADS, rows, width, colour=colour)]
    if seen["left_out"]:
        lines += ["", *(f"left out: {x['url']}: {x['why']}" for x in seen["left_out"])]
    return "\n".join(lines)


def count(servers: int) -> str:
    return f"{servers or 'no'} model server{'' if servers == 1 else 's'}"


def place(seen: View) -> str:
    """Where was looked, and how long that took."""
    looked = seen["looked"]
    if not looked["hosts"]:
        return "from the environment"
    ports = " ".join(map(str, looked["ports"]))
    return f"looked at {', '.join(looked['hosts'])}, ports {ports}, for {looked['seconds']:.1f} s"


def _rows(backend: View) -> list[list[str]]:
    name, kind = backend["backend"], backend["kind"]
    rows = []
    for model in backend["models"]:
        facts = [_sees(model), _able(model["audio"]), f"{model['context']:,}" if model["context"] else "unknown"]
        state = model["state"] + (": a test stand-in" if model["test_stand_in"] else "")
        rows.append([name, kind, model["model"], *facts, state])
        name = kind = ""
    if not rows:
        words = backend["remark"] or backend["detail"]
        return [[name, kind, "-", "-", "-", "-", backend["state"] + (f": {words}" if words else "")]]
    if backend["remark"]:
        rows[0][-1] += f": {backend['remark']}"
    return rows


def _sees(model: View) -> str:
    words = [word for name, word in (("image", "pictures"), ("video", "video")) if model[name]]
    return " ".join(words) or ("unknown" if model["image"] is None else "no")


def _able(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def as_yaml(settings: Settings, scan: Scan | None, today: date | None = None) -> str:
    """The configuration that says the same as what was found. A key that a server wants stands in it as the name of a
    variable, commented out where that is not set: the file can be served as it is."""
    scanned = {f.name: f for f in scan.found.values()} if scan else {}
    listen = [str(a) for a in settings.listen]
    lines = [
        f"# Written by gateway{f' on {today}' if today else ''}: what answered then. `gateway check` tries it,",
        "# `gateway serve` serves it; a change takes effect at once. With a file no port is looked at by itself.",
        f"listen: {json.dumps(listen[0] if len(listen) == 1 else listen)}",
        "auth: none   # only where nobody but this machine can reach it; else {api_key_env: GATEWAY_API_KEY}",
        "backends:" if settings.backends else "backends: {}",
        *(_entry(b, scanned.get(name)) for name, b in settings.backends.items()),
    ]
    return "\n".join(lines) + "\n"


def _entry(b: BackendSettings, found: Found | None) -> str:
    said = {
        "kind": b.kind,
        "url": json.dumps(b.url) if b.url != default_url(b.kind) else None,
        "api_key_env": b.api_key_env,
    }
    note = ""
    if found is not None and found.locked and not b.api_key_env:
        note = f"   # it wants a key: add api_key_env: {key_variable(b.name)}"
    elif found is not None and not found.sure:
        note = "   # nothing tells its kind; say in `facts:` what it can do"
    return f"  {b.name}: {{{', '.join(f'{key}: {value}' for key, value in said.items() if value)}}}{note}"


def default_url(kind: str | None) -> str | None:
    """Where servers of that kind are unless a file says so: hosted ones."""
    return str(getattr(load(kind), "default_url", "")) if kind else None
