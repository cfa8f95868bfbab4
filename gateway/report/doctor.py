"""What is wrong with the fleet, and what to change: what probes found, what follows from the facts, and what has to be
tried (bodies as large as the media that a server takes, what else answers there)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.backends import Call, kinds, load
from gateway.backends.wire.detect import GENERAL, GUESSED
from gateway.canonical.facts import Facts, Finding
from gateway.engine.fleet import Fleet
from gateway.engine.probe import Prober
from gateway.engine.servers import Server
from gateway.engine.upstream import Upstream
from gateway.errors import GatewayError
from gateway.routing.findings import CODES, Level, findings, state_finding
from gateway.settings import Settings

SKEW = 30.0
"""Seconds that two clocks may differ."""
PATIENCE = 20.0
"""Seconds for one large body."""
PIECE = 64 * 1024
FRAMING = 64 * 1024
"""Octets of a request beside its largest medium."""

_SERVER_CODES = frozenset({"no-key", "redirect", "web-page", "other-api", "no-models"})
"""Why nothing is served there: says more than that nothing is."""
_SAY_MORE = {"no-tools": ("no-tool-parser",), "unreachable": ("failed-model", "not-loaded")}
"""What need not be said of a model of which one of these was found."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A finding and whose it is; `backend` "" = the configuration's."""

    backend: str
    finding: Finding

    @property
    def level(self) -> Level:
        return CODES[self.finding.code][0]

    def view(self) -> dict[str, Any]:
        f = self.finding
        return {
            "code": f.code,
            "level": self.level,
            "backend": self.backend,
            "model": f.model,
            "text": f.text,
            "fix": f.fix,
        }


async def examine(fleet: Fleet, prober: Prober, upstream: Upstream, *, in_container: bool) -> list[Complaint]:
    """All that is wrong, the worst first within each backend. Every server has been looked at before."""
    servers = list(fleet.servers.values())
    already = [known(s, in_container=in_container) for s in servers]
    tried = await asyncio.gather(*(_tried(s, prober, upstream, fleet.settings) for s in servers))
    out: list[Complaint] = []
    for server, old, new in zip(servers, already, tried, strict=True):
        mine = [Complaint(server.name, f) for f in dict.fromkeys([*old, *new])]
        out += sorted(mine, key=lambda c: ("error", "warning", "note").index(c.level))
    return out + [Complaint("", f) for f in mixed_names(fleet)]


def known(server: Server, *, in_container: bool) -> list[Finding]:
    """What needs no further question: the probe's findings, and what follows from state and facts."""
    url = server.settings.url or ""
    out = list(server.findings)
    why = any(f.code in _SERVER_CODES for f in out)
    told = {(f.code, f.model) for f in out}
    if server.settings.kind is None and server.kind == GENERAL:
        fix = "say its `kind:` if it has one, and in `facts:` what it can do"
        out.append(Finding("kind-guessed", GUESSED, fix))
    absent = server.state in ("down", "unprobed", "loading")
    if absent and not why:
        out.append(state_finding(server.state, server.detail, "", url, in_container=in_container))
    for d in server.deployments.values():
        if d.named or d.listed:
            out += [
                f
                for f in findings(d.candidate, url, in_container=in_container)
                if not (absent and f.code in ("unreachable", "loading"))
                and not any((better, f.model) in told for better in _SAY_MORE.get(f.code, ()))
            ]
    if server.skew is not None and abs(server.skew) > SKEW:
        late = "ahead of" if server.skew > 0 else "behind"
        text = f"its clock is {abs(server.skew):.0f} s {late} the gateway's"
        out.append(Finding("clock-skew", text, "set both by NTP (`timedatectl set-ntp true`)"))
    return out


def mixed_names(fleet: Fleet) -> Iterable[Finding]:
    """Public names whose targets are not of one size."""
    for name in fleet.names():
        sizes = {d.candidate.target.label: d.candidate.facts.variant for d in name.deployments}
        if not name.auto and len({v for v in sizes.values() if v}) > 1:
            which = ", ".join(f"{label} ({variant or 'not known'})" for label, variant in sizes.items())
            fix = "give each size a name of its own, unless one shall stand in for the other"
            yield Finding("mixed-name", f"{name.public} leads to different sizes: {which}", fix)


async def _tried(server: Server, prober: Prober, upstream: Upstream, settings: Settings) -> list[Finding]:
    if server.state not in ("ready", "cold") or server.backend is None or not server.settings.local:
        return []
    out = []
    other = await _other_kind(server, prober)
    if other:
        fix = f"set `kind: {other}`, or leave it out to have it detected"
        out.append(Finding("wrong-kind", f"it says that it is of kind {other}, not {server.kind}", fix))
    facts = [d.candidate.facts for d in server.deployments.values() if d.listed]
    size = largest_body(facts, settings)
    path = getattr(server.backend, "chat_path", "/v1/chat/completions")
    if await _too_large(server, upstream, path, size):
        hint = server.backend.hints.get("body_limit", "raise the limit of the proxy in front of it")
        text = f"it refuses bodies of {size / 2**20:.0f} MiB, which its media may need"
        out.append(Finding("body-limit", text, f"{hint} (nginx: client_max_body_size {size // 2**20 + 1}m)"))
    return out


async def _other_kind(server: Server, prober: Prober) -> str:
    """The kind that a server says it is, where that is not the configured one. Kinds that are built on another one
    work as it, too; the general one claims whatever lists models."""
    assert server.backend is not None
    if server.settings.kind is None:
        return ""
    reply = await prober.ask(server, Call("GET", "/v1/models"))
    if server.backend.claims(reply) and server.kind != "openai":
        return ""
    for kind in kinds():
        other = load(kind)
        if kind not in ("openai", server.kind) and other.claims(reply) and not isinstance(server.backend, type(other)):
            return kind
    return ""


def largest_body(facts: Sequence[Facts], settings: Settings) -> int:
    """Octets of the largest request that such targets may get: a medium grows by a third in base64."""
    limits = settings.limits
    media = 0
    if any(f.audio for f in facts):
        media = limits.audio
    if any(f.video for f in facts):
        media = max(media, limits.video)
    if not media and any(f.image for f in facts):
        media = 8 * 2**20
    return min(limits.body, media * 4 // 3 + FRAMING) if media else min(limits.body, limits.json_size)


async def _too_large(server: Server, upstream: Upstream, path: str, size: int) -> bool:
    """Whether a body of that size is refused for its size. It is nothing but blanks, which no server takes for more."""
    blanks = b" " * PIECE
    call = Call("POST", path, [blanks] * max(1, size // PIECE))
    try:
        async with asyncio.timeout(PATIENCE):
            exchange = await server.signed.send(upstream, call, "doctor")
            status = exchange.status
            exchange.close()
            return status == 413
    except (GatewayError, TimeoutError):
        return False


def contained(files: Path = Path("/"), env: Mapping[str, str] | None = None) -> bool:
    """Whether this process runs in a container: Docker, Podman or Kubernetes."""
    if any((files / name).exists() for name in (".dockerenv", "run/.containerenv")):
        return True
    return any(name in (env or {}) for name in ("KUBERNETES_SERVICE_HOST", "container"))


def told(complaints: Sequence[Complaint], fleet: Fleet) -> str:
    """All of it for a person."""
    lines = []
    for name in [*fleet.servers, ""]:
        mine = [c for c in complaints if c.backend == name]
        if name:
            server = fleet.servers[name]
            lines.append(f"{name}  {server.kind}  {server.settings.url or ''}  {server.state}".rstrip())
        elif mine:
            lines.append("configuration")
        for c in mine:
            about = f" [{c.finding.model}]" if c.finding.model else ""
            lines.append(f"  {c.level:<8}{c.finding.code}{about}: {c.finding.text}")
            if c.finding.fix:
                lines.append(f"          fix: {c.finding.fix}")
        if name and not mine:
            lines.append("  nothing to change")
    return "\n".join(lines)


def exit_code(complaints: Sequence[Complaint]) -> int:
    """1 if there is anything to change, 0 if there are notes at most."""
    return int(any(c.level != "note" for c in complaints))
