"""What answers to fixtures mean: nobody is called deaf who may only be weak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.report.caps import rows
from gateway.report.deep import Said, judge, look
from gateway.report.fixtures import questions

IMAGE = questions()[0]
RIGHT = [f.answer for f in IMAGE.fixtures]


@pytest.mark.parametrize(
    ("texts", "bare", "tokens", "verdict"),
    [
        (RIGHT, 10, 300, "came through"),
        (RIGHT, None, None, "came through"),
        ([f"It is {c}." for c in RIGHT], 10, 10, "came through"),
        (["blue", "blue", "blue"], 10, 300, "too weak to tell"),
        (["blue", "blue", "blue"], 10, 10, "lost"),
        (["I see no picture"] * 3, 10, 10, "lost"),
        (["I see no picture"] * 3, None, None, "too weak to tell"),
        (["I see no picture"] * 3, 10, None, "too weak to tell"),
        (["x", "red", "y"], 10, 10, "too weak to tell"),
        (["", "", ""], 10, 12, "too weak to tell"),
    ],
)
def test_verdicts(texts: list[str], bare: int | None, tokens: int | None, verdict: str) -> None:
    check = judge(IMAGE, Said("?", bare), [Said(t, tokens) for t in texts])
    assert (check.verdict, check.asked) == (verdict, 3)
    assert bool(check.detail) is (verdict != "came through")
    assert (check.tokens is None) is (bare is None and tokens is None)


def card(state: str = "ready", local: bool = True, model: str = "m", **facts: Any) -> dict[str, Any]:
    known = {k: {"value": v, "source": "probed"} for k, v in facts.items()}
    target = {"target": f"one/{model}", "kind": "vllm", "state": state, "detail": "", "local": local, "facts": known}
    target["rates"] = {"prompt": None, "decode": None}
    return {"id": "gemma", "gateway": {"public_name": "gemma", "auto": False, "targets": [target]}}


class Model:
    """Answers as it is told. `sees` = the words for a fixture, by its place; what it was asked is kept."""

    def __init__(self, say: Callable[[str | None], tuple[int, Any]]) -> None:
        self.say = say
        self.asked: list[dict[str, Any]] = []

    async def ask(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append(body)
        content = body["messages"][0]["content"]
        part = content[1] if len(content) > 1 else None
        answer = next((f.answer for q in questions() for f in q.fixtures if f.part == part), None)
        return self.say(answer)


def says(text: str, tokens: int) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": tokens}}


async def verdicts(model: Model, *cards: dict[str, Any], hosted: bool = False) -> dict[str, str]:
    found = rows(cards)
    await look(found, model.ask, hosted=hosted)
    return {m: check["verdict"] for m, check in found[0]["deep"].items()}


async def test_one_that_sees_hears_and_watches() -> None:
    model = Model(lambda answer: says(answer or "what?", 300 if answer else 20))
    got = await verdicts(model, card(image=True, audio=True, video=True))
    assert got == dict.fromkeys(("image", "audio", "video"), "came through")
    for body in model.asked:
        assert body["gateway"] == {"require": {"backend": ["one"], "model": ["m"]}} and body["model"] == "gemma"


async def test_what_it_does_not_take_is_not_sent() -> None:
    model = Model(lambda answer: says(answer or "what?", 300))
    got = await verdicts(model, card(image=True, audio=False, video=False))
    assert got == {"image": "came through", "audio": "not asked", "video": "not asked"}
    assert len(model.asked) == 1 + len(IMAGE.fixtures)


@pytest.mark.parametrize(
    ("about", "hosted", "asked"),
    [
        ({"state": "cold"}, False, False),
        ({"state": "down"}, False, False),
        ({"local": False}, False, False),
        ({"local": False}, True, True),
    ],
)
async def test_who_is_left_alone(about: dict[str, Any], hosted: bool, asked: bool) -> None:
    model = Model(lambda answer: says(answer or "?", 9))
    got = await verdicts(model, card(image=True, **about), hosted=hosted)
    assert (got["image"] == "came through") is asked and bool(model.asked) is asked


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ((400, {"error": {"message": "no target takes pictures"}}), "refused"),
        ((503, {"error": {"message": "busy"}}), "failed"),
        ((429, {"error": {"message": "slow down"}}), "failed"),
        ((0, "no answer (ReadTimeout)"), "failed"),
    ],
)
async def test_errors(reply: tuple[int, Any], verdict: str) -> None:
    model = Model(lambda answer: says("?", 9) if answer is None else reply)
    found = rows([card(image=True, audio=False, video=False)])
    await look(found, model.ask)
    check = found[0]["deep"]["image"]
    assert check["verdict"] == verdict and str(reply[0]) in check["detail"]
    dead = Model(lambda _: reply)
    assert (await verdicts(dead, card(image=True)))["image"] == "failed"
