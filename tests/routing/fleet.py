"""Targets and requests for the tests of routing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from gateway.canonical.facts import Facts, Target
from gateway.canonical.needs import MediaNeed, Needs
from gateway.canonical.requests import Options
from gateway.routing.candidate import Candidate
from gateway.routing.policy import Policy
from gateway.routing.rules import DEFAULT_RULES, Match, Rule, Selector

FACTS = frozenset({f.name for f in Facts.__dataclass_fields__.values()})


def target(name: str, kind: str = "llamacpp", model: str = "m", **fields: Any) -> Candidate:
    """A ready target; names of facts go into its facts, the rest into the candidate."""
    facts = Facts(**{k: v for k, v in fields.items() if k in FACTS})
    rest: dict[str, Any] = {"state": "ready", "limit": 4}
    return Candidate(
        Target(name, kind, model), facts, **{**rest, **{k: v for k, v in fields.items() if k not in FACTS}}
    )


def medium(modality: str, mime: str = "", form: Any = "base64", *, at: int = 0, size: int = 100) -> MediaNeed:
    return MediaNeed(f"messages[0].content[{at}]", modality, mime, form, size)


def asks(*media: MediaNeed, **fields: Any) -> Needs:
    fields = {"text_size": 40, "messages": 1, **fields}
    return Needs(media=list(media), modalities=frozenset(m.modality for m in media), **fields)


def paused(c: Candidate, until: float) -> Candidate:
    return replace(c, ejected_until=until)


maybe = st.sampled_from([None, True, False])
words = {
    "kind": ["vllm", "llamacpp", "gemini"],
    "variant": ["e2b", "12b", "26b-a4b"],
    "quantization": ["nvfp4", "q4_0", "fp8"],
    "hardware": ["blackwell", "hopper"],
    "backend": ["b0", "b1", "b2", "b3"],
    "local": ["true", "false"],
    "colour": ["red"],
}


def one_of(name: str) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *words[name]])


@st.composite
def candidates(draw: st.DrawFn, most: int = 5) -> list[Candidate]:
    """Fleets of up to `most` targets with distinct names."""
    out = []
    for i in range(draw(st.integers(0, most))):
        facts = Facts(
            image=draw(maybe),
            audio=draw(maybe),
            video=draw(maybe),
            tools=draw(maybe),
            json_schema=draw(st.sampled_from([None, "enforced", "ignored"])),
            context=draw(st.sampled_from([None, 8, 512, 100_000])),
            size=draw(st.sampled_from([None, 2.0, 12.0])),
            variant=draw(one_of("variant")),
            quantization=draw(one_of("quantization")),
            hardware=draw(one_of("hardware")),
            fixture=draw(st.sampled_from([None, True])),
            audio_formats=draw(st.sampled_from([None, frozenset({"audio/wav"})])),
            image_limit=draw(st.sampled_from([None, 1])),
        )
        out.append(
            Candidate(
                Target(f"b{i}", draw(st.sampled_from(words["kind"])), "m"),
                facts,
                state=draw(
                    st.sampled_from(["ready", "ready", "ready", "cold", "down", "loading", "unprobed", "mismatch"])
                ),
                local=draw(st.booleans()),
                tier=draw(st.integers(0, 2)),
                weight=draw(st.sampled_from([1.0, 2.0])),
                limit=draw(st.integers(1, 3)),
                in_flight=draw(st.integers(0, 3)),
                queued=draw(st.sampled_from([0, 0, 1])),
                others=draw(st.sampled_from([0, 0, 2])),
                cache=draw(st.sampled_from([None, 0.1, 0.95])),
                ejected_until=draw(st.sampled_from([0.0, 0.0, 50.0, 150.0, 160.0])),
                allow=draw(st.sampled_from([frozenset(), frozenset({"nvfp4-weight-only"})])),
            )
        )
    return out


wishes = st.dictionaries(st.sampled_from(sorted(words)), st.just(None), max_size=2).flatmap(
    lambda keys: st.fixed_dictionaries({k: st.lists(st.sampled_from(words[k]), min_size=1, max_size=2) for k in keys})
)


@st.composite
def requests(draw: st.DrawFn) -> Needs:
    kinds = draw(st.lists(st.sampled_from(["image", "audio", "video"]), max_size=3))
    mimes = {"image": "image/png", "audio": "audio/ogg", "video": "video/mp4"}
    media = [
        medium(k, draw(st.sampled_from(["", mimes[k]])), draw(st.sampled_from(["base64", "base64", "url"])), at=i)
        for i, k in enumerate(kinds)
    ]
    return asks(
        *media,
        tools=draw(st.booleans()),
        json_schema=draw(st.booleans()),
        text_size=draw(st.sampled_from([0, 40, 6000])),
        options=Options(require=draw(wishes), prefer=draw(st.lists(wishes, max_size=2))),
    )


privacies = st.dictionaries(st.sampled_from(["audio", "image", "text", "video"]), st.sampled_from(["local", "any"]))
policies = st.builds(
    Policy,
    rules=st.sampled_from(
        [
            (),
            DEFAULT_RULES,
            (
                Rule(Match(tools=True), Selector(kind=("vllm",)), (Selector(variant=("12b",)),), "routes[0]"),
                *DEFAULT_RULES,
            ),
        ]
    ),
    privacy=privacies,
    auto_hosted=st.booleans(),
)
