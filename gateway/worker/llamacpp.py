"""One llama.cpp HTTP server in the foreground, from the wheel `xllamacpp`: `gateway worker llamacpp`.

The server runs in C++ threads of this process; Python only starts it. Nothing handles SIGTERM or SIGINT: their default
action ends the process at once, also while a large model is still being read, and there is no state to save.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.server.ports import holder, is_free

NO_WHEEL = "the llama.cpp server is missing; this adds it:  pip install 'gemma-gateway[embedded]'"
NO_GOMP = "llama.cpp needs the system's OpenMP library; this adds it:  sudo apt-get install -y libgomp1"
_PR_SET_PDEATHSIG = 1
_GGUF = b"GGUF"


def main(argv: Sequence[str]) -> int:
    """Serves until it is ended by a signal. 2 = cannot start, and standard error says in one line what to do."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if options.parent and not die_with(options.parent):
        return 0
    for flag, path in (("model", options.model), ("mmproj", options.mmproj)):
        if path is not None and not path.is_file():
            return _refuse(f"there is no file {path}: name a GGUF file that you have with --{flag}")
    if options.port and _is_taken(options.host, options.port):
        return _refuse(f"port {options.port} is in use by {holder(options.port)}: take another one with --port")
    try:
        import xllamacpp
    except ImportError as e:
        return _refuse(explain_import(e))
    for flag, path in (("model", options.model), ("mmproj", options.mmproj)):
        if path is not None and not is_gguf(path):
            return _refuse(f"{path} is no GGUF file (or can't be read): name one with --{flag}")
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, options))
    except (RuntimeError, ValueError, KeyError) as e:
        return _refuse(f"llama.cpp did not start, its own words stand above: {e} Is {options.model} whole?")
    _say(f"listening on {server.listening_address}")
    while True:
        signal.pause()


def is_gguf(path: Path) -> bool:
    """Does it begin as one? https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""
    try:
        with path.open("rb") as file:
            return file.read(len(_GGUF)) == _GGUF
    except OSError:
        return False


def _is_taken(host: str, port: int) -> bool:
    try:
        return not is_free(host, port)
    except OSError:  # a host that is none: llama.cpp says so
        return False


def explain_import(error: ImportError) -> str:
    """What to type when `import xllamacpp` failed: the wheel or, on Debian's slim images, libgomp is missing."""
    return NO_GOMP if "libgomp" in str(error) else NO_WHEEL


def die_with(parent: int) -> bool:
    """Ends this process when process `parent`, which started it, is gone, however that ended (`kill -9` too).
    False: it is gone already."""
    if sys.platform == "linux":
        # The kernel does it (prctl(2)); a parent that died before this call is caught by the check below.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    return os.getppid() == parent


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="gateway worker llamacpp", description="One llama.cpp HTTP server in the foreground."
    )
    p.add_argument("--model", type=Path, required=True, metavar="FILE", help="the model, a GGUF file")
    p.add_argument("--port", type=int, required=True, metavar="N")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    p.add_argument("--mmproj", type=Path, metavar="FILE", help="its projector for pictures or sound, a GGUF file")
    p.add_argument("--alias", metavar="NAME", help="the model's id for clients (default: the file's path)")
    p.add_argument("--ctx", type=int, default=4096, metavar="N", help="tokens of context, for all slots (%(default)s)")
    p.add_argument("--slots", type=int, default=2, metavar="N", help="requests at once (%(default)s)")
    p.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of computation; more than idle cores is far slower"
    )
    p.add_argument(
        "--batch",
        type=int,
        default=2048,
        metavar="N",
        help="prompt tokens from one word of progress to the next (%(default)s)",
    )
    p.add_argument("--cache-ram", type=int, default=8192, metavar="MIB", help="for earlier prompts (%(default)s)")
    p.add_argument("--embeddings", action="store_true", help="serve embeddings instead of chat")
    p.add_argument("--pooling", choices=["mean", "cls", "last"], help="of embeddings, where the model does not say")
    p.add_argument("--api-key-env", metavar="VAR", help="environment variable with the key that clients must send")
    p.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started it, is gone")
    return p


def _parameters(xllamacpp: Any, options: argparse.Namespace) -> Any:
    """llama.cpp's `common_params`. Raises KeyError if the key's variable is not set: never serve open by mistake."""
    p = xllamacpp.CommonParams()
    p.model.path = str(options.model)
    if options.mmproj:
        p.mmproj.path = str(options.mmproj)
    if options.alias:
        p.model_alias = {options.alias}
    if options.api_key_env:
        p.api_keys = [os.environ[options.api_key_env]]
    p.hostnames = [options.host]
    p.port = options.port
    p.n_ctx = options.ctx
    p.n_parallel = options.slots
    p.n_batch = options.batch
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = options.threads
    p.embedding = options.embeddings
    if options.pooling:
        p.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"]
    p.cache_ram_mib = options.cache_ram
    p.endpoint_metrics = True
    p.warmup = False  # a scripted model has nothing to warm; a large one is warmed by its first request
    p.ui = False
    p.cors_origins, p.cors_origins_explicit = "", True  # the gateway talks to it, no page in a browser
    p.offline = True
    p.verbosity = 2  # warnings and errors; one more and each request writes ten lines
    return p


def _refuse(why: str) -> int:
    _say(why)
    return 2


def _say(what: str) -> None:
    sys.stderr.write(f"gateway worker llamacpp: {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
