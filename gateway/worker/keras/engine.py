"""The one thread in which the model works, and what it has to tell to whom."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.canonical.events import Event, Start
from gateway.canonical.requests import Chat
from gateway.errors import Internal
from gateway.filters.gemma4 import grammar as g
from gateway.worker.keras.answer import Marks, Telling, heads
from gateway.worker.keras.forced import CallGate
from gateway.worker.keras.model import Gemma, Prepared
from gateway.worker.keras.pieces import runs
from gateway.worker.keras.places import Places
from gateway.worker.keras.prompt import Prompt, offered, render
from gateway.worker.keras.sampling import Row, Sampler, Settings, settings_of

_log = logging.getLogger("gateway.worker.keras")
_MOST_COUNTED = 16
T = TypeVar("T")


@dataclass(slots=True)
class Job:
    """One request that was checked: its prompt is ready, nothing about it can be wrong any more."""

    chat: Chat
    prompt: Prompt
    prepared: Prepared
    settings: Settings
    gate: CallGate | None
    start: Start
    new_id: Callable[[], str]
    left: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the answer any more."""


@dataclass(slots=True, frozen=True)
class Reading:
    """How much of the prompt has been read."""

    done: int
    total: int


Told = list[Event] | Reading | BaseException | None
"""What the model's thread tells: more of the answer, how far it has read, what broke, and None at the end."""


class Running:
    """A job at the model, or on its way there."""

    def __init__(self, job: Job, told: asyncio.Queue[Told], future: Future[None]) -> None:
        self._job, self._told, self._future = job, told, future

    async def next(self, within: float | None = None) -> list[Event] | Reading | None:
        """What comes next, None at the end. Raises TimeoutError after `within` seconds; Internal: the model failed."""
        async with asyncio.timeout(within):
            what = await self._told.get()
        if isinstance(what, BaseException):
            _log.error("the model failed", exc_info=what)
            raise Internal(f"the model failed: {type(what).__name__}")
        return what

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._job.left.set()
        self._future.cancel()


class Engine:
    """Answers jobs one after the other. `limit`: how many may wait or be answered at once."""

    def __init__(self, model: Gemma, limit: int) -> None:
        self.model = model
        self.places = Places(limit)
        self._counted = Places(_MOST_COUNTED)
        self._thread = ThreadPoolExecutor(1, "model")
        self._desk = ThreadPoolExecutor(1, "prepare")
        self._marks = Marks(
            model.stop_tokens, model.token(g.CALL_CLOSE), model.token(g.CHANNEL_OPEN), model.token(g.CHANNEL_CLOSE)
        )

    async def prepare(self, chat: Chat, left: threading.Event, start: Start, new_id: Callable[[], str]) -> Job:
        """Beside the model's work: media are decoded, text is tokenized. Raises BadRequest and its kinds."""
        return await self._beside(lambda: self._prepare(chat, left, start, new_id))

    async def count(self, chat: Chat, left: threading.Event) -> int:
        """Tokens of the prompt. Raises as `prepare` does, and Overloaded."""

        def counted() -> int:
            prompt = self._prompt(chat)
            return len(self.model.prepare(runs(prompt.pieces), left.is_set).ids)

        self._counted.enter()
        try:
            return await self._beside(counted)
        finally:
            self._counted.leave(None)

    async def _beside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._desk, work)

    def _prompt(self, chat: Chat) -> Prompt:
        return render(chat, empty_thought=self.model.empty_thought, thinking=bool(chat.thinking.enabled))

    def _prepare(self, chat: Chat, left: threading.Event, start: Start, new_id: Callable[[], str]) -> Job:
        prompt = self._prompt(chat)
        settings = settings_of(chat.sampling, self.model.vocabulary)
        prepared = self.model.prepare(runs(prompt.pieces), left.is_set)
        return Job(chat, prompt, prepared, settings, self._gate(chat, prompt), start, new_id, left)

    def _gate(self, chat: Chat, prompt: Prompt) -> CallGate | None:
        choice = chat.tool_choice
        if choice is None or choice.mode not in ("required", "named"):
            return None
        thought = None
        if chat.thinking.enabled and self._marks.thought_open is not None and self._marks.thought_close is not None:
            thought = (self._marks.thought_open, self._marks.thought_close)
        names = [t.name for t in offered(chat)]
        return CallGate(heads(names, self.model.tokenize), thought, inside=prompt.open_reasoning)

    def close(self) -> None:
        """Takes no more work. What is being worked on goes on until it ends or is stopped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._desk.shutdown(wait=False, cancel_futures=True)

    def start(self, job: Job) -> Running:
        """Lets the model answer. The place that the caller took is given back when the model is done with the job,
        which is soon after the caller stops it."""
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[Told] = asyncio.Queue()

        def tell(what: Told) -> None:
            loop.call_soon_threadsafe(told.put_nowait, what)

        def work() -> None:
            began = time.monotonic()
            last: list[Told]
            try:
                last = [self._work(job, tell), None]
            except BaseException as e:  # noqa: BLE001  # told to the one who waits
                last = [e]
            # first the place: who has read the end may ask again at once
            loop.call_soon_threadsafe(self.places.leave, time.monotonic() - began)
            for what in last:
                tell(what)

        def left_before(future: Future[None]) -> None:
            if future.cancelled():
                loop.call_soon_threadsafe(self.places.leave, None)

        future = self._thread.submit(work)
        future.add_done_callback(left_before)
        return Running(job, told, future)

    def _work(self, job: Job, tell: Callable[[Told], None]) -> list[Event]:
        """Lets the model answer; returns the last events."""
        model, prepared, chat = self.model, job.prepared, job.chat
        size = len(prepared.ids)
        room = model.context - size
        asked = chat.sampling.max_tokens
        telling = Telling(
            chat,
            self._marks,
            model.piece,
            start=job.start,
            prompt_tokens=size,
            most=room if asked is None else min(asked, room),
            new_id=job.new_id,
            open_reasoning=job.prompt.open_reasoning,
        )
        sampler, gate = Sampler(job.settings, prepared.ids), job.gate

        def choose(row: Row) -> int:
            if gate is None:
                return sampler.choose(row)
            token = sampler.choose(row, gate.allowed())
            gate.feed(token)
            return token

        tell(telling.begin())
        tokens = model.generate(
            prepared, choose, read=lambda done, total: tell(Reading(done, total)), left=job.left.is_set
        )
        for token in tokens:
            events = telling.feed(token)
            if events:
                tell(events)
            if telling.ended:
                break
        return telling.end()
