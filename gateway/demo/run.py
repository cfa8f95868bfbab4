"""`gateway demo`: the gateway in this process, in front of the embedded fleet."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx2

from gateway.demo.calls import DemoCall, demo_calls, write_bodies
from gateway.demo.fleet import Fleet, plan
from gateway.demo.paths import cache_dir
from gateway.demo.server import main as serve_one
from gateway.demo.server import missing
from gateway.demo.supervisor import ChildFailed, Supervisor
from gateway.demo.traffic import main as send_traffic
from gateway.demo.traffic import text_of
from gateway.report.refused import Arguments, Refused, answered, port_number
from gateway.server.ports import holder, is_free, next_free

HOST, PORT = "127.0.0.1", 4000
HEADERS = ("x-gateway-target", "x-gateway-parts", "x-gateway-dropped", "x-request-id")


class Serve(Protocol):
    """Runs the gateway with a configuration text until `stop` is set or a signal comes; returns an exit code."""

    def __call__(self, config: str, *, ready: Callable[[str], None], stop: asyncio.Event) -> Awaitable[int]: ...


def main(argv: Sequence[str]) -> int:
    """0 = stopped as asked (`--once`: and every answer was as expected), 1 = something failed while running,
    2 = could not start, 130 = Ctrl+C before it was up. `server` and `traffic` are its pieces, for containers."""
    if argv[:1] == ["server"]:
        return serve_one(argv[1:])
    if argv[:1] == ["traffic"]:
        return send_traffic(argv[1:])
    return answered("demo", argv, lambda: _demo(argv), lines=True)


def _demo(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    port: int = options.port
    if options.json and not options.once:
        raise Refused("--json goes with --once")
    absent = missing()
    if absent:
        raise Refused(absent)
    cache = cache_dir(os.environ)
    try:
        if not options.config_only and not is_free(HOST, port):
            raise Refused(taken(port))
        fleet = plan(cache)
        if options.config_only:
            _say(fleet.config(f"{HOST}:{port}"))
            return 0
        return asyncio.run(
            demo(fleet, port, cache / f"demo-{port}", serve_gateway, once=options.once, as_json=options.json)
        )
    except ChildFailed as e:
        raise Refused(e.report().rstrip()) from None
    except (ValueError, OSError) as e:
        raise Refused(str(e)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def taken(port: int) -> str:
    """Names who has the port, and what to type instead."""
    other = next_free(HOST, port)
    advice = f"; this takes another one:  gateway demo --port {other}   (PORT={other} make demo)" if other else ""
    return f"port {port} is taken by {holder(port)}{advice}"


async def serve_gateway(config: str, *, ready: Callable[[str], None], stop: asyncio.Event) -> int:
    """The gateway itself. The environment's overrides are left out: the configuration says all. Raises OSError if
    somebody took the port since it was looked at."""
    from gateway.app import serve
    from gateway.server.listener import PortTaken
    from gateway.settings import parse

    try:
        return await serve(parse(config, {}), env={}, ready=ready, stop=stop)
    except PortTaken as e:
        raise OSError(str(e)) from e


async def demo(fleet: Fleet, port: int, folder: Path, serve: Serve, *, once: bool, as_json: bool = False) -> int:
    """Starts the fleet and then the gateway, tells what to try, and stops all of it at the end. Raises ChildFailed.

    `folder` gets the servers' logs and the bodies of the calls. `once` = make the calls, print the answers, and stop.
    """
    say = _aside if as_json else _say
    for line in fleet.missing:
        say(f"Note: {line}\n")
    calls = demo_calls(fleet)
    write_bodies(calls, folder)
    _end_on_sigterm()
    async with Supervisor(folder / "logs", notify=lambda line: say(f"demo: {line}\n")) as supervisor:
        say(f"Starting {len(fleet.servers)} llama.cpp servers: {', '.join(s.name for s in fleet.servers)}\n")
        await supervisor.start_all([s.child() for s in fleet.servers])
        up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        serving = asyncio.ensure_future(serve(fleet.config(f"{HOST}:{port}"), ready=up.set_result, stop=stop))
        try:
            either: list[asyncio.Future[Any]] = [up, serving]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return serving.result() or 1
            if once:
                failures = await make_calls(calls, up.result(), as_json=as_json)
                stop.set()
                return await serving or (1 if failures else 0)
            _say(invitation(calls, up.result(), folder))
            return await serving
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def invitation(calls: Sequence[DemoCall], url: str, folder: Path) -> str:
    """What to paste, and what each will show."""
    lines = [f"\nThe gateway listens on {url}   (Ctrl+C stops it and its servers; logs in {folder / 'logs'})\n"]
    for number, call in enumerate(calls, 1):
        shows = f"x-gateway-target: {' or '.join(call.targets)}/...   x-gateway-parts: {call.parts}"
        lines += [f"{number}. {call.title}", f"   shows  {shows}", "", call.curl(url, folder), ""]
    lines.append(f"Any OpenAI client:  base_url={url}/v1  model=auto  (any API key)\n")
    return "\n".join(lines)


async def make_calls(calls: Sequence[DemoCall], url: str, *, as_json: bool = False) -> int:
    """Sends them one after the other and prints what comes back. Returns how many answers were not as expected."""
    failures = 0
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=120.0) as http:
        for call in calls:
            answer = await _send(http, call)
            text = text_of(answer)
            problem = call.problem(answer.status_code, answer.headers, text)
            failures += problem is not None
            if as_json:
                headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
                told = {"call": call.name, "status": answer.status_code, "headers": headers, "text": text}
                _say(json.dumps({**told, "ok": problem is None, "problem": problem}) + "\n")
                continue
            shown = [f"   {name}: {answer.headers[name]}" for name in HEADERS if name in answer.headers]
            verdict = "as expected" if problem is None else f"NOT as expected: {problem}"
            _say("\n".join([f"\n{call.title}", *shown, f"   {text.strip() or answer.text}", f"   {verdict}", ""]))
    if not as_json and not any(call.name == "video" for call in calls):
        _say("\nThe video call is skipped: there is no ffmpeg\n")
    return failures


async def _send(http: httpx2.AsyncClient, call: DemoCall) -> httpx2.Response:
    """503 = the gateway is up and has not looked at its servers yet: asked again for some seconds."""
    for _ in range(50):
        answer = await http.post("/v1/chat/completions", json=dict(call.body))
        if answer.status_code != 503:
            break
        await asyncio.sleep(0.2)
    return answer


def _end_on_sigterm() -> None:
    """Until the gateway runs and minds its signals itself, SIGTERM ends the start-up in order, as Ctrl+C does."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _parser() -> argparse.ArgumentParser:
    p = Arguments(
        prog="gateway demo",
        description="The gateway with llama.cpp servers of its own.",
        epilog="`gateway demo server` is one of the servers alone, `gateway demo traffic` the calls again and again.",
    )
    port = os.environ.get("PORT") or PORT
    p.add_argument("--port", type=port_number, default=port, metavar="N", help=f"of the gateway (PORT, else {PORT})")
    p.add_argument("--once", action="store_true", help="make the calls, print the answers, and stop")
    p.add_argument("--json", action="store_true", help="with --once: one JSON line for each call")
    p.add_argument("--config-only", action="store_true", help="print the configuration and start nothing")
    return p


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _aside(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
