"""What an operator should know about a target, from its facts alone: no server is asked. Codes never change their
meaning; what a server's own probe found comes beside these (`Discovery.findings`)."""

from __future__ import annotations

import re
from typing import Literal

from gateway.canonical.facts import Finding, State
from gateway.routing.candidate import Candidate
from gateway.routing.fit import WEIGHT_ONLY

Level = Literal["error", "warning", "note"]
"""error: requests that should work don't. warning: they work worse than they could, or may break. note: worth
knowing."""

CODES: dict[str, tuple[Level, str]] = {
    "unreachable": ("error", "The server does not answer, or was not seen yet."),
    "loading": ("note", "The server is loading its model."),
    "failed-model": ("error", "The server tried to load the model and could not."),
    "not-loaded": ("warning", "The model is not loaded, and the server does not load models on demand."),
    "no-key": (
        "error",
        "The server wants an API key that the configuration does not give it, or refuses the one it has.",
    ),
    "redirect": ("error", "The address redirects. Redirects are never followed: a key could end up elsewhere."),
    "web-page": ("error", "A web page answers at the address, not an API."),
    "other-api": ("error", "Something answers that is not a server of the configured kind."),
    "wrong-kind": ("warning", "The server is of another kind than the configuration says."),
    "kind-guessed": (
        "note",
        "Nothing tells what kind of server it is: it is taken for one that speaks the OpenAI API.",
    ),
    "no-models": ("error", "The server answers and lists no models."),
    "wrong-model": ("error", "The server does not list the model that the configuration names."),
    "which-model": ("warning", "The server does not say which of its models it has loaded."),
    "mixed-name": ("note", "One public name leads to models of different sizes."),
    "unsupported-model": ("warning", "Servers of this kind are known not to run this model well."),
    "unknown-media": (
        "note",
        "Neither the server nor the model's name says whether it takes pictures, sound or video.",
    ),
    "no-image": ("warning", "The model sees, and this server does not let it."),
    "no-audio": ("warning", "The model hears, and this server does not let it."),
    "no-video": ("warning", "The model takes video, and this server does not let it."),
    "media-limit": ("warning", "The server takes one picture in a request; a conversation soon holds more."),
    "no-tools": ("warning", "The model calls tools, and this server does not let it."),
    "no-tool-parser": ("warning", "The server was started without a parser for tool calls."),
    "no-reasoning-parser": ("warning", "The server was started without a parser for thoughts."),
    "small-context": ("warning", "The context is smaller than what coding agents send with their first request."),
    "old-template": ("warning", "The model's chat template is older than its last known fault."),
    "attention-override": ("warning", "An attention kernel was chosen by hand that may not take heads of 512."),
    "nvfp4-hardware": ("warning", "NVFP4 weights on something else than Blackwell."),
    "moe-quantization": ("warning", "A quantization that does not fit the experts of 26B-A4B."),
    "body-limit": ("warning", "The server, or a proxy before it, refuses bodies as large as the media that it takes."),
    "clock-skew": ("warning", "The server's clock and the gateway's differ: logs and signed URLs do not match."),
    "cloud-models": ("note", "The server lists models that run elsewhere. They are left out."),
}
"""All codes -> how bad it is, and what it means."""

SMALL_CONTEXT = 8192
"""Tokens: less than coding agents send with their first request."""

_STATES: dict[str, tuple[str, str]] = {
    "down": ("unreachable", "it can't be reached"),
    "unprobed": ("unreachable", "it was not seen yet"),
    "loading": ("loading", "it is loading its model"),
    "mismatch": ("wrong-model", "it serves another model than the configuration names"),
}
_STATE_FIXES = {
    "unreachable": "start it there, or correct its `url`",
    "wrong-model": "set the target's `model` to what it serves, or let it serve that one; then reload",
}
_LOOPBACK = re.compile(r"//(?:127\.\d+\.\d+\.\d+|localhost|\[::1\])(?::|/|$)")
_K_QUANT = re.compile(r"q[2-6]_k(?:_\w+)?")


def findings(c: Candidate, url: str = "", *, in_container: bool = False) -> list[Finding]:
    """`url` is the backend's; `in_container`: the gateway itself runs in one."""
    out: list[Finding] = []
    if c.state in _STATES:
        out.append(state_finding(c.state, c.detail, c.target.model, url, in_container=in_container))
        if c.state != "loading":
            return out
    return out + _abilities(c) + _quantization(c)


def state_finding(state: State, detail: str, model: str, url: str, *, in_container: bool) -> Finding:
    """What a state says in which nothing, or something else, is served. Of a server that was never seen there is no
    model to name."""
    code, text = _STATES[state]
    fix = _STATE_FIXES.get(code, "")
    if code == "unreachable" and in_container and _LOOPBACK.search(url):
        text += ", and its address is the container's own loopback"
        fix = (
            "set `url` to http://host.docker.internal:PORT (on Linux start the gateway's container with "
            "--add-host host.docker.internal:host-gateway), or put both containers into one network"
        )
    return Finding(code, f"{text}{f': {detail}' if detail else ''}", fix, model)


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
    # of a family that nobody knows, that it takes text alone is no more than a guess
    unknown = [m for m in ("image", "audio", "video") if getattr(f, m) is None or f.sources.get(m) == "family"]
    if unknown and f.family is None and not f.fixture and f.operations != frozenset({"embedding"}):
        text = f"nobody says whether it takes {', '.join(unknown)}: requests with them go elsewhere"
        say = ", ".join(f"{m}: true" for m in unknown)
        out.append(Finding("unknown-media", text, f"say at its backend what holds: `facts: {{{say}}}`", model))
    if f.image and f.image_limit == 1:
        out.append(Finding("media-limit", "it takes one picture in a request", c.hints.get("image_limit", ""), model))
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
        fix = c.hints.get("moe_quantization", "use FP8, INT8 or the Q4_0 of quantization-aware training")
        out.append(Finding("moe-quantization", text, fix, model))
    return out
