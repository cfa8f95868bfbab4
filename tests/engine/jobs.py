"""Requests on their way through the engine, with everything around them that a test of one of its files needs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.backends import Discovery, Model
from gateway.canonical.content import Message, Text
from gateway.canonical.context import Context
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, Request
from gateway.dialects.openai import chat_codec
from gateway.engine.fleet import Fleet
from gateway.engine.job import Header, Job
from gateway.engine.record import Record
from gateway.engine.servers import Deployment
from gateway.settings import Settings, parse
from tests.faults.answers import MODEL


def settings_of(url: str = "http://127.0.0.1:9", backend: dict[str, Any] | None = None, **more: Any) -> Settings:
    """One backend, `one`. `more` = further keys of the configuration."""
    one = {"kind": "openai", "url": url, **(backend or {})}
    return parse(yaml.safe_dump({"backends": {"one": one}, **more}), {})


def deployment(settings: Settings, facts: Facts | None = None) -> Deployment:
    """The one target of `settings`, ready, with the model that scripted upstreams have."""
    fleet = Fleet()
    fleet.apply(settings)
    server = fleet.servers["one"]
    server.learn(Discovery("ready", [Model(MODEL, facts=facts or Facts())]))
    return server.deployments[MODEL]


def ask(**fields: Any) -> Chat:
    return Chat("m", [Message("user", [Text("hello")])], **fields)


@dataclass
class Client:
    """The way back, kept: what was said, in order."""

    committed: bool = False
    done: bool = False
    aborted: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    said: list[bytes] = field(default_factory=list)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    """As long as this is not set, the client takes nothing."""

    def __post_init__(self) -> None:
        self.reads.set()

    async def whole(self, status: int, headers: list[Header], body: bytes) -> None:
        self._begin(status, headers)
        await self.write(body)
        self.done = True

    async def begin(self, headers: list[Header], media_type: str) -> None:
        self._begin(200, headers)

    async def write(self, data: bytes) -> None:
        await self.reads.wait()
        self.said.append(data)

    async def end(self, data: bytes = b"") -> None:
        if data:
            await self.write(data)
        self.done = True

    def abort(self) -> None:
        self.aborted = True

    def _begin(self, status: int, headers: list[Header]) -> None:
        assert not self.committed
        self.committed, self.status = True, status
        self.headers = {name.decode(): value.decode() for name, value in headers}

    @property
    def text(self) -> str:
        return b"".join(self.said).decode()


def job_of(settings: Settings, request: Request, *, streamed: bool = False) -> tuple[Job, Client]:
    client = Client()
    context = Context("req-1", "openai", "", settings, 0.0, 1e9)
    record = Record("req-1", "openai", "chat", 0.0)
    return Job(context, request, chat_codec, client, record, model="m", streamed=streamed), client
