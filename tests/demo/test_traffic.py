"""The calls again and again, to a stand-in for the gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import run, traffic
from gateway.demo.traffic import send, traffic_calls

PARTS = {
    "image_url": ("eyes", "1=image"),
    "input_audio": ("ears", "1=audio"),
    "video_url": ("eyes", "1=video>frames:8"),
}


class StandIn:
    """Answers each call as the gateway does, one a connection; `deaf` = sounds are refused."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.keys: set[str] = set()
        self.deaf = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        told = dict(h.split(": ", 1) for h in head[1:] if ": " in h)
        self.keys.add(told.get("authorization", ""))
        body = json.loads(await reader.readexactly(int(told["content-length"])))
        writer.write(self.reply(body["messages"][0]["content"]))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def reply(self, content: Any) -> bytes:
        kind = "text" if isinstance(content, str) else content[1]["type"]
        self.seen.append(kind)
        backend, part = PARTS.get(kind, ("text", ""))
        status = "503 Busy" if self.deaf and kind == "input_audio" else "200 OK"
        text = json.dumps({"choices": [{"message": {"content": "[fixture] Yes."}}]})
        head = [
            f"HTTP/1.1 {status}",
            "connection: close",
            f"x-gateway-target: {backend}/m",
            f"x-gateway-parts: 0=text{',' + part if part else ''}",
            f"content-length: {len(text)}",
        ]
        return "\r\n".join([*head, "", text]).encode()


ROUND = ["text", "image_url", "input_audio", "video_url"]


async def rounds(stand_in: StandIn, count: int, key: str = "") -> tuple[int, list[float]]:
    """The exit code, and how long it wanted to wait between the rounds."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    server = await asyncio.start_server(stand_in.answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        code = await send(f"http://127.0.0.1:{port}", key, rounds=count, sleep=sleep, clock=lambda: 0.0)
    return code, pauses


async def test_each_round_has_one_call_per_modality(capsys: pytest.CaptureFixture[str]) -> None:
    stand_in = StandIn()
    assert await rounds(stand_in, 2, "secret") == (0, [30.0])
    assert stand_in.seen == ROUND * 2
    assert stand_in.keys == {"bearer secret"}
    said = capsys.readouterr().out
    assert said.splitlines()[3] == "video: ok   eyes/m   0=text,1=video>frames:8   0.00 s"
    assert "secret" not in said


async def test_what_fails_is_told_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    stand_in = StandIn()
    stand_in.deaf = True
    assert (await rounds(stand_in, 1))[0] == 1
    assert stand_in.seen == ROUND
    assert "sound: NOT as expected: status 503" in capsys.readouterr().out


async def test_without_a_gateway_every_call_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with await asyncio.start_server(StandIn().answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    assert await send(f"http://127.0.0.1:{port}", "", rounds=1) == 1
    assert capsys.readouterr().out.count("no answer: ConnectError") == 4


def test_the_key_comes_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []

    async def sent(url: str, key: str, **more: Any) -> int:
        told.append((url, key, more))
        return 0

    monkeypatch.setattr(traffic, "send", sent)
    (tmp_path / "key").write_text("k\n")
    argv = ["traffic", "--url", "http://gateway:4000/", "--key-file", str(tmp_path / "key"), "--every", "5"]
    assert run.main(argv) == 0
    assert told == [("http://gateway:4000", "k", {"every": 5.0, "rounds": None})]
    assert run.main(["traffic", "--key-file", str(tmp_path / "none")]) == 2
    assert "can't read" in capsys.readouterr().err


def test_the_video_is_one() -> None:
    url = traffic_calls()[3].body["messages"][0]["content"][1]["video_url"]["url"]
    assert url.startswith("data:video/mp4;base64,AAAA")
