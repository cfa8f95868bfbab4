"""Any other server that speaks Chat Completions, hosted ones included.

Nothing is taken for granted but text, tools, schemas, logprobs and streams; what else such a server can do, the
operator says in its `facts:`. Fields that only some servers know are not sent, since unknown servers may refuse them:
thinking is only spoken of when the client does, and the samplers that the API's own maker does not have are dropped
and named. The length limit goes as `max_tokens`, which every such server knows, but for the models that refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from gateway.backends import Call, Discovery, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire
from gateway.backends.wire.listing import cards, trouble
from gateway.backends.wire.prepare import Manner
from gateway.backends.wire.refusal import Signs
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, ThinkingConfig

_NEW_LIMIT = re.compile(r"(?:[\w.-]+/)?(?:o\d|gpt-[5-9])")
"""Models that answer 400 to `max_tokens`. https://platform.openai.com/docs/api-reference/chat/create"""

_SAY = "say in the backend's `facts:` what it can do"


class Backend(OpenAIWire):
    kind = "openai"
    local = False
    tier = 3
    slots = 16
    assumed = Facts(
        operations=frozenset({"chat", "completion", "embedding"}),
        tools=True,
        forced_tool="verified",
        json_schema="verified",
        logprobs=True,
        choices=16,
        prefill=False,
        counts=False,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        **dict.fromkeys(
            ("image", "audio", "video", "document", "audio_out", "tools", "forced_tool", "json_schema", "logprobs"),
            _SAY,
        ),
        **dict.fromkeys(("choices", "seed", "thinking", "prefill", "context"), _SAY),
        **dict.fromkeys(("operation", "chat", "completion", "embedding"), _SAY),
        "count_tokens": "servers of this kind have no common way to count tokens",
    }
    manner = Manner(
        extras=frozenset({"audio", "cache_control", "extra_content"}),
        sampling=frozenset({"top_k", "min_p", "repetition_penalty"}),
        whole_dialect=True,
        thoughts=False,
    )
    signs = Signs(
        context=re.compile(
            r"(?i)context_length_exceeded|maximum context length|context (?:length|window|size)[^.]{0,40}exceed"
            r"|exceed[^.]{0,60}context (?:length|window|size)|prompt is too long|input is too long"
        ),
        modality=re.compile(
            r"(?i)(?:image|audio|video)s?(?: inputs?)? (?:is|are) not supported"
            r"|does not support (?:image|audio|video|vision)"
        ),
        gone=re.compile(r"(?i)model_not_found|model ['\"`]?[^'\"`]{1,200}['\"`]? (?:does not exist|not found)"),
    )
    reasoning_field = "reasoning_content"
    health = "/v1/models"

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        body.pop("reasoning", None)
        body.pop("chat_template_kwargs", None)
        if thinking.budget is not None:
            dropped.append("thinking_budget")
        if thinking.enabled is None:
            return
        effort = thinking.effort if thinking.effort not in (None, "none") else "medium"
        body["reasoning_effort"] = effort if thinking.enabled else "none"

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        if "max_tokens" in body and _NEW_LIMIT.match(body["model"]):
            body["max_completion_tokens"] = body.pop("max_tokens")

    def claims(self, models: Reply) -> bool:
        """Anything that lists models in this dialect's way."""
        return bool(cards(models))

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if found is None:
            return trouble(listed)
        if not found:
            return Discovery("down", detail="it lists no models")
        return Discovery("ready", [_model(c) for c in found], version="")


def _model(card: Json) -> Model:
    """A card's id, and the room where the server tells: several names for it are about."""
    facts = Facts()
    for key in ("context_length", "max_model_len", "context_window", "max_context_length"):
        value = card.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            facts.context = value
            break
    root = card.get("root")
    return Model(card["id"], [], facts, root=root if isinstance(root, str) else "")
