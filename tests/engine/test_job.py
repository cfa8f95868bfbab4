"""A job: what was repaired is said where the operator wants it put right, and life signs end with it."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from gateway.backends import load
from gateway.canonical.content import Text, ToolCall
from gateway.canonical.events import Answer, Choice, Event, unfold
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Tool, ToolChoice
from gateway.dialects.openai import chat_codec
from gateway.engine.filtering import EMPTY, Chain, Observed, chain_for
from gateway.filters import complete
from tests.engine.jobs import ask, job_of, settings_of


class Mends:
    """A filter that has put these right."""

    def __init__(self, *codes: str) -> None:
        self.repairs = list(codes)

    def feed(self, events: list[Event]) -> list[Event]:
        return events

    def end(self) -> list[Event]:
        return []


def mended(*codes: str) -> Chain:
    mends = Mends(*codes)
    return Chain([mends], [mends])


@pytest.mark.parametrize("streamed", [False, True])
def test_repairs_are_in_the_headers_or_behind_the_stream(streamed: bool):
    job, _ = job_of(settings_of(repair="fix"), ask(), streamed=streamed)
    job.chain = mended("markup", "call_id", "markup")
    if streamed:
        job.encoder = chat_codec.encoder(job.request, "m")
    job.note_repairs()
    assert (b"x-gateway-repaired", b"markup,call_id") in job.headers
    assert job.encoder is None or job.encoder.closing["repaired"] == "markup,call_id"


@pytest.mark.parametrize(("repair", "codes"), [("observe", ["markup"]), ("fix", [])])
def test_nothing_is_said_of_what_was_only_seen_or_not_there(repair: str, codes: list[str]):
    job, _ = job_of(settings_of(repair=repair), ask())
    mends = Mends(*codes)
    job.chain = Chain([Observed(mends) if repair == "observe" else mends], [mends])
    job.note_repairs()
    assert job.headers == []
    job.note_signs()
    assert job.record.repaired == codes, "the log has it either way"


@pytest.mark.parametrize("repair", ["off", "observe"])
def test_what_was_dropped_is_said_whatever_is_repaired(repair: Literal["off", "observe"]):
    job, _ = job_of(settings_of(repair=repair), asked := ask(tools=[Tool("f")], tool_choice=ToolChoice("none")))
    job.chain = chain_for(asked, load("openai"), Facts(), repair, streamed=False)
    complete(job.chain.filters, unfold(Answer(choices=[Choice([Text("x"), ToolCall("a", "f", "{}")], "tool_calls")])))
    job.note_repairs()
    assert job.headers == [(b"x-gateway-repaired", b"call_not_allowed")]


def test_what_an_earlier_attempt_repaired_stays_out_of_an_answer_that_has_no_filters():
    job, _ = job_of(settings_of(), ask())
    assert job.chain is EMPTY
    job.note_repairs()
    job.note_signs()
    assert (job.headers, job.record.repaired) == ([], [])


async def test_quiet_ends_what_shows_life():
    job, _ = job_of(settings_of(), ask(), streamed=True)
    fired = asyncio.Event()
    timer = job.timer = asyncio.get_running_loop().call_later(0, fired.set)
    task = job.signs = asyncio.create_task(asyncio.Event().wait(), name="life signs")  # type: ignore[assignment]
    job.quiet()
    await asyncio.gather(task, return_exceptions=True)
    assert timer.cancelled() and task.cancelled() and not fired.is_set()
    assert job.timer is None and job.signs is None
    job.quiet()
