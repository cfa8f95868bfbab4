"""What is said when no target can take a request: one error, in words that a person can act on.

Which one, by the nearest target: it only is not up -> 503; only its context is short -> 400 `context_length_exceeded`;
only privacy forbids it -> 403; only the format of a medium -> 415; nobody serves such an operation -> 501; else 400
`no_target_fits` with every need and what each target lacks. Labels only: never an address, and nothing that a server
said about itself.
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.needs import Needs
from gateway.errors import (
    ContextTooLong,
    GatewayError,
    NoHealthyBackend,
    NoTargetFits,
    NotImplementedHere,
    PrivacyRail,
    UnsupportedMedia,
)
from gateway.routing.candidate import Lack, Verdict
from gateway.routing.fit import RELAYED

MAX_MESSAGE = 1024
_PROMPT = {"completion": "prompt", "embedding": "input"}
"""Where the prompt stands in a request; `messages` elsewhere."""
_MORE = " More in `gateway.targets`."
RETRY_AFTER = 5.0
"""Seconds: a server that is down or loading is looked at every second, and used within two of being ready."""


def refuse(verdicts: list[Verdict], needs: Needs, model: str) -> GatewayError:
    """The error for `verdicts`, each of which holds at least one lack. `detail` = {"targets": one view of each}."""
    name = repr(model if len(model) <= 120 else model[:117] + "...")
    detail = {"targets": [view(v) for v in verdicts]}
    if not verdicts:
        text = f"no server for {name} has been found yet. Try again in a few seconds."
        return NoHealthyBackend(text, retry_after=RETRY_AFTER, detail=detail)
    waiting = _only(verdicts, "state", "busy")
    if waiting:
        text = _compose(f"{name} can't be served right now:", waiting, "Try again in a few seconds.")
        return NoHealthyBackend(text, retry_after=RETRY_AFTER, detail=detail)
    short = _only(verdicts, "context", "state", "busy")
    if short:
        return ContextTooLong(
            _compose(f"no target of {name} has room for this prompt.", short, "Send less, or a target with more room."),
            param=_PROMPT.get(needs.operation, "messages"),
            detail=detail,
        )
    kept = _only(verdicts, "privacy", "state", "busy")
    if kept:
        param = _one_path(kept)
        start = (
            f"only hosted targets of {name} could take this request, and the operator's privacy setting keeps it home."
        )
        return PrivacyRail(_compose(start, kept, ""), param=param, detail=detail)
    if needs.operation in RELAYED and all(any(x.need == needs.operation for x in v.lacks) for v in verdicts):
        start = f"no target of {name} serves {needs.operation} requests, and nothing can be put in their place."
        return NotImplementedHere(_compose(start, verdicts, ""), detail=detail)
    formats = _only_formats(verdicts)
    if formats:
        start = f"no target of {name} takes media of this format, and they can't be converted."
        return UnsupportedMedia(_compose(start, formats, ""), param=_one_path(formats), detail=detail)
    start = f"no target of {name} can take this request, which needs {words(needs)}."
    return NoTargetFits(_compose(start, verdicts, ""), param=_one_path(verdicts), detail=detail)


def view(verdict: Verdict) -> dict[str, Any]:
    """One target and what speaks against it, JSON-ready."""
    c = verdict.candidate
    state = "ejected" if any(x.need == "ejected" for x in verdict.lacks) else c.state
    return {"target": _label(verdict), "state": state, "lacks": [_lack_view(x) for x in verdict.lacks]}


def words(needs: Needs) -> str:
    """The needs of a request in words: `chat, image and tools`."""
    out = [needs.operation, *sorted(needs.modalities)]
    flags = {
        "tools": needs.tools,
        "a forced tool call": needs.forced_tool,
        "a JSON schema": needs.json_schema,
        "logprobs": needs.logprobs,
        f"{needs.choices} choices": needs.choices > 1,
        "a begun answer continued": needs.prefill,
        "sound out": needs.audio_out,
        "times": needs.timestamps,
        "every part as it came": needs.options.strict_parts,
        "every parameter": needs.options.strict_parameters,
    }
    out += [name for name, wanted in flags.items() if wanted]
    out += [f"{name[:40]} {' or '.join(values)[:80]}" for name, values in needs.options.require.items()]
    return out[0] if len(out) == 1 else f"{', '.join(out[:-1])} and {out[-1]}"


def _only(verdicts: list[Verdict], *kinds: str) -> list[Verdict]:
    """The verdicts that hold nothing but lacks of these kinds, the first of them among them."""
    out = []
    for v in verdicts:
        found = {x.kind for x in v.lacks}
        if found.issubset(kinds) and (kinds[0] in found or kinds[0] == "state"):
            out.append(v)
    return out


def _only_formats(verdicts: list[Verdict]) -> list[Verdict]:
    """The targets that take such media and are not excluded by a rule, where it is only the format that keeps the
    request from all of them; else none."""
    out = []
    for v in verdicts:
        needs = {x.need for x in v.lacks if x.kind == "need"}
        if any(x.kind == "rule" for x in v.lacks) or not needs.isdisjoint(_MODALITIES):
            continue
        if not needs or not needs <= _FORMATS or any(x.kind not in ("need", "state", "busy") for x in v.lacks):
            return []
        out.append(v)
    return out


_MODALITIES = frozenset({"image", "audio", "video"})
_FORMATS = frozenset({"image_format", "audio_format", "video_format"})


def _one_path(verdicts: list[Verdict]) -> str | None:
    """The place in the body that every target stumbles over, if it is one and the same; targets that a rule excludes
    have no say."""
    paths: set[str] = set()
    for v in verdicts:
        if any(x.kind == "rule" for x in v.lacks):
            continue
        own = {p for x in v.lacks for p in x.paths}
        if not own:
            return None
        paths |= own
    return paths.pop() if len(paths) == 1 else None


def _compose(start: str, verdicts: list[Verdict], end: str) -> str:
    """One paragraph of at most MAX_MESSAGE characters: as many targets as there is room for."""
    text = start[:600]
    room = MAX_MESSAGE - len(_MORE) - len(end) - 1
    cut = False
    for v in verdicts:
        reasons = "; ".join(_sentence(x) for x in v.lacks)
        piece = f" {_label(v)[:100]}: {reasons}."
        if len(text) + len(piece) > room:
            cut = True
            left = room - len(text) - 4
            if left > 120:
                text += piece[:left].rstrip() + " ..."
            break
        text += piece
    return text + (_MORE if cut else "") + (f" {end}" if end else "")


def _sentence(lack: Lack) -> str:
    return f"{lack.reason} ({lack.hint})" if lack.hint and lack.kind in ("need", "context", "rule") else lack.reason


def _lack_view(lack: Lack) -> dict[str, Any]:
    out: dict[str, Any] = {"kind": lack.kind, "need": lack.need, "reason": lack.reason}
    if lack.hint:
        out["hint"] = lack.hint
    if lack.paths:
        out["paths"] = list(lack.paths[:16])
    return out


def _label(verdict: Verdict) -> str:
    return verdict.candidate.target.label.rstrip("/")
