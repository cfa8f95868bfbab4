"""`gateway compose up`: looks first at what usually goes wrong, then starts all of it or nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from gateway.server.ports import holder, is_free

FILES = (Path("gateway-compose.yml"), Path("docker-compose.yml"))
"""Where a compose file is looked for when none is named."""

STDERR = 2
"""The descriptor."""
OWN_IMAGE = "gemma-gateway:local"
BUILD = f"docker build -t {OWN_IMAGE} PATH-OF-ITS-SOURCES"
SECRETS = "secrets:/secrets"
"""The volume with the gateway's key, as a service names it."""

_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")


class CannotStart(Exception):
    """One line: what is wrong, and what to type."""


@dataclass(slots=True, frozen=True)
class Engine:
    """`compose` = the words that a compose command starts with, `images` = the program that has the images."""

    compose: tuple[str, ...]
    images: str


@dataclass(slots=True, frozen=True)
class Started:
    """What runs now: `services` by name, `published` = their URLs on this machine, `key` = the command that prints the
    gateway's key ("" = no service has one), `down` = the one that ends it."""

    services: tuple[str, ...]
    published: dict[str, str]
    key: str
    down: str


def start(file: Path | None, profile: str | None, out: TextIO) -> Started:
    """Starts the services of the file in the background, and tells `out` what goes on. Raises CannotStart, and then
    nothing runs that did not run before."""
    path = file or next((p for p in FILES if p.is_file()), FILES[-1])
    env = {**_dotenv(path.parent / ".env"), **os.environ}
    if profile is not None:
        env["COMPOSE_PROFILES"] = profile
    document = _document(path)
    services = active(document, env.get("COMPOSE_PROFILES", ""))
    if not services:
        asked, there = env.get("COMPOSE_PROFILES") or "(none)", ", ".join(profiles(document)) or "none"
        raise CannotStart(f"{path} has no service for the profile {asked} (choices: {there}): set it with --profile")
    engine = _engine()
    compose = [*engine.compose, "-f", str(path)]
    running = bool(_output([*compose, "ps", "-q"], env))
    if not running:
        _check_ports(services, env)
    _check_gpu(services, profiles(document))
    _check_images(services, engine, env, out)
    _say("starting; the first time, what is built from here takes some minutes", out)
    up = [*compose, "up", "-d"]
    to = None if out is sys.stdout else STDERR  # the engine has much to tell; standard output may be a program's
    if subprocess.run(up, env=env, stdin=subprocess.DEVNULL, stdout=to, check=False).returncode == 0:
        started = _started(services, env, " ".join(compose))
        for name, url in started.published.items():
            _say(f"{name}: {url}", out)
        if started.key:
            _say(f"its key:  {started.key}", out)
        _say(f"what runs:  {' '.join(compose)} ps   its end:  {started.down}", out)
        return started
    if not running:
        subprocess.run([*compose, "down"], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    raise CannotStart(f"it did not come up, and was taken down again: what stands above says why ({path})")


def _started(services: Mapping[str, Mapping[str, Any]], env: Mapping[str, str], compose: str) -> Started:
    published = {}
    key = ""
    for name, service in services.items():
        for port in service.get("ports") or ():
            *_, at, _ = filled(str(port), env).split(":")
            published[name] = f"http://127.0.0.1:{at}"
        if service.get("ports") and f"{SECRETS}:ro" in (service.get("volumes") or ()):
            key = f"{compose} exec -T {name} cat /secrets/api-key"
    return Started(tuple(services), published, key, f"{compose} down")


def active(document: Mapping[str, Any], profiles: str) -> dict[str, dict[str, Any]]:
    """The services that start with these profiles (with commas); none if that leaves out all that have one."""
    chosen = {p.strip() for p in profiles.split(",") if p.strip()}
    services: dict[str, dict[str, Any]] = document.get("services") or {}
    with_profile = {n for n, s in services.items() if s.get("profiles")}
    found = {n: s for n, s in services.items() if not s.get("profiles") or chosen & {*s["profiles"], "*"}}
    return found if not with_profile or with_profile & set(found) else {}


def profiles(document: Mapping[str, Any]) -> list[str]:
    """All that the services name, in the order of the file."""
    return list(dict.fromkeys(p for s in (document.get("services") or {}).values() for p in s.get("profiles") or ()))


def filled(text: str, env: Mapping[str, str]) -> str:
    """A compose file's `${NAME}` and `${NAME:-default}` replaced."""
    return _VARIABLE.sub(lambda m: env.get(m[1]) or m[2] or "", text)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise CannotStart(f"can't read {path}: {e.strerror}; `gateway compose` writes one for this machine") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise CannotStart(f"{path} is no YAML: {str(e).splitlines()[0]}") from e
    if not isinstance(document, dict):
        raise CannotStart(f"{path} is no compose file; `gateway compose` writes one for this machine")
    return document


def _dotenv(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _engine() -> Engine:
    if shutil.which("docker") and _output(["docker", "compose", "version"], os.environ) is not None:
        if _output(["docker", "info"], os.environ) is None:
            raise CannotStart("the Docker engine does not answer: start it (Docker Desktop, or systemctl start docker)")
        return Engine(("docker", "compose"), "docker")
    if shutil.which("podman-compose") and shutil.which("podman"):
        return Engine(("podman-compose",), "podman")
    raise CannotStart("there is no `docker compose` here: install Docker, or podman and podman-compose")


def _check_ports(services: Mapping[str, Mapping[str, Any]], env: Mapping[str, str]) -> None:
    for service in services.values():
        for published in service.get("ports") or ():
            *host, port, _ = filled(str(published), env).split(":")
            address = host[0] if host else "0.0.0.0"
            if port.isdigit() and not is_free(address, int(port)):
                names = _VARIABLE.findall(str(published))
                fix = f"{names[0][0]}={int(port) + 1} gateway compose up" if names else "stop what listens there"
                raise CannotStart(f"port {port} of {address} is taken by {holder(int(port))}: {fix}")


def _check_gpu(services: Mapping[str, Mapping[str, Any]], others: Sequence[str]) -> None:
    """`others`: the profiles that the file has."""
    fix = (
        "take the profile of another server, such as --profile cpu" if "cpu" in others else "gateway compose --for cpu"
    )
    for name, service in services.items():
        reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices") or ()
        if (
            any("gpu" in d.get("capabilities", ()) for d in reserved)
            and _output(["nvidia-smi", "-L"], os.environ) is None
        ):
            raise CannotStart(f"{name} needs an NVIDIA GPU and nvidia-smi shows none: {fix}")


def _check_images(
    services: Mapping[str, Mapping[str, Any]], engine: Engine, env: Mapping[str, str], out: TextIO
) -> None:
    """Gets those that are not built from here and not there yet."""
    images = {filled(s["image"], env): s["image"] for s in services.values() if "image" in s and "build" not in s}
    for image, written in images.items():
        if _output([engine.images, "image", "inspect", image], env) is not None:
            continue
        _say(f"getting {image}", out)
        got = subprocess.run(
            [engine.images, "pull", "--quiet", image],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if got.returncode != 0:
            why = (got.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
            names = _VARIABLE.findall(written)
            fix = f"; another one: {names[0][0]}=IMAGE gateway compose up" if names else ""
            if image == OWN_IMAGE:  # which no registry has
                fix = f"; build it: {BUILD}"
            raise CannotStart(f"the image {image} can't be had ({why}){fix}")


def _output(argv: Sequence[str], env: Mapping[str, str]) -> str | None:
    """What a program prints; None where there is no such program or it fails."""
    try:
        done = subprocess.run(
            argv, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _say(line: str, out: TextIO) -> None:
    out.write(f"gateway compose up: {line}\n")
    out.flush()
