"""`gateway explain` and `gateway caps`: asked of a running gateway, or of one that is built here from `--config`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.cli.progress import shown
from gateway.cli.terminal import coloured, columns
from gateway.report.refused import Refused
from gateway.report.table import table
from gateway.settings import load

if TYPE_CHECKING:
    from gateway.report.asking import Asking

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:4000"
"""Where a running gateway is looked for."""


def add(sub: Any) -> None:
    p = sub.add_parser("explain", help="where a request would go, and why not elsewhere")
    p.add_argument("body", help="a chat request of any dialect: a JSON file, or - for standard input")
    _whom(p)
    p.set_defaults(run=explain)
    p = sub.add_parser("caps", help="what each deployment can do, and how that is known")
    _whom(p)
    p.add_argument("--deep", action="store_true", help="send pictures, sounds and videos, and see what comes through")
    p.add_argument("--hosted", action="store_true", help="with --deep: ask hosted servers as well, which costs")
    p.set_defaults(run=caps)


def _whom(p: argparse.ArgumentParser) -> None:
    p.add_argument("--url", default=None, help=f"a running gateway (default {DEFAULT_URL})")
    p.add_argument("--config", "-c", type=Path, help="look at this configuration's servers instead")
    p.add_argument("--key-env", default="GATEWAY_API_KEY", help="the variable that holds the key")
    p.add_argument("--json", action="store_true", help="as JSON")


def explain(args: argparse.Namespace) -> int:
    try:
        text = sys.stdin.read() if args.body == "-" else Path(args.body).read_text(encoding="utf-8")
        body = json.loads(text)
    except OSError as e:
        raise Refused(f"can't read {args.body}: {e.strerror}") from None
    except ValueError as e:
        raise Refused(f"{args.body} is not JSON: {e}") from None
    status, out = _ask(args, lambda asking: asking.explain(body))
    if status != 200:
        what = out.get("error", {}).get("message") or f"the gateway answers {status}"
        # a model that is not there may be there tomorrow; the rest of 4xx is about what was sent
        raise Refused(f"{args.body}: {what}", code=1 if status == 404 or status >= 500 else 2, more=out)
    if args.json:
        print(json.dumps(out, indent=2))
    else:
        print(_told(out))
    return 0 if out.get("chosen") else 1


def _ask(args: argparse.Namespace, use: Callable[[Asking], Awaitable[T]]) -> T:
    """Raises Refused where there is no gateway to ask."""
    from gateway.report.asking import NoGateway

    what = f"gateway {args.command}: " + ("looking at the servers" if args.config else "waiting for the gateway")
    try:
        return asyncio.run(shown(what, _asked(args, use)))
    except NoGateway as e:
        beside = f"; or let -c FILE look at a configuration's servers: gateway {args.command} -c gateway.yaml"
        raise Refused(e.text, e.fix + ("" if e.wrong or args.config else beside), code=2 if e.wrong else 1) from None


async def _asked(args: argparse.Namespace, use: Callable[[Asking], Awaitable[T]]) -> T:
    from gateway.report.asking import built, running

    if args.config is not None:
        async with built(load(args.config, os.environ)) as (_, asking):
            return await use(asking)
    async with running(args.url or DEFAULT_URL, os.environ.get(args.key_env, "")) as asking:
        return await use(asking)


def caps(args: argparse.Namespace) -> int:
    from gateway.report.caps import rows, with_rates
    from gateway.report.caps import table as caps_table
    from gateway.report.deep import look

    async def use(asking: Asking) -> list[dict[str, Any]]:
        found = rows(await asking.cards())
        if args.deep:
            await look(found, asking.chat, hosted=args.hosted)
            with_rates(found, rows(await asking.cards()))
        return found

    found = _ask(args, use)
    if args.json:
        print(json.dumps({"deployments": found}, indent=2))
    else:
        print(caps_table(found, columns()))
    return 0 if found else 1


def _told(out: dict[str, Any]) -> str:
    lines = [f"model     {out['model']}", f"goes to   {out['chosen'] or 'nowhere'}"]
    if out["parts"]:
        lines.append(f"parts     {', '.join(f'{i}={p}' for i, p in enumerate(out['parts']))}")
    if out["dropped"]:
        lines.append(f"dropped   {', '.join(out['dropped'])}")
    if out["rules"]:
        lines.append(f"rules     {', '.join(out['rules'])}")
    if out["candidates"]:
        rows = [[c["target"], f"{c['state']}: {_why(c)}"] for c in out["candidates"]]
        lines += ["", table(["TARGET", "STATE"], rows, columns(), colour=coloured(sys.stdout))]
    if out.get("error"):
        error = out["error"].get("error", out["error"])
        lines.append(f"error     {error.get('code')}: {error.get('message')}")
    return "\n".join(lines)


def _why(candidate: dict[str, Any]) -> str:
    """What it lacks, and the flag that would give it."""
    lacks = [c["reason"] + (f" ({c['hint']})" if c.get("hint") else "") for c in candidate.get("lacks", [])]
    return "; ".join(lacks) or "fits"
