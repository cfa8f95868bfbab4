"""The command itself: `gateway compose` writes, `gateway compose key` makes the key, `gateway compose up` starts."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from gateway.compose import key
from gateway.compose.choice import SIZES, Choice, DoesNotFit, OnLlamaCpp, OnMac, OnVllm, Want, choose
from gateway.compose.document import Place, compose_text, config_text
from gateway.compose.hardware import APPLE_QUERY, NVIDIA_QUERY, Hardware, read
from gateway.compose.up import BUILD, CannotStart, start
from gateway.report.refused import Arguments, Refused, answered

OUTPUT = Path("gateway-compose.yml")

Run = Callable[[Sequence[str]], str | None]
"""Runs a program: what it prints, or None where there is no such program or it fails."""


def main(argv: Sequence[str]) -> int:
    """0 done, 2 the input is wrong or this machine can't do it: one line says what to do, and nothing is left.
    With --json what was written, or what runs, is one JSON object on standard output."""
    args = list(argv)
    if args[:1] == ["key"]:
        return answered("compose key", args, lambda: _key(_key_parser().parse_args(args[1:])))
    if args[:1] == ["up"]:
        return answered("compose up", args, lambda: _up(_up_parser().parse_args(args[1:])))
    return answered("compose", args, lambda: _write(_parser().parse_args(args)))


def printed(argv: Sequence[str]) -> str | None:
    """What a program prints; None where there is no such program or it fails."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def found(run: Run, meminfo: Path = Path("/proc/meminfo")) -> Hardware:
    """Raises ValueError for tools that say what can't be understood."""
    memory = meminfo.read_text(encoding="ascii") if meminfo.is_file() else None
    return read(run(NVIDIA_QUERY), run(APPLE_QUERY), memory)


def _write(options: argparse.Namespace) -> int:
    output: Path = options.output
    config = output.with_name(f"{output.stem}.config.yaml")
    try:
        hardware = found(printed)
        choice = choose(hardware, options.want, options.model)
    except (DoesNotFit, ValueError) as e:
        raise Refused(str(e)) from None
    there = [str(p) for p in (output, config) if p.exists()]
    if there and not options.force:
        raise Refused(f"there is {' and '.join(there)} already", "name another file with -o, or add --force")
    folder = output.parent
    if not folder.is_dir():
        raise Refused(f"can't write {output}: there is no folder {folder}", f"mkdir -p {folder}")
    monitoring = (folder / "config/prometheus").is_dir() and (folder / "config/grafana").is_dir()
    place = Place((folder / "Dockerfile").is_file(), monitoring)
    told = describe(hardware, choice)
    header = "".join(f"# {line}\n" for line in ["Written by `gateway compose`:", *told])
    try:
        _put({output: compose_text(choice, place, config.name, header), config: config_text(choice, header)})
    except OSError as e:
        raise Refused(f"can't write {output}: {e.strerror or e}", "name another file with -o") from None
    first = _first(choice, place)
    then = f"gateway compose up -f {output}"
    if options.json:
        view = {"files": [str(output), str(config)], "about": told, "monitoring": monitoring, "first": first}
        _say(json.dumps({"ok": True, **view, "start": then}, indent=2))
        return 0
    _say(f"wrote {output} and {config}")
    for line in told:
        _say(f"  {line}")
    if not monitoring:
        _say("  no Prometheus and no Grafana: there is no config/prometheus and config/grafana beside it")
    for why, line in first.items():
        _say(f"{why}:  {line}")
    _say(f"start it:  {then}")
    return 0


def _first(choice: Choice, place: Place) -> dict[str, str]:
    """What has to be typed before it can start, by what for."""
    first = {}
    if not place.sources:
        first["build the gateway's image first"] = BUILD
    if isinstance(choice, OnMac):
        first["start the model server first"] = f"pip install mlx-vlm && {choice.command()}"
    return first


def describe(hardware: Hardware, choice: Choice) -> list[str]:
    """What was found, what will run, and what it will take."""
    gpus = f"{len(hardware.gpus)} x {hardware.gpus[0].name}" if hardware.gpus else ""
    memory = f"{hardware.memory:.0f} GiB of memory" if hardware.memory else "memory unknown"
    beside = "; the machine has " if gpus and hardware.memory else ", "
    lines = [f"found: {hardware.apple or gpus or 'no GPU'}{beside}{memory}"]
    if hardware.others:
        lines.append(f"left out: {', '.join(hardware.others)} (a model is split over equal GPUs only)")
    return [*lines, f"runs: {_model(choice)}", f"takes: {choice.memory()}"]


def _model(choice: Choice) -> str:
    match choice:
        case OnVllm():
            ears = f"; {choice.ears.model} on llama.cpp (CPU) hears for it" if choice.ears else ""
            return f"{choice.checkpoint.model} on vLLM, --tensor-parallel-size {choice.parallel}{ears}"
        case OnLlamaCpp():
            return f"{choice.gguf.model} on llama.cpp, {'CPU' if choice.gpu is None else 'GPU'}"
        case OnMac():
            return f"{choice.model} on mlx-vlm, beside the containers"


def _put(texts: dict[Path, str]) -> None:
    """All of them or none: what can't be written whole is not there."""
    beside = {path: path.with_name(f".{path.name}.new") for path in texts}
    try:
        for path, text in texts.items():
            beside[path].write_text(text, encoding="utf-8")
        for path, new in beside.items():
            new.replace(path)
    finally:
        for new in beside.values():
            new.unlink(missing_ok=True)


def _key(options: argparse.Namespace) -> int:
    file: Path = options.file
    if not file.parent.is_dir():
        raise Refused(f"can't write {file}: there is no folder {file.parent}", f"mkdir -p {file.parent}")
    try:
        made = key.make(file)
    except OSError as e:
        raise Refused(f"can't write {file}: {e.strerror or e}", "name another file") from None
    if options.json:
        _say(json.dumps({"ok": True, "file": str(file), "made": made}, indent=2))
    else:
        _say(f"gateway compose key: {'a new key is' if made else 'the key stays'} in {file}")
    return 0


def _up(options: argparse.Namespace) -> int:
    try:
        started = start(options.file, options.profile, sys.stderr if options.json else sys.stdout)
    except CannotStart as e:
        raise Refused(str(e)) from None
    if options.json:
        _say(json.dumps({"ok": True, **asdict(started)}, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    p = Arguments(
        prog="gateway compose",
        description="Writes a compose file for the hardware of this machine, and the gateway's configuration for it.",
        epilog="`gateway compose up` starts one; `gateway compose key FILE` makes a key. Exit code 2: not possible.",
    )
    p.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    p.add_argument("--for", dest="want", choices=get_args(Want), default="auto", help="instead of what is found")
    p.add_argument("--model", choices=SIZES, help="instead of the largest that fits")
    p.add_argument("--force", action="store_true", help="write over files that are there")
    _json(p)
    return p


def _key_parser() -> argparse.ArgumentParser:
    p = Arguments(prog="gateway compose key", description="Makes a key, unless there is one.")
    p.add_argument("file", type=Path, help="where to keep it; only its owner will be able to read it")
    _json(p)
    return p


def _up_parser() -> argparse.ArgumentParser:
    p = Arguments(
        prog="gateway compose up",
        description="Starts a compose file in the background: all of it, or nothing and one line that says why.",
    )
    p.add_argument("-f", "--file", type=Path, help=f"(default: {OUTPUT} if it is there, else docker-compose.yml)")
    p.add_argument("--profile", help="of the services that have one (default: COMPOSE_PROFILES)")
    _json(p)
    return p


def _json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="as JSON")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
