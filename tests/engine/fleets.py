"""A fleet of one configured server, and what a probe finds there."""

from __future__ import annotations

from typing import Any

import yaml

from gateway.backends import Discovery, Model
from gateway.engine.fleet import Fleet
from gateway.engine.news import News
from gateway.engine.servers import Deployment, Server
from gateway.settings import parse


def configured(*targets: dict[str, Any], backend: dict[str, Any] | None = None, **more: Any) -> Any:
    """One vLLM server `one`; each target is a public name of its own: m0, m1, ..."""
    one = {"kind": "vllm", "url": "http://127.0.0.1:9", **(backend or {})}
    models = {f"m{k}": {"targets": [{"backend": "one", **target}]} for k, target in enumerate(targets)}
    return parse(yaml.safe_dump({"backends": {"one": one}, "models": models, **more}), {"KEY": "a-key-of-the-server"})


def fleet_of(*targets: dict[str, Any], **more: Any) -> tuple[Fleet, Server]:
    fleet = Fleet()
    fleet.apply(configured(*targets, **more))
    return fleet, fleet.servers["one"]


def serves(fleet: Fleet, *models: str | Model) -> list[News]:
    """A full probe found these models. Returns what it had to tell."""
    found = [Model(m) if isinstance(m, str) else m for m in models]
    news = fleet.servers["one"].learn(Discovery("ready", found))
    fleet.rename()
    return news


def only(fleet: Fleet, name: str) -> Deployment:
    [d] = fleet.resolve(name).deployments
    return d


OPEN: dict[str, Any] = {}
