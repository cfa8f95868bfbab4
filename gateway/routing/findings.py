"""What an operator should know about a target, from its facts alone: no server is asked. Codes never change their
meaning; what a server's own probe found comes beside these (`Discovery.findings`)."""

from __future__ import annotations

import re

from gateway.canonical.facts import Finding
from gateway.routing.candidate import Candidate
from gateway.routing.fit import WEIGHT_ONLY

SMALL_CONTEXT = 8192
"""Tokens: less than coding agents send with their first request."""

_STATES = {
    "down": ("unreachable", "it can't be reached"),
    "unprobed": ("unreachable", "it was not seen yet"),
    "loading": ("loading", "it is loading its model"),
    "mismatch": ("wrong-model", "it serves another model than the configuration names"),
}
_LOOPBACK = re.compile(r"//(?:127\.\d+\.\d+\.\d+|localhost|\[::1\])(?::|/|$)")
_K_QUANT = re.compile(r"q[2-6]_k(?:_\w+)?")


def findings(c: Candidate, url: str = "", *, in_container: bool = False) -> list[Finding]:
    """`url` is the backend's; `in_container`: the gateway itself runs in one."""
    out: list[Finding] = []
    model = c.target.model
    if c.state in _STATES:
        code, text = _STATES[c.state]
        fix = ""
        if code == "unreachable" and in_container and _LOOPBACK.search(url):
            text += ", and its address is the container's own loopback"
            fix = "use the host's address (host.docker.internal), or a network of both containers"
        out.append(Finding(code, f"{text}{f': {c.detail}' if c.detail else ''}", fix, model))
        if c.state != "loading":
            return out
    return out + _abilities(c) + _quantization(c)


def _abilities(c: Candidate) -> list[Finding]:
    """What its family can do and this server does not let it."""
    f, model = c.facts, c.target.model
    out = []
    if f.family == "gemma4" and f.operations != frozenset():
        for modality in ("image", "audio", "video"):
            able = modality != "audio" or (f.variant or "") in ("e2b", "e4b", "12b")
            if able and getattr(f, modality) is False:
                text = f"the model takes {modality}, and this server does not let it"
                out.append(Finding(f"no-{modality}", text, c.hints.get(modality, ""), model))
        if f.tools is False and f.operations != frozenset({"completion"}):
            text = "the model calls tools, and this server does not let it"
            out.append(Finding("no-tools", text, c.hints.get("tools", ""), model))
    if f.context is not None and f.context < SMALL_CONTEXT and not f.fixture:
        text = f"its context of {f.context} tokens is too small for most agents"
        out.append(Finding("small-context", text, c.hints.get("context", ""), model))
    return out


def _quantization(c: Candidate) -> list[Finding]:
    f, model = c.facts, c.target.model
    out = []
    if f.quantization == "nvfp4" and f.hardware != "blackwell":
        text = f"NVFP4 on {f.hardware or 'hardware that is not known'}: without Blackwell only its weights are of use"
        fix = f"say `hardware: blackwell` if it is one, or `allow: [{WEIGHT_ONLY}]`"
        out.append(Finding("nvfp4-hardware", text, "" if WEIGHT_ONLY in c.allow else fix, model))
    mixture = (f.variant or "").startswith("26b")
    if mixture and (f.quantization == "w4a16" or _K_QUANT.fullmatch(f.quantization or "")):
        text = f"{f.quantization} does not fit the experts of 26B-A4B, which are 704 wide"
        out.append(Finding("moe-quantization", text, "use FP8, INT8 or the Q4_0 of quantization-aware training", model))
    return out
