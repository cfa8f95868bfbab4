"""The fleet: every server of the configuration, and which names lead to which targets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.backends import load
from gateway.canonical.context import is_like
from gateway.canonical.facts import shown_model
from gateway.canonical.requests import ThinkingConfig
from gateway.engine.credentials import Credentials
from gateway.engine.servers import Deployment, Server
from gateway.errors import ModelNotFound
from gateway.settings import NoCredentials, Settings


def is_pattern(alias: str) -> bool:
    """Is this alias one for many names?"""
    return "*" in alias or "?" in alias


@dataclass(slots=True)
class Name:
    """What a public name leads to. `auto` = any model."""

    public: str
    deployments: list[Deployment]
    auto: bool = False
    aliases: list[str] = field(default_factory=list)
    thinking: ThinkingConfig | None = None
    defaults: dict[str, Any] = field(default_factory=dict)


class Fleet:
    """All servers, and the public names. `apply` takes a new configuration; a server whose kind and address it leaves
    alone stays what it is."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self.credentials = credentials or Credentials()
        self.settings: Settings
        self.servers: dict[str, Server] = {}
        self._exact: dict[str, Name] = {}
        self._public: dict[int, Name] = {}
        self._globs: list[tuple[str, Name]] = []
        self._paths: dict[str, Name] = {}
        """Servers' own ids of models, which may be paths: who knows one may use it, nobody is shown it."""

    def apply(self, settings: Settings) -> None:
        """Raises before anything has changed, or not at all."""
        queue = settings.limits.queue
        servers: dict[str, Server] = {}
        for name, b in settings.backends.items():
            server = self.servers.get(name)
            if server is None or (server.settings.kind, server.settings.url) != (b.kind, b.url):
                server = Server(b, load(b.kind) if b.kind else None, queue, self.credentials)
            servers[name] = server
        self.servers, self.settings = servers, settings
        targets = [t for model in settings.models.values() for t in model.targets]
        for name, server in servers.items():
            server.configure(settings.backends[name], queue)
            server.want(t.model or "" for t in targets if t.backend == name)
        for t in targets:
            servers[t.backend].wanted(t.model or "").candidate.weight = t.weight
        self.rename()

    async def open_credentials(self) -> None:
        """Looks for what servers without a lasting key need. Raises NoCredentials, which names the server."""
        for name, server in self.servers.items():
            if server.signed.tokens is not None:
                try:
                    await server.signed.tokens.open()
                except NoCredentials as e:
                    raise NoCredentials(f"backends.{name}: {e}") from None

    def rename(self) -> None:
        """Builds the table of public names anew: after a new configuration, and when a probe found other models."""
        exact: dict[str, Name] = {}
        globs: list[tuple[str, Name]] = []
        for model in self.settings.models.values():
            targets = [self.servers[t.backend].wanted(t.model or "") for t in model.targets]
            name = Name(
                model.name, targets, aliases=list(model.aliases), thinking=model.thinking, defaults=dict(model.defaults)
            )
            exact[model.name] = name
            for alias in model.aliases:
                if is_pattern(alias):
                    globs.append((alias, name))
                else:
                    exact[alias] = name
        configured = set(exact)
        paths: dict[str, Name] = {}
        for server in self.servers.values():
            for d in server.deployments.values():
                model_id = d.candidate.target.model
                shown = shown_model(model_id)
                if not model_id or not configured.isdisjoint((model_id, shown)) or not (d.named or d.listed):
                    continue
                found = exact.setdefault(shown, Name(shown, []))
                paths[model_id] = found
                if d not in found.deployments:
                    found.deployments.append(d)
        public: dict[int, Name] = {}
        for name in exact.values():
            for d in name.deployments:
                public.setdefault(id(d), name)
        usable: dict[int, Deployment] = {}
        for server in self.servers.values():
            for d in server.deployments.values():
                if d.named or d.listed:
                    usable.setdefault(id(d.gate), d)  # the same model of the same server is no second choice
        exact["auto"] = Name("auto", list(usable.values()), auto=True)
        self._exact, self._globs, self._public, self._paths = exact, globs, public, paths

    def resolve(self, model: str) -> Name:
        """What `model` leads to. Raises ModelNotFound with the nearest names."""
        name = self._exact.get(model) or self._paths.get(model)
        if name is not None:
            return name
        for pattern, name in self._globs:
            if is_like(model, pattern):
                return name
        if self.settings.unknown_model != "error":
            instead = self._exact.get(self.settings.unknown_model)
            if instead is not None:
                return instead
        raise ModelNotFound(not_found(model, self._exact), param="model")

    def public_name(self, d: Deployment) -> str:
        """The name under which clients know this deployment; `auto` answers with it."""
        return self.name_of(d).public

    def name_of(self, d: Deployment) -> Name:
        """The same with what it sets. One that a reload has taken away meanwhile has its own id for a name."""
        return self._public.get(id(d)) or Name(shown_model(d.candidate.target.model), [d])

    def names(self) -> Iterable[Name]:
        """Every public name once, `auto` last."""
        seen = {id(n): n for n in self._exact.values()}
        return sorted(seen.values(), key=lambda n: (n.auto, n.public))

    def deployments(self) -> Iterable[Deployment]:
        for server in self.servers.values():
            yield from server.deployments.values()


def not_found(model: str, names: Iterable[str]) -> str:
    shown = model if len(model) <= 60 and model.isprintable() else "that name"
    choices = sorted(names)
    near = difflib.get_close_matches(model[:256], choices, 3, 0.5) or choices[:8]
    return f"there is no model {shown!r} here; the nearest names are: {', '.join(near)}"
