"""A whole table of faults against one gateway: every row has upstreams and a public name of its own, so that rows can't
touch each other, and all their requests are under way at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.faults.rawclient import Response
from tests.faults.running import FAST, Running, running
from tests.faults.steps import Step
from tests.faults.wire import Wire

PATIENT: dict[str, float] = {
    **FAST,
    "connect": 10.0,
    "first_byte": 20.0,
    "first_byte_unknown": 20.0,
    "idle": 20.0,
    "probe": 20.0,
}
"""Many at once on two cores: what is right must not look late."""
SHORT = {"first_byte": 1.0, "first_byte_unknown": 1.0, "idle": 1.0}
"""At servers that fall silent, drip or repeat themselves for ever, which is what their rows are about."""


@dataclass
class Row:
    """`steps` is what each of its `targets` upstreams answers; `fields` are of the request."""

    key: str
    steps: list[Step]
    fields: dict[str, Any]
    targets: int = 1
    kind: Literal["llamacpp", "vllm", "openai"] = "llamacpp"


@dataclass
class Outcome:
    """`logged` = the request's line in the log, from which its metrics come too."""

    got: Response
    wires: list[Wire]
    logged: dict[str, Any]

    @property
    def attempts(self) -> list[int]:
        """How many requests each upstream saw, fewest first."""
        return sorted(len(w.requests) for w in self.wires)


@contextlib.asynccontextmanager
async def played(rows: list[Row], timeouts: Mapping[str, float] = PATIENT) -> AsyncIterator[dict[str, Outcome]]:
    """Plays all rows; the outcomes by key. At the end, what must hold after any test is checked once for all."""
    async with contextlib.AsyncExitStack() as stack:
        wires: dict[str, list[Wire]] = {}
        for row in rows:
            wires[row.key] = [await stack.enter_async_context(Wire(kind=row.kind)) for _ in range(row.targets)]
            for wire in wires[row.key]:
                wire.answer(*row.steps)
        backends: dict[str, Any] = {}
        models: dict[str, Any] = {}
        for k, row in enumerate(rows):
            names = [f"row{k}-{i}" for i in range(row.targets)]
            for name, wire in zip(names, wires[row.key], strict=True):
                backends[name] = {"kind": wire.kind, "url": wire.url}
                if timeouts is PATIENT and any(slow in repr(row.steps) for slow in ("Hang(", "Drip(", "Repeat(")):
                    backends[name]["timeouts"] = SHORT
            models[f"row-{k}"] = {"targets": [{"backend": name} for name in names]}
        settings = {"listen": "127.0.0.1:0", "backends": backends, "models": models, "timeouts": dict(timeouts)}
        every = [w for some in wires.values() for w in some]
        gateway: Running = await stack.enter_async_context(running(settings, wires=every, within=30))
        at_once = asyncio.Semaphore(40)

        async def play(k: int, row: Row) -> Response:
            async with at_once:
                return await gateway.chat(model=f"row-{k}", **row.fields)

        got = await asyncio.gather(*(play(k, row) for k, row in enumerate(rows)))
        await gateway.settled(5.0)
        lines = {line["request_id"]: line for line in gateway.log_lines if line["event"] == "request"}
        yield {
            row.key: Outcome(answer, wires[row.key], lines[answer.header("x-request-id") or ""])
            for row, answer in zip(rows, got, strict=True)
        }
        await gateway.check()
