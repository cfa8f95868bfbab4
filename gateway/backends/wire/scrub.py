"""Takes out of a server's words what no client may read: addresses, paths of the machine, keys, long data."""

from __future__ import annotations

import re

LONGEST = 2048
"""Bytes of a server's message that a client gets to see."""

_READ = 8192

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"data:[\w/+.-]*(?:;[\w=+.-]+)*;base64,\s?[\w+/=-]*"), "<data>"),
    (re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s\"'<>`\]})]+"), "<url>"),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/=-]{4,}"), "<key>"),
    (
        re.compile(r"(?i)\b(?:x-)?(?:api[_-]?key|authorization|secret|password)\b[\"']?\s*[:=]\s*[\"']?[^\s\"',}]+"),
        "<key>",
    ),
    (re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|ghp|glpat|nvapi|eyJ)[-_][\w*.-]{6,}|\bAIza[\w-]{16,}|\bhf_\w{8,}"), "<key>"),
    (re.compile(r"\(\s*['\"][\w.:-]+['\"]\s*,\s*\d{2,5}\s*\)"), "<address>"),  # Python's ('127.0.0.1', 9)
    (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]*\d)"), "<address>"),
    (re.compile(r"\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.%\w]*\](?::\d{1,5})?"), "<address>"),
    (re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:])"), "<address>"),
    (
        re.compile(
            r"(?<![\w:.])(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?(?![\w:])"
        ),
        "<address>",
    ),
    (re.compile(r"(?i)\blocalhost(?::\d{1,5})?\b"), "<address>"),
    (
        re.compile(
            r"(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:local|internal|lan|localdomain|cluster|svc|corp|home|intranet)(?::\d{1,5})?\b"
        ),
        "<address>",
    ),
    (re.compile(r"(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+)+:\d{2,5}\b"), "<address>"),
    (re.compile(r"(?i)\b[a-z][\w.-]*:\d{4,5}\b"), "<address>"),
    (re.compile(r"\b[A-Za-z]:\\[^\s\"'<>|]+"), "<path>"),
    (re.compile(r"(?<![\w/#.<])~?(?!/v1/|/v1beta/)(?:/[\w.+@=-]+){2,}/?"), "<path>"),
    (re.compile(r"<[\w.]+ object at 0x[0-9a-fA-F]+>"), "<object>"),
    (re.compile(r"[\w+/=-]{200,}"), "<data>"),
)


def scrub(text: str) -> str:
    """`text` without URLs, hosts, addresses, absolute paths, keys and long data; at most LONGEST bytes of UTF-8."""
    text = text[:_READ]
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text).strip()
    raw = text.encode("utf-8", "replace")
    if len(raw) <= LONGEST:
        return raw.decode("utf-8")
    return raw[: LONGEST - 3].decode("utf-8", "ignore") + "..."
