"""The command line. Exit codes: 0 done, 1 it did not work out, 2 the input or the configuration is wrong."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway import __version__
from gateway.settings import ConfigErrors, NotBuilt, Settings, defaults, load, refuse_unbuilt

if TYPE_CHECKING:
    from gateway.report.asking import Asking

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:4000"
"""Where a running gateway is looked for."""

SEARCH = ("gateway.yaml", "config/local.yaml")
"""Where a configuration is looked for when none is named."""


def run(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit code."""
    args = list(argv)
    if args[:1] == ["demo"]:
        from gateway.demo.run import main as demo

        return demo(args[1:])
    if args[:1] == ["worker"]:
        return _worker(args[1:])
    if args[:1] == ["connect"]:
        from gateway.connect.command import main as connect

        return connect(args[1:])
    parsed = _parser().parse_args(args)
    try:
        code: int = parsed.run(parsed)
    except ConfigErrors as e:
        print(e, file=sys.stderr)
        return 2
    except NotBuilt as e:
        print(f"gateway: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def _worker(args: list[str]) -> int:
    if args[:1] == ["llamacpp"]:
        from gateway.worker.llamacpp import main as llamacpp

        return llamacpp(args[1:])
    if args[:1] == ["keras"]:
        from gateway.worker.keras.serve import main as keras

        return keras(args[1:])
    print(
        "usage: gateway worker llamacpp --model FILE --port PORT [...]\n"
        "       gateway worker keras --preset NAME --port PORT [...]",
        file=sys.stderr,
    )
    return 0 if args[:1] in (["-h"], ["--help"]) else 2


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="gateway", description="A routing gateway for multimodal model fleets.")
    p.add_argument("--version", action="version", version=__version__)
    sub = p.add_subparsers(required=True, metavar="COMMAND")

    serve = sub.add_parser("serve", help="serve the fleet of a configuration")
    _config_arguments(serve)
    serve.add_argument("--port", type=int, help="listen at this port instead")
    serve.set_defaults(run=_serve)

    check = sub.add_parser("check", help="read a configuration and say everything that is wrong with it")
    _config_arguments(check)
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(run=_check)

    explain = sub.add_parser("explain", help="where a request would go, and why not elsewhere")
    explain.add_argument("body", help="a chat request of any dialect: a JSON file, or - for standard input")
    explain.add_argument("--url", default=None, help="a running gateway (default http://127.0.0.1:4000)")
    explain.add_argument("--config", "-c", type=Path, help="probe this configuration's servers instead")
    explain.add_argument("--key-env", default="GATEWAY_API_KEY", help="the variable that holds the key")
    explain.add_argument("--json", action="store_true", help="as JSON")
    explain.set_defaults(run=_explain)

    caps = sub.add_parser("caps", help="what each deployment can do, and how that is known")
    caps.add_argument("--url", default=None, help="a running gateway (default http://127.0.0.1:4000)")
    caps.add_argument("--config", "-c", type=Path, help="look at this configuration's servers instead")
    caps.add_argument("--key-env", default="GATEWAY_API_KEY", help="the variable that holds the key")
    caps.add_argument(
        "--deep", action="store_true", help="send pictures, sounds and videos, and see what comes through"
    )
    caps.add_argument("--hosted", action="store_true", help="with --deep: ask hosted servers as well, which costs")
    caps.add_argument("--json", action="store_true", help="as JSON")
    caps.set_defaults(run=_caps)

    doctor = sub.add_parser(
        "doctor",
        help="what is wrong with a configuration's servers, and what to change",
        epilog="exit codes: 0 nothing to change, 1 something is, 2 the configuration is wrong. Codes: docs/doctor.md",
    )
    _config_arguments(doctor)
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)

    sub.add_parser("connect", help="what a client needs to use a gateway (see gateway connect --help)")
    sub.add_parser("demo", help="an embedded fleet of real llama.cpp servers (see gateway demo --help)")
    sub.add_parser("worker", help="one model server in the foreground (see gateway worker --help)")
    return p


def _config_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", nargs="?", type=Path, help="the configuration (default: ./gateway.yaml if it is there)")
    p.add_argument("--config", "-c", type=Path, help="the same")


def _config(args: argparse.Namespace) -> tuple[Settings, Path | None]:
    path: Path | None = args.config or args.file
    if path is None and os.environ.get("GATEWAY_CONFIG"):
        path = Path(os.environ["GATEWAY_CONFIG"])
    if path is None:
        path = next((Path(p) for p in SEARCH if Path(p).is_file()), None)
    if path is None:
        return defaults(os.environ), None
    return load(path, os.environ), path


def _serve(args: argparse.Namespace) -> int:
    from gateway.app import serve
    from gateway.engine.state import StateUnusable
    from gateway.server.listener import PortTaken

    if args.port is not None:
        os.environ["PORT"] = str(args.port)
    settings, path = _config(args)
    if not settings.backends:
        print(
            "gateway: no backends are configured: write gateway.yaml (see config/gateway.yaml), or try `gateway demo`",
            file=sys.stderr,
        )
        return 2

    def ready(url: str) -> None:
        # what start-up made stays: the collector need not walk it with every generation
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        print(f"gateway: listening at {url}", file=sys.stderr, flush=True)

    try:
        return _run(serve(settings, config=path, ready=ready))
    except PortTaken as e:
        print(f"gateway: {e}; set another one with PORT= or `listen:`", file=sys.stderr)
        return 2
    except StateUnusable as e:
        print(f"gateway: {e}", file=sys.stderr)
        return 2


def _run(main: Any) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform; the standard loop does the same, a sixth slower
        return int(asyncio.run(main))
    return int(uvloop.run(main))


def _check(args: argparse.Namespace) -> int:
    try:
        settings, path = _config(args)
        refuse_unbuilt(settings)
    except (ConfigErrors, NotBuilt) as e:
        if args.json:
            print(json.dumps({"ok": False, "problems": _problems(e)}, indent=2))
            return 2
        raise
    if args.json:
        print(json.dumps({"ok": True, "backends": list(settings.backends), "models": list(settings.models)}, indent=2))
    else:
        backends = ", ".join(settings.backends) or "none"
        models = ", ".join(settings.models) or "none (every discovered model is served under its own name)"
        print(f"{path or 'no file: the defaults'}: ok\n  backends: {backends}\n  models: {models}")
    return 0


def _problems(error: ConfigErrors | NotBuilt) -> list[dict[str, Any]]:
    if isinstance(error, NotBuilt):
        return [{"path": name, "line": None, "message": "this version does not do it"} for name in error.names]
    return [{"path": p.path, "line": p.line, "message": p.message} for p in error.problems]


def _explain(args: argparse.Namespace) -> int:
    try:
        text = sys.stdin.read() if args.body == "-" else Path(args.body).read_text(encoding="utf-8")
        body = json.loads(text)
    except OSError as e:
        print(f"gateway explain: can't read {args.body}: {e.strerror}", file=sys.stderr)
        return 2
    except ValueError as e:
        print(f"gateway explain: {args.body} is not JSON: {e}", file=sys.stderr)
        return 2
    status, out = asyncio.run(_asked(args, lambda asking: asking.post("/v1/route/explain", body)))
    if status == 0:
        print(f"gateway explain: no gateway answers at {args.url or DEFAULT_URL}: {out}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(out, indent=2))
    elif status != 200:
        print(f"{status}: {out.get('error', {}).get('message', out)}")
    else:
        print(_told(out))
    return 0 if status == 200 and out.get("chosen") else 1


async def _asked(args: argparse.Namespace, use: Callable[[Asking], Awaitable[T]]) -> T:
    """What a gateway says: the running one, or one that is built here from `--config`."""
    from gateway.report.asking import built, running

    if args.config is not None:
        async with built(load(args.config, os.environ)) as (_, asking):
            return await use(asking)
    url = (args.url or DEFAULT_URL).rstrip("/")
    async with running(url, os.environ.get(args.key_env, "")) as asking:
        return await use(asking)


def _caps(args: argparse.Namespace) -> int:
    from gateway.report.asking import NoGateway
    from gateway.report.caps import rows, table, with_rates
    from gateway.report.deep import look

    async def use(asking: Asking) -> list[dict[str, Any]]:
        found = rows(await asking.cards())
        if args.deep:
            await look(found, asking.chat, hosted=args.hosted)
            with_rates(found, rows(await asking.cards()))
        return found

    try:
        found = asyncio.run(_asked(args, use))
    except NoGateway as e:
        print(f"gateway caps: {e}; `gateway caps -c FILE` looks at a configuration's servers itself", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"deployments": found}, indent=2))
    else:
        print(table(found, shutil.get_terminal_size((120, 24)).columns))
    return 0 if found else 1


def _doctor(args: argparse.Namespace) -> int:
    from gateway.report.asking import built
    from gateway.report.doctor import contained, examine, exit_code, told

    settings, _ = _config(args)
    if not settings.backends:
        print("gateway doctor: no backends are configured", file=sys.stderr)
        return 2

    async def examined() -> int:
        async with built(settings) as (gateway, _):
            inside = contained(env=os.environ)
            found = await examine(gateway.fleet, gateway.prober, gateway.upstream, in_container=inside)
            if args.json:
                print(json.dumps({"ok": not exit_code(found), "findings": [c.view() for c in found]}, indent=2))
            else:
                print(told(found, gateway.fleet))
            return exit_code(found)

    return asyncio.run(examined())


def _told(out: dict[str, Any]) -> str:
    lines = [f"model     {out['model']}", f"goes to   {out['chosen'] or 'nowhere'}"]
    if out["parts"]:
        lines.append(f"parts     {', '.join(f'{i}={p}' for i, p in enumerate(out['parts']))}")
    if out["dropped"]:
        lines.append(f"dropped   {', '.join(out['dropped'])}")
    if out["rules"]:
        lines.append(f"rules     {', '.join(out['rules'])}")
    for c in out["candidates"]:
        reasons = "; ".join(
            lack["reason"] + (f" ({lack['hint']})" if lack.get("hint") else "") for lack in c.get("lacks", [])
        )
        lines.append(f"  {c['target']:<32} {c['state']:<9} {reasons or 'fits'}")
    if out.get("error"):
        error = out["error"].get("error", out["error"])
        lines.append(f"error     {error.get('code')}: {error.get('message')}")
    return "\n".join(lines)
