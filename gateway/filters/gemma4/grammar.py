"""The markers of Gemma 4."""

from __future__ import annotations

import re

CALL_OPEN = "<|tool_call>"
CALL_CLOSE = "<tool_call|>"
CHANNEL_OPEN = "<|channel>"
CHANNEL_CLOSE = "<channel|>"
RESPONSE_OPEN = "<|tool_response>"
RESPONSE_CLOSE = "<tool_response|>"
TURN_OPEN = "<|turn>"
TURN_CLOSE = "<turn|>"
EOS = "<eos>"
DELIM = '<|"|>'

MARKERS = (
    CALL_OPEN,
    CALL_CLOSE,
    CHANNEL_OPEN,
    CHANNEL_CLOSE,
    RESPONSE_OPEN,
    RESPONSE_CLOSE,
    TURN_OPEN,
    TURN_CLOSE,
    EOS,
    DELIM,
    "<bos>",
    "<|tool>",
    "<tool|>",
    "<|think|>",
    "<|image|>",
    "<|audio|>",
    "<|video|>",
)

EMPTY_THOUGHT = CHANNEL_OPEN + "thought\n" + CHANNEL_CLOSE
"""What the template puts before an answer of the large sizes when thinking is off."""

MARKER = re.compile("|".join(re.escape(m) for m in sorted(MARKERS, key=len, reverse=True)))


def without_markers(text: str) -> str:
    """`text` without any marker: what may be shown of a call that can't be read."""
    for _ in range(4):
        if not MARKER.search(text):
            return text
        text = MARKER.sub("", text)  # taking one out can make another
    return text.replace("<", "")
