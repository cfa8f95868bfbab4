"""The command `gateway worker keras`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn

from gateway.server.ports import holder
from gateway.worker.keras.app import About, App
from gateway.worker.keras.engine import Engine
from gateway.worker.keras.model import CannotLoad, load
from gateway.worker.llamacpp import die_with

SIZES = ("2b", "4b", "26b_a4b", "31b")
PRESETS = tuple(f"gemma4_instruct_{size}" for size in SIZES)
DTYPES = ("bfloat16", "float16", "float32")
INSTALL = "pip install 'gemma-gateway[keras]' && pip install --no-deps keras-hub==0.32.0"


def main(argv: Sequence[str]) -> int:
    """Serves until it is ended by a signal. 2 = cannot start, and standard error says in one line what to do."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if options.parent and not die_with(options.parent):
        return 0
    wrong = options.preset and refused(options.preset)
    if wrong:
        return _refuse(wrong)
    if options.from_dir and not (options.from_dir / "config.json").is_file():
        return _refuse(f"no preset in {options.from_dir}: a folder is meant that keras-hub's save_to_preset wrote")
    key = None
    if options.api_key_env:
        key = os.environ.get(options.api_key_env)
        if not key:
            return _refuse(f"{options.api_key_env} is not set: never serve open by mistake")
    source = options.preset or str(options.from_dir)
    about = About(options.alias or Path(source).name, source, options.dtype, key)
    try:
        listening = socket.create_server((options.host, options.port), backlog=128)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            return _refuse(f"port {options.port} is in use by {holder(options.port)}: take another one with --port")
        return _refuse(f"can't listen on {options.host}:{options.port}: {e.strerror}")
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    app = App(about)
    threading.Thread(target=_load, args=(app, source, options), name="load", daemon=True).start()
    with listening:
        asyncio.run(_server(app).serve(sockets=[listening]))
    return 0


def refused(preset: str) -> str | None:
    """Why this preset is not served; None if it is."""
    if preset in PRESETS:
        return None
    choices = f"choices: {', '.join(PRESETS)}"
    if preset.endswith("_assistant"):
        return f"{preset} only drafts for another model and can't answer; {choices}"
    if preset.removeprefix("gemma4_") in SIZES:
        return f"{preset} is a base model, which has no chat: use {preset.replace('gemma4_', 'gemma4_instruct_')}"
    if "12b" in preset.lower():
        return f"keras-hub has no Gemma 4 12B; {choices}"
    return f"unknown preset {preset!r}; {choices}"


def _load(app: App, source: str, options: argparse.Namespace) -> None:
    """In a thread, while /health says that it loads. What can't be loaded ends the process."""
    try:
        model = load(source, options.dtype, options.max_context, options.threads)
    except ImportError as e:
        _say(f"{e.name or 'a package'} is missing; this adds it:  {INSTALL}")
        os._exit(2)
    except CannotLoad as e:
        _say(str(e))
        os._exit(2)
    except BaseException as e:  # noqa: BLE001  # a server that never gets ready helps nobody
        _say(f"{source} can't be loaded: {type(e).__name__}: {e}")
        os._exit(1)
    app.engine = Engine(model, options.queue + 1)
    _say(f"listening on http://{options.host}:{options.port}")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: a signal ends the process at once, there is no state to save."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: App) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            interface="asgi3",
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
    )


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="gateway worker keras", description="Gemma 4 in keras-hub behind OpenAI's chat, in the foreground."
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--preset", metavar="NAME", help=f"a preset of keras-hub: {', '.join(PRESETS)}")
    what.add_argument(
        "--from-dir", type=Path, metavar="DIR", help="an instruction-tuned Gemma 4 that save_to_preset wrote"
    )
    p.add_argument("--port", type=int, required=True, metavar="N")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    p.add_argument("--alias", metavar="NAME", help="the model's id for clients (default: the preset's name)")
    p.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of weights and computation (%(default)s)")
    p.add_argument(
        "--max-context", type=_positive, default=8192, metavar="N", help="tokens of prompt and answer (%(default)s)"
    )
    p.add_argument(
        "--queue", type=_natural, default=8, metavar="N", help="requests that may wait for the one (%(default)s)"
    )
    p.add_argument("--threads", type=_positive, metavar="N", help="of computation on the CPU (default: torch's own)")
    p.add_argument("--api-key-env", metavar="VAR", help="environment variable with the key that clients must send")
    p.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started it, is gone")
    return p


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _refuse(why: str) -> int:
    _say(why)
    return 2


def _say(what: str) -> None:
    sys.stderr.write(f"gateway worker keras: {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
