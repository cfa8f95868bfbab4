"""What a target lacks for a request: abilities, permission to see it, room.

Facts that are None are unknown. For what can't be taken back once it is sent wrong (media in, sound out) unknown means
no, and the reason says how to state it; for the rest (tools, schema, logprobs, choices, prefill) unknown means yes.
A seed and thinking are wishes, not needs: a target that has neither still takes the request, and its backend names what
it dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

from gateway.canonical.facts import Facts
from gateway.canonical.needs import MediaNeed, Needs
from gateway.routing.candidate import Candidate, Lack

WEIGHT_ONLY = "nvfp4-weight-only"
"""What an operator writes under `allow:` of a backend to let NVFP4 weights run where no FP4 arithmetic is."""

ANYWHERE = "any"
"""The only value of a privacy setting that lets its modality leave; every other one is read as `local`."""

_ALIASES = {
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "image/jpg": "image/jpeg",
}
_CLAIMS_NOTHING = ("", "application/octet-stream")

_CARRIES = {"video": ("video", "audio", "image"), "document": ("document", "text", "image")}
"""What a medium of a modality may have inside; the others hold only themselves."""


def lacks(needs: Needs, c: Candidate) -> list[Lack]:
    """What the target can't do, one Lack of kind "need" each; empty = it can do all of it."""
    f = c.facts
    out: list[Lack] = []
    operation = needs.operation
    if operation == "count_tokens":
        if not (f.counts if f.counts is not None else f.operations is None or operation in f.operations):
            out.append(_need(c, operation, "does not count tokens"))
    elif f.operations is not None and operation not in f.operations:
        out.append(_need(c, operation, f"does not serve {operation} requests"))
    if needs.media:
        _media(needs, c, out)
    if needs.tools and f.tools is False:
        out.append(_need(c, "tools", "does not take tools"))
    if operation != "count_tokens":
        _answer(needs, c, out)
    if f.quantization == "nvfp4" and f.hardware != "blackwell" and WEIGHT_ONLY not in c.allow:
        out.append(_nvfp4(c))
    for path, dialect, kind in needs.opaque:
        reason = f"a part of type {_shown(kind)!r} at {path} is known to the {_shown(dialect)} dialect only"
        out.append(_need(c, "opaque", reason, (path,)))
    return out


def _answer(needs: Needs, c: Candidate, out: list[Lack]) -> None:
    """What is asked of the answer."""
    f = c.facts
    if needs.forced_tool and f.forced_tool == "ignored" and f.tools is not False:
        out.append(_need(c, "forced_tool", "can't be made to call a tool"))
    if needs.json_schema and f.json_schema == "ignored":
        out.append(_need(c, "json_schema", "does not keep to a JSON schema"))
    if needs.logprobs and f.logprobs is False:
        out.append(_need(c, "logprobs", "does not give logprobs"))
    if f.choices is not None and needs.choices > f.choices:
        out.append(_need(c, "choices", f"gives at most {f.choices} of the {needs.choices} choices asked for"))
    if needs.prefill and f.prefill is False:
        out.append(_need(c, "prefill", "does not continue a begun answer"))
    if needs.audio_out and not f.audio_out and (f.audio_out is False or _looked_at(c)):
        out.append(_need(c, "audio_out", "does not speak" if f.audio_out is False else _unknown("audio_out", "speaks")))


def _media(needs: Needs, c: Candidate, out: list[Lack]) -> None:
    if _all_taken(needs, c.facts):
        return
    for modality in sorted(needs.modalities):
        media = [m for m in needs.media if m.modality == modality]
        taken: bool | None = getattr(c.facts, modality)
        if taken:
            _forms(media, c, out)
            _formats(modality, media, c, out)
            _amount(modality, media, c, out)
        elif taken is False:
            out.append(_need(c, modality, f"does not take {modality}", _paths(media)))
        elif _looked_at(c):
            out.append(_need(c, modality, _unknown(modality, f"takes {modality}"), _paths(media)))


_FACTS = {m: attrgetter(m, f"{m}_formats", f"{m}_limit") for m in ("image", "audio", "video")}


def _all_taken(needs: Needs, f: Facts) -> bool:
    """Whether it is plain at a glance that all media are taken; False = look closer."""
    media = needs.media
    for m in media:
        facts = _FACTS.get(m.modality)
        if facts is None or m.form == "url" or m.form == "file_id":
            return False
        taken, known, most = facts(f)
        if not taken or (known is not None and m.mime not in known) or (most is not None and len(media) > most):
            return False
    return True


def _forms(media: list[MediaNeed], c: Candidate, out: list[Lack]) -> None:
    for form, words in (("url", "a URL"), ("file_id", "a file id")):
        given = [m for m in media if m.form == form]
        if given:
            reason = f"{words} at {_places(given)} is not fetched here yet: send it as base64"
            out.append(_need(c, form, reason, _paths(given)))


def _formats(modality: str, media: list[MediaNeed], c: Candidate, out: list[Lack]) -> None:
    """A medium without a claimed type passes: what it is, is seen when it is prepared."""
    known: frozenset[str] | None = getattr(c.facts, f"{modality}_formats", None)
    if known is None:
        return
    wrong: dict[str, list[MediaNeed]] = {}
    for m in media:
        if m.mime not in known and m.mime not in _CLAIMS_NOTHING and not _same_format(m.mime, known):
            wrong.setdefault(m.mime, []).append(m)
    for mime, given in wrong.items():
        into = " or ".join(sorted(known)) or "something else"
        reason = f"{_shown(mime)} at {_places(given)} would have to be converted to {into}, which is not built in yet"
        out.append(_need(c, f"{modality}_format", reason, _paths(given)))


def _amount(modality: str, media: list[MediaNeed], c: Candidate, out: list[Lack]) -> None:
    limit: int | None = getattr(c.facts, f"{modality}_limit", None)
    if limit is not None and len(media) > limit:
        reason = f"takes at most {limit} {modality} part(s) in one request, this one has {len(media)}"
        hint = c.hints.get(f"{modality}_limit") or c.hints.get(modality, "")
        out.append(Lack("need", f"{modality}_limit", reason, hint, _paths(media)))


def weight_only(c: Candidate) -> str:
    """What is to be said of an answer whose NVFP4 weights run as 16 bit, as the operator allowed; "" for all others.
    Of a mixture of experts: that it is experimental."""
    if c.facts.quantization != "nvfp4" or c.facts.hardware == "blackwell":
        return ""
    return f"{WEIGHT_ONLY},experimental" if _mixture(c) else WEIGHT_ONLY


def _mixture(c: Candidate) -> bool:
    return (c.facts.variant or "").startswith("26b")


def _nvfp4(c: Candidate) -> Lack:
    """NVFP4 weights need Blackwell's FP4 arithmetic. Elsewhere they run weight-only through Marlin kernels: dense
    models slowly, mixtures of experts with open reports of garbage. So only where the operator says so.

    https://github.com/vllm-project/vllm/pull/49376 and https://github.com/vllm-project/vllm/issues/49070"""
    reason = f"NVFP4 weights are for Blackwell, and its hardware is {c.facts.hardware or 'not known'}"
    if _mixture(c):
        reason += "; off Blackwell this mixture of experts is experimental and may answer garbage"
    hint = f"state `hardware: blackwell` if it is one, or `allow: [{WEIGHT_ONLY}]` at its backend"
    return Lack("need", "hardware", reason, hint)


def privacy_lacks(needs: Needs, c: Candidate, privacy: Mapping[str, str]) -> list[Lack]:
    """What may not leave, where the target is not local. Fails closed: any setting but `any` is read as `local`;
    a video is taken to have a sound track and pictures, a document text and pictures, and every request text."""
    if c.local or not privacy:
        return []
    out: list[Lack] = []
    for marked, where in privacy.items():
        if where == ANYWHERE:
            continue
        rule = f"may not leave local servers (privacy: {{{marked}: {where}}})"
        if marked == "text":
            out.append(Lack("privacy", "text", f"text {rule}"))
            continue
        media = [m for m in needs.media if marked in _CARRIES.get(m.modality, (m.modality,))]
        if media:
            what = marked if media[0].modality == marked else f"{media[0].modality}, which may hold {marked},"
            out.append(Lack("privacy", marked, f"{what} at {_places(media)} {rule}", "", _paths(media)))
    return out


def context_lack(tokens: int, c: Candidate) -> Lack | None:
    """The Lack of kind "context" if a prompt of that many tokens (counted, or at least so many) has no room."""
    context = c.facts.context
    if context is None or tokens <= context:
        return None
    reason = f"the prompt is too long: at least {tokens} tokens, and the maximum context length is {context}"
    return Lack("context", "context", reason, c.hints.get("context", ""))


_IMAGE = 1200  # 1,120 soft tokens at the largest setting, with its markers
_CLIP = 800  # 30 s at 25 tokens a second = 750: what one audio clip gives where clips are cut
_FRAMES = 2600  # 32 frames of (70 + 2 + 6) tokens = 2,496: what servers that sample a fixed number of frames give


def estimate(needs: Needs) -> tuple[int, int]:
    """(low, high) bounds of the prompt's tokens: a target with `high` has room for certain, one without `low` has none.

    high: a token has at least one byte; a turn's markers take less than 16 tokens. Media by Gemma 4's processors
    (https://ai.google.dev/gemma/docs/core), the hungriest that are served here. low: six bytes a token is more than
    any usual text gives."""
    high = 64 + needs.text_size + needs.tools_size + 16 * needs.messages
    if needs.media:
        high += sum(map(_bound, needs.media))
    return needs.text_size // 6, high


def likely(needs: Needs) -> int:
    """About how many tokens the prompt has: what a rule's `context` is compared with. Four bytes a token is usual."""
    size = (needs.text_size + needs.tools_size) // 4 + 8 * needs.messages
    return size + sum(map(_bound, needs.media)) if needs.media else size


def _bound(m: MediaNeed) -> int:
    """The most tokens that one medium may give."""
    if m.modality == "image":
        return _IMAGE
    if m.modality == "audio":
        # 25 tokens a second: 320 bytes a token in plain samples of 8 bits at 8 kHz, 40 in speech coded at 8 kbit/s
        return max(_CLIP, m.size // (320 if _ALIASES.get(m.mime, m.mime) == "audio/wav" else 40))
    if m.modality == "video":
        # servers that look at 4 frames a second, 280 tokens each: 28 bytes a token at 250 kbit/s; and its sound track
        return max(_FRAMES, m.size // 28) + _CLIP
    return max(_IMAGE, m.size)


def _need(c: Candidate, need: str, reason: str, paths: tuple[str, ...] = ()) -> Lack:
    return Lack("need", need, reason, c.hints.get(need, ""), paths)


def _looked_at(c: Candidate) -> bool:
    """False for a server that was never probed: what is unknown of it is not missing, it is not known *yet*, and its
    state says so."""
    return c.state in ("ready", "cold", "mismatch") or "probed" in c.facts.sources.values()


def _unknown(fact: str, ability: str) -> str:
    return f"it is not known whether it {ability}: state it with `facts: {{{fact}: true}}` at its backend"


def _same_format(mime: str, known: frozenset[str]) -> bool:
    """Whether `mime` is another name of one that is known, or has parameters behind it."""
    plain = mime.partition(";")[0].strip().lower()
    plain = _ALIASES.get(plain, plain)
    return plain in known or any(_ALIASES.get(k, k) == plain for k in known)


def _paths(media: Sequence[MediaNeed]) -> tuple[str, ...]:
    return tuple(m.path for m in media)


def _places(media: Sequence[MediaNeed]) -> str:
    more = f" (and {len(media) - 1} more)" if len(media) > 1 else ""
    return media[0].path + more


def _shown(text: str) -> str:
    """A client's word, cut to what a message can bear."""
    return text if len(text) <= 60 else text[:57] + "..."
