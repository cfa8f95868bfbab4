"""The command itself: `gateway compose` writes, `gateway compose key` makes the key, `gateway compose up` starts."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from gateway.compose import key
from gateway.compose.choice import SIZES, Choice, DoesNotFit, OnLlamaCpp, OnMac, OnVllm, Want, choose
from gateway.compose.document import Place, compose_text, config_text
from gateway.compose.hardware import APPLE_QUERY, NVIDIA_QUERY, Hardware, read
from gateway.compose.up import CannotStart, start

OUTPUT = Path("gateway-compose.yml")

Run = Callable[[Sequence[str]], str | None]
"""Runs a program: what it prints, or None where there is no such program or it fails."""


def main(argv: Sequence[str]) -> int:
    """0 done, 2 the input is wrong or this machine can't do it: one line says what to do, and nothing is left."""
    args = list(argv)
    if args[:1] == ["key"]:
        return _key(_key_parser().parse_args(args[1:]).file)
    if args[:1] == ["up"]:
        options = _up_parser().parse_args(args[1:])
        try:
            return start(options.file, options.profile)
        except CannotStart as e:
            return _refuse(str(e), "gateway compose up")
    return _write(_parser().parse_args(args))


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
        return _refuse(str(e))
    there = [str(p) for p in (output, config) if p.exists()]
    if there and not options.force:
        return _refuse(f"there is {' and '.join(there)} already: name another file with -o, or add --force")
    folder = output.parent
    monitoring = (folder / "config/prometheus").is_dir() and (folder / "config/grafana").is_dir()
    place = Place((folder / "Dockerfile").is_file(), monitoring)
    told = describe(hardware, choice)
    header = "".join(f"# {line}\n" for line in ["Written by `gateway compose`:", *told])
    try:
        _put({output: compose_text(choice, place, config.name, header), config: config_text(choice, header)})
    except OSError as e:
        return _refuse(f"can't write {e.filename or output}: {e.strerror or e}")
    _say(f"wrote {output} and {config}")
    for line in told:
        _say(f"  {line}")
    if not place.sources:
        _say("  the gateway's image is not built from here: docker build -t gemma-gateway:local PATH-OF-ITS-SOURCES")
    if not monitoring:
        _say("  no Prometheus and no Grafana: there is no config/prometheus and config/grafana beside it")
    if isinstance(choice, OnMac):
        _say(f"start the model server first:  pip install mlx-vlm && {choice.command()}")
    _say(f"start it:  gateway compose up -f {output}")
    return 0


def describe(hardware: Hardware, choice: Choice) -> list[str]:
    """What was found, what will run, and what it will take."""
    gpus = f"{len(hardware.gpus)} x {hardware.gpus[0].name}" if hardware.gpus else ""
    memory = f"{hardware.memory:.0f} GiB of memory" if hardware.memory else "memory unknown"
    lines = [f"found: {hardware.apple or gpus or 'no GPU'}, {memory}"]
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


def _key(file: Path) -> int:
    try:
        made = key.make(file)
    except OSError as e:
        return _refuse(f"can't write {file}: {e.strerror or e}", "gateway compose key")
    _say(f"gateway compose key: {'a new key is' if made else 'the key stays'} in {file}")
    return 0


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="gateway compose",
        description="Writes a compose file for the hardware of this machine, and the gateway's configuration for it.",
        epilog="`gateway compose up` starts one; `gateway compose key FILE` makes a key. Exit code 2: not possible.",
    )
    p.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="FILE", help="(%(default)s)")
    p.add_argument("--for", dest="want", choices=get_args(Want), default="auto", help="instead of what is found")
    p.add_argument("--model", choices=SIZES, help="instead of the largest that fits")
    p.add_argument("--force", action="store_true", help="write over files that are there")
    return p


def _key_parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="gateway compose key", description="Makes a key, unless there is one.")
    p.add_argument("file", type=Path, help="where to keep it; only its owner will be able to read it")
    return p


def _up_parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="gateway compose up",
        description="Starts a compose file in the background: all of it, or nothing and one line that says why.",
    )
    p.add_argument("-f", "--file", type=Path, help=f"(default: {OUTPUT} if it is there, else docker-compose.yml)")
    p.add_argument("--profile", help="of the services that have one (default: COMPOSE_PROFILES)")
    return p


def _refuse(why: str, command: str = "gateway compose") -> int:
    sys.stderr.write(f"{command}: {why}\n")
    return 2


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
