"""The control tokens of a family's prompt format, and how text that holds them is made harmless.

A server that tokenizes special tokens in content takes `<turn|>` in a user's text or a tool's result for the end of the
turn: whoever writes a web page that a tool reads could speak as the user. A space-like character that cannot be seen
inside the token breaks it; the reader sees the same text, and the same text always gives the same bytes, so that the
server's prefix cache still works.
"""

from __future__ import annotations

import re

BREAK = "\u2060"
"""WORD JOINER: no width, no line break, in no token of these families."""

_GEMMA4 = "turn|channel|tool|tool_call|tool_response|think|image|audio|video"
_TOKENS: dict[str, str] = {
    # https://ai.google.dev/gemma/docs/core/prompt-structure; <mask>, <unk> and <pad> are tokens, too, but steer
    # nothing, and stand in SVG and in code
    "gemma4": rf"<\|(?=(?:{_GEMMA4})\|?>|\"\|>)|<(?=(?:{_GEMMA4})\|>|bos>|eos>)",
    # https://qwen.readthedocs.io/en/latest/getting_started/concepts.html
    "qwen": r"<\|(?=(?:im_start|im_end|endoftext|object_ref_start|object_ref_end|box_start|box_end|quad_start|quad_end"
    r"|vision_start|vision_end|vision_pad|image_pad|video_pad|audio_start|audio_end|AUDIO)\|>)"
    r"|<(?=/?(?:tool_call|tool_response|think)>)",
    # https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/
    "llama": r"<\|(?=(?:begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id|python_tag|image"
    r"|finetune_right_pad_id|header_start|header_end|eot|eom)\|>)",
    # https://docs.mistral.ai/cookbooks/concept-deep-dive-tokenization-control_tokens
    "mistral": r"\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_RESULTS|SYSTEM_PROMPT|THINK|IMG|AUDIO)\]|(?:TOOL_CALLS|ARGS"
    r"|CALL_ID|IMG_END|IMG_BREAK|BEGIN_AUDIO|TOOL_CONTENT)\])|<(?=/?s>)",
}
_PATTERNS = {family: re.compile(tokens) for family, tokens in _TOKENS.items()}


def neutralised(text: str, family: str | None) -> str:
    """`text` with every control token of the family broken after its first bracket; the same object if it holds none,
    and for a family without a table."""
    pattern = _PATTERNS.get(family) if family is not None else None
    if pattern is None or ("<" not in text and "[" not in text):
        return text
    return pattern.sub(lambda m: m.group() + BREAK, text)
