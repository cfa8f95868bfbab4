"""The upstreams that are what they say: llama.cpp's own server, and the keras worker around a model that follows a
script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self, cast

from gateway.demo.fixture import Fixture, ensure
from gateway.demo.fleet import Server, free_ports
from gateway.worker.keras.app import About, App
from gateway.worker.keras.engine import Engine
from gateway.worker.keras.model import Gemma, Prepared
from gateway.worker.keras.serve import _server
from tests.contract.cases import CASES
from tests.contract.kinds import LlamaCpp as Voice
from tests.contract.stage import HELLO, PLACE, THOUGHT, KnownBy, Traits, scenario_of
from tests.contract.voices import SLOW
from tests.faults.rawclient import get
from tests.real.servers import RealServer
from tests.worker.keras.fake import Fake

SAYS = Fixture("[fixture] Whatever comes in, these few words always go out.", image=True, audio=True)


async def _until(holds: Callable[[], Awaitable[bool]], within: float) -> None:
    end = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < end, f"it did not happen within {within} s"
        await asyncio.sleep(0.02)


class LlamaCpp:
    """A tiny scripted Gemma 4 in llama.cpp itself. It calls no tool of its own accord, and never two: what it would
    look like stands in tests/wire/llamacpp."""

    def __init__(self, cache: Path) -> None:
        self.traits = Traits(
            "llamacpp",
            frozenset({"stop", "forced", "none", "json", "counts"}),
            text=SAYS.reply,
            thought=SAYS.thought,
            backend={"facts": {"fixture": True}},
            refuses_long="a b " * 5000,
            cases=frozenset(c.name for c in CASES) - (Voice.traits.cases or frozenset()),
            extra={"cancel": {"ignore_eos": True}},
            slow="x" * 7000,
        )
        model, mmproj = ensure(SAYS, cache)
        about = Server("contract", model, "tiny-gemma4", free_ports(1)[0], mmproj)
        self._server = RealServer(about, cache / "contract.log", ctx=16_384, slots=2, batch=256)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._server.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._server.kill)

    @property
    def url(self) -> str:
        return self._server.url

    def known_by(self, case: str) -> KnownBy:
        return "run"

    def got(self, tag: str) -> str | None:
        return None

    def complaints(self) -> list[str]:
        return []

    async def arrived(self, tag: str) -> None:
        async def busy() -> bool:
            return await self._server.busy() > 0

        await _until(busy, 2.0)

    async def left(self, tag: str) -> None:
        async def idle() -> bool:
            return await self._server.busy() == 0

        await _until(idle, 1.0)


class Scripted(Fake):
    """Says what its prompt asks for."""

    hears = True

    def __init__(self) -> None:
        super().__init__(context=8192)
        self.seen: dict[str, int] = {}

    def tokenize(self, text: str) -> list[int]:
        """Characters that its alphabet has not are left out: a JSON schema's are all there."""
        return super().tokenize(re.sub(r"[^\x20-\x7e\n]", "", text))

    def prepare(self, runs: Any, left: Callable[[], bool] = lambda: False) -> Prepared:
        from gateway.canonical.content import Audio

        sounds = [r for r in runs if isinstance(r, Audio)]
        out = super().prepare([r for r in runs if not isinstance(r, Audio)], left)
        out.ids += [self.token("<|image|>") or 0] * 30 * len(sounds)
        return out

    def generate(self, prompt: Prepared, choose: Any, *, read: Any, left: Any) -> Iterator[int]:
        text = "".join(self.piece(i).replace("\u2581", " ") for i in prompt.ids)
        scenario, tag = scenario_of(text)
        self.seen[tag] = attempt = self.seen.get(tag, 0) + 1
        thinks = "<|think|>" in text
        calls = [f"<|tool_call>call:get_weather{{days:{3 + i}}}<tool_call|>" for i in range(2)]
        willing = scenario.startswith("call") or (scenario == "reluctant" and attempt > 1)
        said = HELLO
        if "declaration:get_weather" in text and willing:
            said = "".join(calls[: 2 if scenario == "call2" else 1])
        elif scenario == "place" or (scenario == "reluctant" and attempt > 1):
            said = PLACE
        elif scenario == "endless":
            said = "on and " * 10_000
        if scenario == "slow":
            time.sleep(SLOW)
        self.script = [(f"<|channel>thought\n{THOUGHT}<channel|>" if thinks else "") + said]
        yield from super().generate(prompt, choose, read=read, left=left)


class Keras:
    """The worker's own server; only the model is made up."""

    def __init__(self) -> None:
        self.traits = Traits(
            "keras",
            frozenset({"stop", "forced", "named", "none", "counts"}),
            refuses_long="a b " * 2400,
        )
        self._model = Scripted()
        self._stack = contextlib.AsyncExitStack()
        self._port = 0

    async def __aenter__(self) -> Self:
        app = App(About("gemma4_instruct_4b", "gemma4_instruct_4b", "bfloat16", None))
        app.engine = Engine(cast(Gemma, self._model), 4)
        self._stack.callback(app.engine.close)
        listening = socket.create_server(("127.0.0.1", 0))
        self._port = listening.getsockname()[1]
        server = _server(app)
        task = asyncio.create_task(server.serve(sockets=[listening]), name="http server")

        async def stop() -> None:
            server.should_exit = server.force_exit = True
            await task
            listening.close()

        self._stack.push_async_callback(stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def known_by(self, case: str) -> KnownBy:
        return "run"

    def got(self, tag: str) -> str | None:
        return None

    def complaints(self) -> list[str]:
        return []

    async def _requests(self) -> int:
        return int(json.loads((await get(self.url, "/health")).body)["requests"])

    async def arrived(self, tag: str) -> None:
        async def busy() -> bool:
            return await self._requests() > 0

        await _until(busy, 2.0)

    async def left(self, tag: str) -> None:
        async def idle() -> bool:
            return await self._requests() == 0

        await _until(idle, 1.0)
