"""What reaches a server for request n of a conversation is a prefix of what reaches it for request n + 1."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from gateway.backends import kinds, load
from gateway.canonical.facts import Facts, Target
from gateway.canonical.requests import Chat
from gateway.dialects.openai import chat_codec
from tests.conversation import TOOLS, conversation


def prompts(kind: str) -> list[tuple[bytes, list[bytes]]]:
    """(the tools, each message) of every request, as bytes."""
    backend = load(kind)
    out = []
    for messages in conversation("You read files."):
        request = chat_codec.parse_request({"model": "m", "messages": messages, "tools": TOOLS})
        assert isinstance(request, Chat)
        call = backend.build(request, Target("b", kind, "gemma-4-e4b-it"), Facts(family="gemma4"))
        body = msgspec.json.decode(call.octets(), type=dict[str, msgspec.Raw])
        parts = next(body[k] for k in ("messages", "contents") if k in body)
        out.append((bytes(body["tools"]), [bytes(m) for m in msgspec.json.decode(parts, type=list[msgspec.Raw])]))
    return out


@pytest.mark.parametrize("kind", [k for k in kinds() if load(k).assumed.tools is not False])
def test_request_n_is_a_prefix_of_request_n_plus_1(kind: str):
    told = prompts(kind)
    assert len({tools for tools, _ in told}) == 1
    for (_, shorter), (_, longer) in pairwise(told):
        assert longer[: len(shorter)] == shorter and len(longer) > len(shorter)
