"""Every dialect to every wire: what the server is told is what the client said, or it is refused by its path.

The conversations are written by hand in the words of each dialect (`clients.py`), and what was built for the server is
read by hand again (`servers.py`): no code of the gateway judges itself.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.backends import load
from gateway.canonical.facts import Facts, Target, layer
from gateway.dialects import anthropic, gemini, ollama
from gateway.dialects.gemini.models import name_facts
from gateway.dialects.openai import chat_codec
from gateway.dialects.openai.responses import responses_codec
from gateway.errors import PartRefused
from tests.pairs.clients import CLIENTS, body_of
from tests.pairs.servers import READERS, thinks
from tests.pairs.talks import TALKS, Talk, Told, expected

CODECS: dict[str, Any] = {
    "chat": chat_codec,
    "responses": responses_codec,
    "messages": anthropic.messages_codec,
    "gemini": gemini.generate_codec,
    "ollama": ollama.chat_codec,
}
MODELS = {"gemini": "gemini-2.5-flash"}
ABLE = Facts(image=True, audio=True, video=True, tools=True, thinking=True, media_knobs=False)
PAIRS = [(c, w) for c in CLIENTS for w in READERS]


def facts_of(wire: str) -> Facts:
    backend = load(wire)
    told = name_facts(MODELS[wire]) if wire in MODELS else ABLE
    if wire == "ollama":
        told = replace(told, video=False)
    return layer(("probed", told), ("assumed", backend.assumed))


@pytest.mark.parametrize(("client", "wire"), PAIRS, ids=lambda x: x)
def test_what_the_server_is_told(client: str, wire: str) -> None:
    backend, facts = load(wire), facts_of(wire)
    counted: Counter[str] = Counter()
    for talk in TALKS:
        body = body_of(client, talk)
        if body is None:
            counted["cannot say"] += 1
            continue
        request = CODECS[client].parse_request(msgspec.json.decode(msgspec.json.encode(body)))
        if wire == "ollama" and talk.name == "video":
            with pytest.raises(PartRefused) as caught:
                backend.build(request, Target("b", wire, "m"), facts)
            assert caught.value.param, "refused by its path"
            counted["refused"] += 1
            continue
        call = backend.build(request, Target("b", wire, MODELS.get(wire, "m")), facts)
        sent = json.loads(call.octets())
        assert READERS[wire](sent) == as_told(talk, client, wire), talk.name
        if wire != "openai":  # which is not told how
            assert bool(thinks(wire, sent)) == bool(talk.thinking), talk.name
        counted["told"] += 1
    assert counted.total() == len(TALKS) >= 40 and counted["told"] >= 38, counted


def as_told(talk: Talk, client: str, wire: str) -> Told:
    """What is expected of this pair: the same for all, but for what a dialect or wire says in another way."""
    out = expected(talk)
    if client == "messages" and talk.max_tokens is None:
        out.max_tokens = 1000  # its clients always say one
    if client == "gemini":
        # its tools answer in objects
        as_object = {"an empty result": "{}", "a result that failed": '{"error": "no such file"}'}
        if talk.name in as_object and wire != "gemini":
            words = as_object[talk.name] if wire != "ollama" else as_object[talk.name].replace(": ", ":")
            out.turns = [(role, words if role == "result" else text, m, c) for role, text, m, c in out.turns]
    named = next((t for t in talk.tools if t[0] == talk.choice), None)
    if named is not None and wire in ("llamacpp", "ollama"):
        out.tools, out.choice = [named], "required"  # there is no other tool to choose
    if wire == "ollama":
        # it has no choice: the gateway holds the answer to it
        out.tools = [] if talk.choice == "none" else out.tools
        out.choice = "auto"
    return out


def test_a_thought_goes_back_between_calls_where_the_template_reads_it() -> None:
    talk = next(t for t in TALKS if t.name.startswith("a thought"))
    for client in CLIENTS:
        request = CODECS[client].parse_request(body_of(client, talk))
        for wire, field in (("vllm", "reasoning"), ("llamacpp", "reasoning_content"), ("ollama", "thinking")):
            call = load(wire).build(request, Target("b", wire, "m"), facts_of(wire))
            asked = next(m for m in json.loads(call.octets())["messages"] if m["role"] == "assistant")
            assert asked[field] == "I should look.", (client, wire)
