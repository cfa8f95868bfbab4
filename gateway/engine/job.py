"""One request on its way through the engine, and what it leads back to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.canonical.context import Context
from gateway.canonical.needs import Needs
from gateway.canonical.requests import Chat, Request
from gateway.dialects import LIMITS, Encoder, Limits
from gateway.engine.filtering import EMPTY, Chain
from gateway.engine.record import Record
from gateway.filters import Filter
from gateway.settings import Settings

Header = tuple[bytes, bytes]


class Outlet(Protocol):
    """The way back to the client. `committed` = a status line is out; `done` = the answer is complete."""

    committed: bool
    done: bool

    async def whole(
        self, status: int, headers: list[Header], body: bytes, media_type: str = "application/json"
    ) -> None: ...
    async def begin(self, headers: list[Header], media_type: str) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self, data: bytes = b"") -> None: ...
    def abort(self) -> None: ...


class ClientCodec(Protocol):
    """What the engine needs of the client's dialect for one operation."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Any: ...
    def render_answer(self, answer: Any, request: Any) -> dict[str, Any] | str: ...
    def encoder(self, request: Any, model: str) -> Encoder: ...


@dataclass(slots=True)
class Job:
    """One request on its way through the engine. `phase` is where it was when the client left."""

    context: Context[Settings]
    request: Request
    codec: ClientCodec
    outlet: Outlet
    record: Record
    model: str = ""
    sent: float = 0.0
    """When the attempt at hand began, on the loop's clock."""
    cold: bool = False
    """When it began, the target had to load its model first."""
    asked: Request | None = None
    """What the target of the attempt at hand is asked for."""
    streamed: bool = False
    needs: Needs = field(default_factory=Needs)
    tokens: int = 0
    """The prompt's likely length."""
    encoder: Encoder | None = None
    content: bool = False
    phase: str = "before_first_byte"
    progress: tuple[int, int] = (0, 0)
    headers: list[Header] = field(default_factory=list)
    shown: list[Header] = field(default_factory=list)
    """The headers that went out with a sign of life, before it was sure who would answer."""
    chain: Chain = EMPTY
    """What the answer of the attempt at hand goes through."""
    remember: Callable[[Chat], Filter] | None = None
    """Makes what notes the thoughts that lead to calls: one for each attempt, of which only one may be answered."""
    nudged: bool = False
    """It was asked once more, because the first answer was not what was demanded."""
    said: float = 0.0
    """When the client of a stream was last told something, on the loop's clock; inf while it is being told."""
    timer: asyncio.TimerHandle | None = None
    signs: asyncio.Task[None] | None = None

    def note_repairs(self) -> None:
        """The answer is complete: what was repaired goes into its headers, or behind its stream."""
        changes = self.chain.changes
        if not changes:
            return
        said = ",".join(changes)
        if self.encoder is not None:
            self.encoder.closing["repaired"] = said
        self.headers.append((b"x-gateway-repaired", said.encode()))

    def name_target(self) -> None:
        """Content follows. Where a sign of life went out when another target, or none, had the request, the headers
        that hold now are said behind the stream."""
        if self.encoder is not None and self.outlet.committed and self.shown != self.headers:
            self.encoder.closing |= {name.decode()[len("x-gateway-") :]: value.decode() for name, value in self.headers}

    def note_signs(self) -> None:
        """For log and metrics, also of an answer that broke off."""
        if self.chain is not EMPTY:
            self.record.repaired = self.chain.repairs
            self.record.runaway = self.chain.runaway

    def quiet(self) -> None:
        """No more life signs: it is the end."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.hush()

    def hush(self) -> None:
        """Takes back a life sign that is not out yet: there is something to say."""
        if self.signs is not None:
            self.signs.cancel()
            self.signs = None
