"""`gateway demo server NAME`: one server of the embedded fleet in the foreground, for a container of its own."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.demo.fleet import ADD_TEXT_MODEL, TEXT_MODEL, Server, find_text_model, fixture_server
from gateway.demo.paths import cache_dir

ADD_EMBEDDED = "pip install 'gemma-gateway[embedded]'"


def main(argv: Sequence[str]) -> int:
    """The server takes this process's place. 2 = it could not start, and standard error says in one line what to do."""
    options = _parser().parse_args(argv)
    absent = missing()
    if absent:
        return _refuse(absent)
    try:
        server = _server(options.name, cache_dir(os.environ), options.port)
    except (ValueError, OSError) as e:
        return _refuse(str(e))
    os.execv(sys.executable, [sys.executable, *server.command(), "--host", options.host])
    raise AssertionError("unreachable: execv does not return")


def missing() -> str | None:
    """What the embedded fleet needs and is not installed, with what to type; None if all is there."""
    absent = [name for name in ("xllamacpp", "gguf", "numpy") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} missing; this adds what the demo needs:  {ADD_EMBEDDED}" if absent else None


def _server(name: str, cache: Path, port: int) -> Server:
    """Raises ValueError where there is no text model."""
    if name == "text":
        model = find_text_model(cache)
        if model is None:
            raise ValueError(f"no text model; this adds {TEXT_MODEL}:  {ADD_TEXT_MODEL}")
        return Server("text", model, TEXT_MODEL, port)
    return fixture_server("ears" if name == "ears" else "eyes", cache, port)


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="gateway demo server", description="One server of the embedded fleet.")
    p.add_argument("name", choices=["text", "ears", "eyes"], help="a small language model, or what hears, or sees")
    p.add_argument("--port", type=int, default=8080, metavar="N", help="(%(default)s)")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    return p


def _refuse(why: str) -> int:
    sys.stderr.write(f"gateway demo server: {why}\n")
    return 2
