"""Every field of a request, in both directions, as a table (tests/cases/gemini_requests.json): what goes to a server of
chat completions, what goes to the Gemini API, what is named because it goes no further, and what is refused where."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.backends import load
from gateway.canonical.facts import Facts, Target
from gateway.dialects import gemini
from gateway.dialects.openai import chat as openai_chat
from gateway.errors import BadRequest

CASES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "cases" / "gemini_requests.json").read_text(encoding="utf-8")
)
MODEL = "gemma-4-31b-it"
HOSTED_GEMMA = Facts(
    image=True,
    audio=False,
    video=False,
    document=False,
    thinking=True,
    thinking_levels=frozenset({"minimal", "high"}),
    call_ids=False,
)


def table(way: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES[way]]


@pytest.mark.parametrize("case", table("in"))
def test_in(case: Any) -> None:
    facts = Facts(image=True, audio=True, video=True, document=True, thinking=True)

    def build() -> Any:
        chat = gemini.generate_codec.parse_request({**case["body"], "model": MODEL})
        return load("openai").build(chat, Target("any", "openai", MODEL), facts)

    if "error" in case:
        with pytest.raises(BadRequest) as caught:
            build()
        body = gemini.render_error(caught.value)["error"]
        assert body["code"] == 400 and case["error"][1] in body["message"]
        assert (caught.value.param or "").startswith(case["error"][0])
        return
    call = build()
    assert msgspec.json.decode(call.octets()) == case["expect"]
    assert set(case.get("dropped", ())) <= set(call.dropped)


@pytest.mark.parametrize("case", table("out"))
def test_out(case: Any) -> None:
    model = case["body"]["model"]
    backend = load("gemini")
    own = backend.assumed.own_uris
    facts = Facts(image=True, audio=True, video=True, document=True, own_uris=own, cuts=True)
    if model == MODEL:
        facts = replace(HOSTED_GEMMA, **case.get("facts", {}))

    def build() -> Any:
        return backend.build(openai_chat.parse_request(case["body"]), Target("google", "gemini", model), facts)

    if "error" in case:
        with pytest.raises(BadRequest) as caught:
            build()
        assert (caught.value.param or "").startswith(case["error"][0]) and case["error"][1] in caught.value.message
        return
    call = build()
    body = msgspec.json.decode(call.octets())
    if model != MODEL and "thinkingConfig" not in case["expect"].get("generationConfig", {}):
        # nothing asked is off, said outright
        config = body.get("generationConfig", {})
        config.pop("thinkingConfig", None)
        if not config:
            body.pop("generationConfig", None)
    assert body == case["expect"]
    assert set(case.get("dropped", ())) <= set(call.dropped)
    assert call.path == case.get("path", call.path)
