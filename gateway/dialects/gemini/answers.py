"""What whole answers and streams share: usage, how an answer ended, token probabilities; and whole answers, rendered.

A stream here is a row of whole answers, each with the pieces that are new: `decoder.py` reads both.
A field that is not modelled survives: of the answer in `answer.extra["gemini"]`, of a candidate in
`choice.extra["gemini.choice"]`, of the usage in `usage.extra["gemini.usage"]`, of a part in
`part.extra["gemini.part"]`.
Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Finish, Usage
from gateway.dialects.fields import Json
from gateway.dialects.gemini.fields import DIALECT
from gateway.dialects.gemini.parts import sign

TOP: Final = DIALECT
CHOICE: Final = "gemini.choice"
USAGE: Final = "gemini.usage"
PART: Final = "gemini.part"

_MEANS: Final[dict[str, Finish]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "JAILBREAK",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
}
"""`finishReason` -> what it means. Anything else is an end of its own kind, and its word is kept."""
_WORD: Final[dict[Finish, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "error": "OTHER",
}
MALFORMED: Final = "MALFORMED_FUNCTION_CALL"
UNUSABLE: Final = frozenset(
    (
        MALFORMED,
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    )
)
"""Ends after which no call may be run: the model meant another one than it wrote."""
_OWN_ENDS: Final = frozenset(
    (
        "CONTINUATION",  # would make clients ask again on their own
        *_WORD.values(),
    )
)


def read_finish(word: str, called: bool) -> tuple[Finish, str | None]:
    """(how it ended, the server's word where that says more). `called` = the choice holds a call."""
    finish = _MEANS.get(word, "stop")
    if finish == "stop" and called and word not in UNUSABLE:
        finish = "tool_calls"
    return finish, None if word in ("STOP", "MAX_TOKENS") else word


def write_finish(finish: Finish | None, native: str | None) -> str | None:
    """`finishReason`; None while there is none. A word of this dialect's own is given back."""
    if finish is None:
        return None
    known = native is not None and native.isascii() and native.isupper() and native not in _OWN_ENDS
    if known and native is not None and _MEANS.get(native, "stop") == ("stop" if finish == "tool_calls" else finish):
        return native
    return _WORD[finish]


_COUNTS: Final = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount")


def parse_usage(value: object) -> Usage | None:
    """Counts of zero are left out there. A few servers count the thoughts among the candidates' tokens already, which
    the total tells."""
    if not isinstance(value, dict):
        return None
    prompt, candidates, thoughts = (_count(value.get(name)) or 0 for name in _COUNTS[:3])
    tool_use = _count(value.get("toolUsePromptTokenCount")) or 0
    total = _count(value.get("totalTokenCount"))
    spent = prompt + tool_use
    made = candidates if total == spent + candidates else candidates + thoughts
    kept = {k: v for k, v in value.items() if v is not None and k not in (*_COUNTS, "totalTokenCount")}
    if total is not None and total != spent + made:
        kept["totalTokenCount"] = total
    return Usage(
        spent,
        made,
        _count(value.get("cachedContentTokenCount")),
        thoughts or None,
        {USAGE: kept} if kept else None,
        _audio(value.get("promptTokensDetails")),
    )


def _audio(details: object) -> int | None:
    for entry in details if isinstance(details, list) else ():
        if isinstance(entry, dict) and entry.get("modality") == "AUDIO":
            return _count(entry.get("tokenCount"))
    return None


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def render_usage(usage: Usage) -> Json:
    """Only what is known. The thoughts are counted apart."""
    out: Json = {}
    kept: Json = (usage.extra or {}).get(USAGE) or {}
    thoughts = usage.reasoning or 0
    if usage.input is not None:
        out["promptTokenCount"] = usage.input - (_count(kept.get("toolUsePromptTokenCount")) or 0)
    if usage.output is not None:
        out["candidatesTokenCount"] = max(0, usage.output - thoughts)
    if thoughts:
        out["thoughtsTokenCount"] = thoughts
    if usage.cached is not None:
        out["cachedContentTokenCount"] = usage.cached
    if usage.input is not None and usage.output is not None:
        out["totalTokenCount"] = usage.input + usage.output
    if usage.audio is not None:
        out["promptTokensDetails"] = [{"modality": "AUDIO", "tokenCount": usage.audio}]
    return {**out, **kept}


def parse_logprobs(value: object) -> Any:
    """`logprobsResult` -> the canonical form: a row of tokens under `content`. None if there are none."""
    if not isinstance(value, dict) or not isinstance(value.get("chosenCandidates"), list):
        return None
    tops = value.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for i, chosen in enumerate(value["chosenCandidates"]):
        if not isinstance(chosen, dict):
            return None
        top = tops[i].get("candidates") if i < len(tops) and isinstance(tops[i], dict) else None
        token = _token(chosen)
        token["top_logprobs"] = [_token(t) for t in top if isinstance(t, dict)] if isinstance(top, list) else []
        content.append(token)
    return {"content": content}


def _token(value: Json) -> Json:
    """The octets of a token are not said there: those of its text stand for them."""
    given = value.get("token")
    text = given if isinstance(given, str) else ""
    return {"token": text, "logprob": value.get("logProbability", 0.0), "bytes": list(text.encode())}


def render_logprobs(value: Any) -> Json | None:
    tokens = value.get("content") if isinstance(value, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(t, dict) for t in tokens):
        return None
    out: Json = {"chosenCandidates": [_candidate(t) for t in tokens]}
    if any(t.get("top_logprobs") for t in tokens):
        out["topCandidates"] = [{"candidates": [_candidate(x) for x in t.get("top_logprobs") or ()]} for t in tokens]
    return out


def _candidate(token: Json) -> Json:
    return {"token": token.get("token", ""), "logProbability": token.get("logprob")}


def render_answer(answer: Answer) -> Json:
    """The whole answer. A candidate always has a part: SDKs drop a turn without one from the conversation. One that
    the filter left nothing of has none, as with the API itself."""
    out: Json = {"candidates": [_render_choice(i, c) for i, c in enumerate(answer.choices)]}
    if answer.usage is not None:
        out["usageMetadata"] = render_usage(answer.usage)
    if answer.model:
        out["modelVersion"] = answer.model
    if answer.id:
        out["responseId"] = answer.id
    return {**((answer.extra or {}).get(TOP) or {}), **out}


def _render_choice(index: int, choice: Choice) -> Json:
    parts: list[Json] = []
    foreign: list[Json] = []
    finish, native, note = choice.finish, choice.native, choice.note
    for part in choice.parts:
        if isinstance(part, Opaque) and part.dialect != DIALECT:
            foreign.append({"dialect": part.dialect, "type": part.type, "raw": part.raw})
            continue
        if isinstance(part, Refusal) and finish == "stop":
            finish = "content_filter"
        if isinstance(part, ToolCall) and call_arguments(part.arguments, part.kind) is None:
            if finish != "length":
                finish, native, note = "error", MALFORMED, malformed(part.name, part.arguments)
            continue
        rendered = render_part(part)
        if rendered is not None:
            parts.append(rendered)
    if not parts and finish != "content_filter":
        parts.append({"text": ""})
    out: Json = {"content": {"role": "model", "parts": parts}}
    reason = MALFORMED if native == MALFORMED else write_finish(finish, native)
    if reason is not None:
        out["finishReason"] = reason
    if note is not None:
        out["finishMessage"] = note
    out["index"] = index
    logprobs = render_logprobs(choice.logprobs)
    if logprobs is not None:
        out["logprobsResult"] = logprobs
    if foreign:
        out["gateway"] = {"opaque_parts": foreign}
    return {**((choice.extra or {}).get(CHOICE) or {}), **out}


def render_part(part: Any) -> Json | None:
    """A part of an answer; None for an empty one. A call whose arguments can't be read is not for here."""
    out: Json
    if isinstance(part, Text | Refusal):
        out = {"text": part.text}
    elif isinstance(part, Thinking):
        out = {"text": part.text, "thought": True}
    elif isinstance(part, ToolCall):
        out = {"functionCall": {"id": part.id, "name": part.name, "args": call_arguments(part.arguments, part.kind)}}
    elif isinstance(part, Opaque):
        out = {part.type: part.raw}
    else:
        raise ValueError(f"an answer has no {type(part).__name__} part")
    sign(out, part.signature)
    out |= (part.extra or {}).get(PART) or {}
    return None if out in ({"text": ""}, {"text": "", "thought": True}) else out


def call_arguments(arguments: str, kind: str = "function") -> Json | None:
    """The object that `args` must be; None if the text is none: it was cut, or a server wrote it wrong."""
    if kind == "custom":
        return {"input": arguments}
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return value if isinstance(value, dict) else None


def malformed(name: str, arguments: str) -> str:
    return f"Malformed function call: {name}({arguments[:256]})"
