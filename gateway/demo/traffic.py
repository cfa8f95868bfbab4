"""`gateway demo traffic`: one call per modality, again and again, so that dashboards show life."""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx2

from gateway.demo.calls import DemoCall, picture_call, sound_call, text_call, video_call
from gateway.report.videos import VIDEOS

EVERY = 30.0
"""Seconds from one round to the next."""
PATIENCE = 120.0
"""Seconds for one answer."""


def main(argv: Sequence[str]) -> int:
    """Until it is stopped, or `--rounds` are done: 0 = all answers of the last round were as expected, 1 = some were
    not. 2 = it could not start."""
    options = _parser().parse_args(argv)
    try:
        key = options.key_file.read_text(encoding="utf-8").strip() if options.key_file else ""
    except OSError as e:
        sys.stderr.write(f"gateway demo traffic: can't read {options.key_file}: {e.strerror}\n")
        return 2
    try:
        return asyncio.run(send(options.url.rstrip("/"), key, every=options.every, rounds=options.rounds))
    except KeyboardInterrupt:
        return 130


def traffic_calls() -> list[DemoCall]:
    """Text, a picture, a sound, a video. The video goes as frames: a container of the fleet has no ffmpeg."""
    mp4 = base64.b64decode(VIDEOS["4"])
    return [
        text_call(True),
        picture_call(),
        sound_call(),
        video_call(mp4, "An MP4, as frames, to the server that sees", "0=text,1=video>frames:8"),
    ]


async def send(
    url: str,
    key: str,
    *,
    every: float = EVERY,
    rounds: int | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Rounds of calls, one line for each answer. An answer that is not as expected is told, and the next call made."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    calls, done, failures = traffic_calls(), 0, 0
    async with httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE) as http:
        while rounds is None or done < rounds:
            if done:
                await sleep(every)
            lines = [await _line(http, call, clock) for call in calls]
            failures = sum(not good for good in lines)
            done += 1
    return 1 if failures else 0


async def _line(http: httpx2.AsyncClient, call: DemoCall, clock: Callable[[], float]) -> bool:
    """One call, and a line about it; whether it was as expected."""
    began = clock()
    try:
        answer = await http.post("/v1/chat/completions", json=dict(call.body))
    except httpx2.HTTPError as e:
        _say(f"{call.name}: no answer: {type(e).__name__}")
        return False
    problem = call.problem(answer.status_code, answer.headers, text_of(answer))
    target, parts = answer.headers.get("x-gateway-target", "nobody"), answer.headers.get("x-gateway-parts", "")
    verdict = "ok" if problem is None else f"NOT as expected: {problem}"
    _say(f"{call.name}: {verdict}   {target}   {parts}   {clock() - began:.2f} s")
    return problem is None


def text_of(answer: httpx2.Response) -> str:
    """The text of a whole chat completion; nothing if it is none."""
    try:
        return str(answer.json()["choices"][0]["message"]["content"] or "")
    except (ValueError, LookupError, TypeError):
        return ""


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="gateway demo traffic", description="One call per modality, again and again.")
    p.add_argument("--url", default="http://127.0.0.1:4000", help="the gateway (%(default)s)")
    p.add_argument("--key-file", type=Path, metavar="FILE", help="holds the gateway's key")
    p.add_argument("--every", type=float, default=EVERY, metavar="S", help="seconds between two rounds (%(default)g)")
    p.add_argument("--rounds", type=int, metavar="N", help="stop after so many (default: never)")
    return p


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
