"""Does what a picture, a sound or a video shows reach the model? Real fixtures are sent, and the answers compared with
what is on them.

A wrong answer alone says little: a small model may see and not know. So the prompt's tokens with the medium are
compared with those without, and the answers to different fixtures with each other. What still can't be told is said to
be so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gateway.report.caps import Row
from gateway.report.fixtures import Question, questions

Verdict = Literal["came through", "too weak to tell", "lost", "refused", "failed", "not asked"]
"""came through: every answer was right. too weak to tell: something arrived, and the model can't say what; or it says
nothing of use and nothing else is known. lost: the prompt was as long as without the medium, and the answer always the
same. refused: the request was, as the target does not take it. failed: it was not answered. not asked: nobody tried."""

Ask = Callable[[dict[str, Any]], Awaitable[tuple[int, Any]]]
"""Sends the body of a chat; returns status and decoded answer. Status 0 = nobody answered."""

MOST_TOKENS = 24


@dataclass(slots=True)
class Check:
    """`right` of `asked` answers were right. `tokens`: the prompt's without the medium, and with each fixture, where
    the server counts."""

    verdict: Verdict
    detail: str = ""
    right: int = 0
    asked: int = 0
    tokens: list[int | None] | None = None


@dataclass(slots=True)
class Said:
    """One answer. `error` = why there is none; `refused`: the request could not be taken as it was."""

    text: str = ""
    tokens: int | None = None
    error: str = ""
    refused: bool = False


async def look(found: Sequence[Row], ask: Ask, *, hosted: bool = False) -> None:
    """Adds to each row what became of each modality: `row["deep"]["image"] = {"verdict": ...}`. Servers that are not
    ready are left alone, and hosted ones unless `hosted`."""
    for row in found:
        row["deep"] = {}
        why = _why_not(row, hosted)
        for question in questions():
            check = Check("not asked", why) if why else await _check(row, question, ask)
            row["deep"][question.modality] = {k: v for k, v in asdict(check).items() if v not in ("", None)}


def _why_not(row: Row, hosted: bool) -> str:
    if row["state"] != "ready":
        return f"it is {row['state']}"
    if not row["names"]:
        return "no name leads to it"
    if not row["local"] and not hosted:
        return "it is hosted, where every answer costs: ask for it with --hosted"
    return ""


async def _check(row: Row, question: Question, ask: Ask) -> Check:
    if row["modalities"][question.modality]["value"] is False:
        source = row["modalities"][question.modality]["source"]
        return Check("not asked", f"it does not take {question.modality} ({source})")
    bare = await _ask(row, question, None, ask)
    if bare.error:
        return Check("failed", f"not even its text was answered: {bare.error}")
    answers: list[Said] = []
    for fixture in question.fixtures:
        said = await _ask(row, question, fixture.part, ask)
        if said.error:
            return Check("refused" if said.refused else "failed", said.error, asked=len(answers) + 1)
        answers.append(said)
    return judge(question, bare, answers)


async def _ask(row: Row, question: Question, part: dict[str, Any] | None, ask: Ask) -> Said:
    content = [{"type": "text", "text": question.ask}, *([part] if part else [])]
    backend, _, model = row["target"].partition("/")
    status, answer = await ask({
        "model": row["names"][0],
        "messages": [{"role": "user", "content": content}],
        "max_tokens": MOST_TOKENS,
        "temperature": 0,
        "gateway": {"require": {"backend": [backend], **({"model": [model]} if model else {})}},
    })  # fmt: skip
    if status != 200:
        told = answer.get("error") if isinstance(answer, dict) else None
        words = told.get("message", "") if isinstance(told, dict) else str(answer or "nobody answers")
        return Said(error=f"{status}: {words}"[:300], refused=400 <= status < 500 and status != 429)
    usage = answer.get("usage") or {}
    text = answer["choices"][0]["message"].get("content") if answer.get("choices") else ""
    return Said(text if isinstance(text, str) else "", usage.get("prompt_tokens"))


def judge(question: Question, bare: Said, answers: Sequence[Said]) -> Check:
    """What the answers to all fixtures of a question mean. `bare`: the one to the question alone."""
    heard = [question.said(a.text) for a in answers]
    right = sum(h == f.answer for h, f in zip(heard, question.fixtures, strict=True))
    tokens = [bare.tokens, *(a.tokens for a in answers)]
    check = Check("too weak to tell", "", right, len(answers), tokens if any(t is not None for t in tokens) else None)
    if right == len(answers):
        check.verdict = "came through"
        return check
    always = len({a.text for a in answers}) == 1
    counted = bare.tokens is not None and all(a.tokens is not None for a in answers)
    grew = counted and all((a.tokens or 0) > (bare.tokens or 0) for a in answers)
    shown = answers[0].text.strip()[:60]
    if grew:
        check.detail = f"it is in the prompt, and the model does not say what it is (it says {shown!r})"
    elif counted and always:
        check.verdict = "lost"
        check.detail = f"the prompt is as long as without it, and the answer always the same ({shown!r})"
    elif always:
        check.detail = f"the answer is always the same ({shown!r}), and the server does not count its prompts"
    else:
        check.detail = f"answers differ and are not right (the first is {shown!r})"
    return check
