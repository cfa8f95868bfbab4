"""docs/coverage.md: every field of every dialect and what becomes of it. `python -m tests.docs.coverage` writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.dialects import anthropic, gemini, ollama, openai
from gateway.dialects.anthropic.messages import FATES as MESSAGES
from gateway.dialects.gemini.config import FATES as CONFIG
from gateway.dialects.gemini.requests import FATES as GENERATE
from gateway.dialects.ollama.requests import CHAT_FATES, EMBED_FATES, GENERATE_FATES
from gateway.dialects.openai.audio import FATES as AUDIO
from gateway.dialects.openai.chat import FATES as CHAT
from gateway.dialects.openai.completions import FATES as COMPLETIONS
from gateway.dialects.openai.embeddings import FATES as EMBEDDINGS
from gateway.dialects.openai.relayed import FORMS as RELAYED
from gateway.dialects.openai.relayed import RelayedCodec
from gateway.dialects.openai.responses import responses_codec
from gateway.dialects.openai.responses.requests import FATES as RESPONSES

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
WORDS = {
    "modelled": "translated",
    "extra": "kept",
    "bound": "kept, else refused",
    "dropped": "dropped and named",
    "refused": "refused",
}
"""What the tables of the code say -> what the page says."""


@dataclass(frozen=True)
class Form:
    """One operation of one dialect. `least`: the smallest body that is a request; `kept_in`: the dialect's name in a
    request's extras; `under`: the object of the body that holds the fields."""

    title: str
    path: str
    fates: Mapping[str, str]
    parse: Callable[[dict[str, Any]], Any]
    least: dict[str, Any]
    kept_in: str = "openai"
    under: str = ""


USER = [{"role": "user", "content": "x"}]
CONTENTS = [{"parts": [{"text": "x"}]}]
FORMS = [
    Form(
        "Chat Completions",
        "/v1/chat/completions",
        CHAT,
        openai.chat_codec.parse_request,
        {"model": "m", "messages": USER},
    ),
    Form(
        "Responses",
        "/v1/responses",
        RESPONSES,
        lambda b: responses_codec.parse_request(b),
        {"model": "m", "input": "x"},
    ),
    Form(
        "Messages",
        "/v1/messages",
        MESSAGES,
        anthropic.messages_codec.parse_request,
        {"model": "m", "max_tokens": 9, "messages": USER},
        "anthropic",
    ),
    Form(
        "Gemini",
        "/v1beta/models/M:generateContent",
        GENERATE,
        gemini.generate_codec.parse_request,
        {"model": "m", "contents": CONTENTS},
        "gemini",
    ),
    Form(
        "Gemini's generationConfig",
        "the same",
        CONFIG,
        gemini.generate_codec.parse_request,
        {"model": "m", "contents": CONTENTS},
        "gemini",
        "generationConfig",
    ),
    Form(
        "Ollama chat",
        "/api/chat",
        CHAT_FATES,
        ollama.chat_codec.parse_request,
        {"model": "m", "messages": USER},
        "ollama",
    ),
    Form(
        "Ollama generate",
        "/api/generate",
        GENERATE_FATES,
        ollama.generate_codec.parse_request,
        {"model": "m", "prompt": "x"},
        "ollama",
    ),
    Form(
        "Completions",
        "/v1/completions",
        COMPLETIONS,
        openai.completion_codec.parse_request,
        {"model": "m", "prompt": "x"},
    ),
    Form(
        "Embeddings", "/v1/embeddings", EMBEDDINGS, openai.embedding_codec.parse_request, {"model": "m", "input": "x"}
    ),
    Form(
        "Transcriptions",
        "/v1/audio/transcriptions",
        AUDIO,
        openai.transcription_codec.parse_request,
        {"model": "m", "file": "AAAA", "response_format": "verbose_json"},
    ),
    Form(
        "Translations",
        "/v1/audio/translations",
        AUDIO,
        openai.translation_codec.parse_request,
        {"model": "m", "file": "AAAA", "response_format": "verbose_json"},
    ),
    *(
        Form(title, path, RELAYED[operation].fates, RelayedCodec(operation).parse_request, least)
        for title, path, operation, least in (
            ("Rerank", "/v1/rerank", "rerank", {"model": "m", "query": "x", "documents": ["x"]}),
            ("Speech", "/v1/audio/speech", "speech", {"model": "m", "input": "x"}),
            ("Images", "/v1/images/generations", "images", {"model": "m", "prompt": "x"}),
            ("Infill", "/infill", "infill", {"model": "m"}),
        )
    ),
    Form(
        "Ollama embed",
        "/api/embed",
        EMBED_FATES,
        ollama.embed_codec.parse_request,
        {"model": "m", "input": "x"},
        "ollama",
    ),
]

INTRODUCTION = """# What becomes of each field

Every field of every request has one of these fates. This page is written from the tables that the code itself goes by
(`python -m tests.docs.coverage`), and a test holds both to it.

- **translated**: part of the common schema: any server that has something like it gets it in its own words, and one
  that lacks it is not chosen, or the answer's `x-gateway-dropped` names the field.
- **kept**: only this dialect has it. A server of the same dialect that knows it gets it; anywhere else it is named in
  `x-gateway-dropped`, and refused where it would change what the answer means (a grammar, a choice of texts).
- **kept, else refused**: the same for what no other server can do at all.
- **dropped and named**: it only labels or tunes, and no server here has it. So is every field that is not listed.
- **refused**: 400 with the field's name. Its default, written out, passes.

`gateway: {parts: strict}` and `provider: {require_parameters: true}` turn dropping into a reason not to choose a
server.
"""


def page() -> str:
    """The whole page."""
    out = [INTRODUCTION, "## At a glance\n", _glance()]
    for form in FORMS:
        out.append(f"## {form.title}\n\n`{form.path}`\n")
        for fate, words in WORDS.items():
            names = sorted(k for k, v in form.fates.items() if v == fate)
            if names:
                out.append(f"- **{words}**: {', '.join(f'`{n}`' for n in names)}")
        out.append("")
    return "\n".join(out)


def _glance() -> str:
    """Fields that two forms or more have; one letter each."""
    letters = {fate: words[0].upper() if fate != "bound" else "K" for fate, words in WORDS.items()}
    counted: dict[str, int] = {}
    for form in FORMS:
        for name in form.fates:
            counted[name] = counted.get(name, 0) + 1
    rows = ["T translated, K kept, D dropped and named, R refused; empty: the form has no such field.\n"]
    rows.append("| field | " + " | ".join(f.title for f in FORMS) + " |")
    rows.append("|---" * (len(FORMS) + 1) + "|")
    for name in sorted(n for n, times in counted.items() if times > 1):
        cells = (letters[f.fates[name]] if name in f.fates else "" for f in FORMS)
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
