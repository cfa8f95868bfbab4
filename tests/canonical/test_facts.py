from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.facts import FACT_NAMES, Facts, Source, Target, changes, layer

SOURCES: list[Source] = ["operator", "probed", "family", "assumed"]
facts = st.builds(
    Facts,
    image=st.none() | st.booleans(),
    context=st.none() | st.integers(0, 9),
    slots=st.none() | st.integers(0, 9),
    audio_formats=st.none() | st.frozensets(st.sampled_from(["audio/wav", "audio/mpeg"])),
    forced_tool=st.none() | st.sampled_from(["enforced", "verified", "ignored"]),
)


@given(st.lists(st.tuples(st.sampled_from(SOURCES), facts), max_size=4))
def test_the_first_layer_that_knows_wins(layers: list[Any]) -> None:
    merged = layer(*layers)
    for name in FACT_NAMES:
        known = [(source, getattr(f, name)) for source, f in layers if getattr(f, name) is not None]
        if known:
            assert (merged.sources[name], getattr(merged, name)) == known[0]
        else:
            assert getattr(merged, name) is None and name not in merged.sources


@given(facts, facts)
def test_changes(a: Facts, b: Facts) -> None:
    found = changes(a, b)
    assert (not found) is (a == b)
    assert all(getattr(a, n) == old and getattr(b, n) == new for n, (old, new) in found.items())


def test_false_is_known_and_sources_are_no_fact() -> None:
    merged = layer(("operator", Facts(image=False)), ("probed", Facts(image=True, context=0)))
    assert merged.image is False and merged.context == 0
    assert merged.sources == {"image": "operator", "context": "probed"}
    assert merged == Facts(image=False, context=0) and "sources" not in FACT_NAMES


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("tiny", "b/tiny"),
        ("org/Model-1", "b/org/Model-1"),
        ("/home/me/models/gemma", "b/gemma"),
        ("/home/me/models/gemma/", "b/gemma"),
        ("./models/hf", "b/hf"),
        ("~/x/y.gguf", "b/y.gguf"),
        ("models/x/Y.GGUF", "b/Y.GGUF"),
        ("C:\\Users\\me\\gemma.gguf", "b/gemma.gguf"),
    ],
)
def test_a_client_sees_no_path(model: str, label: str) -> None:
    assert Target("b", "vllm", model).label == label
