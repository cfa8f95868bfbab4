"""What a target lacks for a request: abilities, permission to see it, room.

Facts that are None are unknown. For what can't be taken back once it is sent wrong (media in, sound out) unknown means
no, and the reason says how to state it; for the rest (tools, schema, logprobs, choices, prefill) unknown means yes.
A seed and thinking are wishes, not needs: a target that has neither still takes the request, and its backend names what
it dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import get_args

from gateway.canonical.facts import Facts
from gateway.canonical.media.kinds import CLAIMS_NOTHING, usual
from gateway.canonical.needs import MediaNeed, Needs
from gateway.canonical.requests import RelayedOperation
from gateway.routing.candidate import Candidate, Lack
from gateway.routing.conversion import NOTHING, Way, clips_of, ways_to

WEIGHT_ONLY = "nvfp4-weight-only"
"""What an operator writes under `allow:` of a backend to let NVFP4 weights run where no FP4 arithmetic is."""

ANYWHERE = "any"
"""The only value of a privacy setting that lets its modality leave; every other one is read as `local`."""

RELAYED: frozenset[str] = frozenset(get_args(RelayedOperation))
"""Operations of which nothing is taken for granted: a target whose facts do not list one does not serve it."""
HEARING = ("transcription", "translation")
"""Operations that a target without a route for them is asked for in a chat."""

_CARRIES = {"video": ("video", "audio", "image"), "document": ("document", "text", "image")}
"""What a medium of a modality may have inside; the others hold only themselves."""
_ANYTHING = ("document", "text", "image", "audio", "video")
"""What a document may have inside of which neither its sender nor its bytes tell what it is."""


def lacks(needs: Needs, c: Candidate, ways: Sequence[Way] | None = None) -> list[Lack]:
    """What the target can't do, one Lack of kind "need" each; empty = it can do all of it. `ways` = how the media would
    get there (routing/conversion), None = by nothing that is done to them."""
    f = c.facts
    out: list[Lack] = []
    operation = needs.operation
    if operation == "count_tokens":
        if not (f.counts if f.counts is not None else f.operations is None or operation in f.operations):
            out.append(_need(c, operation, "does not count tokens"))
    elif operation in HEARING:
        _transcript(needs, c, out)
    elif operation in RELAYED:
        if operation not in (f.operations or ()) and _looked_at(c):
            out.append(_need(c, operation, f"does not serve {operation} requests"))
    elif f.operations is not None and operation not in f.operations:
        out.append(_need(c, operation, f"does not serve {operation} requests"))
    if needs.media:
        _media(needs, c, ways_to(needs.media, c.facts, NOTHING) if ways is None else ways, out)
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


def own_route(operation: str, f: Facts) -> bool:
    """Whether the target has a route of its own for what can be asked of others as a chat."""
    return operation in HEARING and f.operations is not None and operation in f.operations


def facts_for(operation: str, f: Facts) -> Facts:
    """The facts that count for an operation: a route that is made for sounds takes one of any length, whatever its
    model hears in a chat."""
    return replace(f, audio=True, audio_limit=None, splits_sound=True) if own_route(operation, f) else f


def _transcript(needs: Needs, c: Candidate, out: list[Lack]) -> None:
    f = c.facts
    if own_route(needs.operation, f):
        return
    if f.operations is not None and "chat" not in f.operations:
        out.append(_need(c, needs.operation, f"serves neither {needs.operation} requests nor chats"))
    if needs.timestamps:
        reason = f"does not tell times: it has no route of its own for a {needs.operation}"
        out.append(_need(c, "timestamps", reason, ("timestamp_granularities",)))


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


def _media(needs: Needs, c: Candidate, ways: Sequence[Way], out: list[Lack]) -> None:
    for modality in sorted(needs.modalities):
        group = [w for w in ways if w.medium.modality == modality]
        taken: bool | None = getattr(c.facts, modality)
        if taken or (modality == "video" and all(w.make == "frames" for w in group)):
            _no_ways(group, c, out)
            _amount(modality, group, c, out)
        elif taken is False:
            if modality == "video" and any(w.lack is not None and w.lack[0] != "video" for w in group):
                _no_ways(group, c, out)
            else:
                out.append(_need(c, modality, _not_taken(modality, group), _paths(group)))
        elif _looked_at(c):
            out.append(_need(c, modality, _unknown(modality, f"takes {modality}"), _paths(group)))


def _not_taken(modality: str, group: list[Way]) -> str:
    told = next((w.lack[1] for w in group if w.lack is not None and w.lack[0] == modality), "")
    return told or f"does not take {modality}"


def _no_ways(group: list[Way], c: Candidate, out: list[Lack]) -> None:
    """One Lack for each sort of reason why media can't get there."""
    sorts: dict[str, list[Way]] = {}
    for way in group:
        if way.lack is not None:
            sorts.setdefault(way.lack[0], []).append(way)
    for need, ways in sorts.items():
        assert ways[0].lack is not None
        more = f" (and {len(ways) - 1} more)" if len(ways) > 1 else ""
        out.append(_need(c, need, ways[0].lack[1] + more, _paths(ways)))


def _amount(modality: str, group: list[Way], c: Candidate, out: list[Lack]) -> None:
    limit: int | None = getattr(c.facts, f"{modality}_limit", None)
    count = sum(clips_of(w, c.facts) if modality == "audio" else 1 for w in group if w.make != "frames")
    if limit is not None and count > limit:
        reason = f"takes at most {limit} {modality} part(s) in one request, this one has {count}"
        hint = c.hints.get(f"{modality}_limit") or c.hints.get(modality, "")
        out.append(Lack("need", f"{modality}_limit", reason, hint, _paths(group)))


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
        media = [m for m in needs.media if marked in held(m)]
        if media:
            what = marked if media[0].modality == marked else f"{media[0].modality}, which may hold {marked},"
            paths = tuple(m.path for m in media)
            out.append(Lack("privacy", marked, f"{what} at {_places(media)} {rule}", "", paths))
    return out


def held(m: MediaNeed) -> Collection[str]:
    """The modalities that may be inside of a medium. One that is elsewhere is looked at once it is here."""
    if m.modality == "document" and m.form != "url" and usual(m.mime) in CLAIMS_NOTHING:
        return _ANYTHING
    if usual(m.mime).startswith("video/"):  # also where its sound alone is meant
        return _CARRIES["video"]
    return _CARRIES.get(m.modality, (m.modality,))


def carried(media: Iterable[MediaNeed]) -> frozenset[str]:
    """The modalities that may be inside of a request's media."""
    return frozenset(name for m in media for name in held(m))


def kept_home(inside: Collection[str] | None, privacy: Mapping[str, str]) -> bool:
    """Whether media with these modalities inside (`carried`; None = nobody has looked) may not leave local servers."""
    marked = {name for name, where in privacy.items() if where != ANYWHERE}
    if inside is None or "text" in marked:
        return bool(marked)
    return not marked.isdisjoint(inside)


def context_lack(tokens: int, c: Candidate) -> Lack | None:
    """The Lack of kind "context" if a prompt of that many tokens (counted, or at least so many) has no room."""
    context = c.facts.context
    if context is None or tokens <= context:
        return None
    reason = f"the prompt is too long: at least {tokens} tokens, and the maximum context length is {context}"
    return Lack("context", "context", reason, c.hints.get("context", ""))


_IMAGE = 1200  # 1,120 soft tokens at the largest setting, with its markers
_CLIP = 800  # 30 s at 25 tokens a second = 750: what one audio clip gives where clips are cut
_FRAME = 310  # 280 soft tokens and its time
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


def likely(needs: Needs, ways: Sequence[Way] | None = None) -> int:
    """About how many tokens the prompt has: what a rule's `context` is compared with. Four bytes a token is usual.
    `ways`: how the media would get to a target, where one is meant."""
    size = (needs.text_size + needs.tools_size) // 4 + 8 * needs.messages
    if ways:
        return size + sum(map(_at_target, ways))
    return size + sum(map(_bound, needs.media)) if needs.media else size


def _at_target(way: Way) -> int:
    m = way.medium
    if way.make == "frames":
        return way.frames * _FRAME + (_heard(m) if way.track == "clip" else 0)
    if m.modality == "video" and way.track in ("dropped", "unknown"):
        return max(0, _bound(m) - _heard(m))
    return _bound(m)


def _bound(m: MediaNeed) -> int:
    """The most tokens that one medium may give."""
    if m.modality == "image":
        return _IMAGE
    if m.modality == "audio":
        return _heard(m)
    if m.modality == "video":
        # servers that look at 4 frames a second, 280 tokens each: 28 bytes a token at 250 kbit/s; and its sound track
        seen = m.size // 28 if m.seconds is None or m.cut else int(m.seconds * 4 * 290)
        return max(_FRAMES, seen) + (_CLIP if m.seconds is None else 0 if m.sound is False else _heard(m))
    return max(_IMAGE, m.size)


def _heard(m: MediaNeed) -> int:
    """25 tokens a second, and what stands around a clip: that is 320 bytes a token in plain samples of 8 bits at 8 kHz,
    40 in speech coded at 8 kbit/s."""
    if m.seconds is not None and not m.cut:
        return max(_CLIP, int(m.seconds * 26) + 16)
    return max(_CLIP, m.size // (320 if usual(m.mime) == "audio/wav" else 40))


def _need(c: Candidate, need: str, reason: str, paths: tuple[str, ...] = ()) -> Lack:
    return Lack("need", need, reason, c.hints.get(need, ""), paths)


def _looked_at(c: Candidate) -> bool:
    """False for a server that was never probed: what is unknown of it is not missing, it is not known *yet*, and its
    state says so."""
    return c.state in ("ready", "cold", "mismatch") or "probed" in c.facts.sources.values()


def _unknown(fact: str, ability: str) -> str:
    return f"it is not known whether it {ability}: state it with `facts: {{{fact}: true}}` at its backend"


def _paths(ways: Sequence[Way]) -> tuple[str, ...]:
    return tuple(w.medium.path for w in ways)


def _places(media: Sequence[MediaNeed]) -> str:
    more = f" (and {len(media) - 1} more)" if len(media) > 1 else ""
    return media[0].path + more


def _shown(text: str) -> str:
    """A client's word, cut to what a message can bear."""
    return text if len(text) <= 60 else text[:57] + "..."
