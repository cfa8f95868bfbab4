"""Who may take a request for NVFP4 weights, and what is said when they run as 16 bit: the whole table.

The default rules are in force. `ask`: by the public name, whose every target is NVFP4; by `require`; or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.requests import Options
from gateway.routing.fit import weight_only
from gateway.routing.policy import Policy, decide, refusal

from .fleet import asks, target

ALLOWED = frozenset({"nvfp4-weight-only"})
REQUIRE = Options(require={"quantization": ["nvfp4"]})
FP8 = {"kind": "vllm", "quantization": "fp8", "hardware": "hopper"}


def decided(*fleet: dict[str, Any], require: bool, auto: bool = False) -> tuple[list[str], Any, Any]:
    """(who may take it, in order; the decision; what the request needed)."""
    candidates = [target(f"t{i}", **{"variant": "31b", **about}) for i, about in enumerate(fleet)]
    needs = asks(options=REQUIRE if require else Options())
    d = decide(needs, candidates, model="g", auto=auto, dialect="openai", policy=Policy(), now=100.0)
    return [c.target.backend for c in d.order], d, needs


def gpu(hardware: str | None, kind: str = "vllm", **about: Any) -> dict[str, Any]:
    return {"kind": kind, "quantization": "nvfp4", "hardware": hardware, **about}


ROWS: list[tuple[dict[str, Any], bool]] = [
    (gpu("blackwell"), True),
    (gpu("blackwell", variant="26b-a4b"), True),
    (gpu("blackwell", kind="nim", runtime="vllm"), True),
    (gpu("blackwell", kind="nim"), False),  # an SGLang inside, or nothing that could be told
    (gpu("blackwell", kind="trtllm"), False),
    (gpu("blackwell", kind="vertex", runtime="vllm", local=False), False),
    (gpu("hopper"), False),
    (gpu("ampere"), False),
    (gpu("ada"), False),
    (gpu(None), False),
    (gpu("hopper", allow=ALLOWED), True),
    (gpu("ampere", allow=ALLOWED), True),
    (gpu(None, allow=ALLOWED), True),
    (gpu("hopper", kind="nim", runtime="vllm", allow=ALLOWED), True),
    (gpu("hopper", kind="tgi", allow=ALLOWED), False),
    (gpu("hopper", variant="26b-a4b"), False),
    (gpu("hopper", variant="26b-a4b", allow=ALLOWED), True),
]


@pytest.mark.parametrize("require", [False, True], ids=["by name", "by require"])
@pytest.mark.parametrize(("about", "taken"), ROWS)
def test_asked_for(about: dict[str, Any], taken: bool, require: bool) -> None:
    order, d, needs = decided(about, require=require)
    assert d.rules[0] == "default[0]"
    assert bool(order) is taken
    if not taken:
        error = refusal(d, needs, "g")
        assert (error.status, error.code) == (400, "no_target_fits")
        hints = " ".join(x.hint for x in d.verdicts[0].lacks)
        off = about["hardware"] != "blackwell" and not about.get("allow")
        assert ("allow: [nvfp4-weight-only]" in hints) is off


@pytest.mark.parametrize("auto", [False, True])
def test_asked_for_it_goes_to_nothing_else(auto: bool) -> None:
    fleet = [gpu("hopper"), FP8, gpu("blackwell"), {"kind": "llamacpp", "quantization": "gguf-nvfp4"}]
    assert decided(*fleet, require=True, auto=auto)[0] == ["t2"]
    assert decided(*fleet[:2], require=True, auto=auto)[0] == []


def test_not_asked_for_it_is_one_among_others() -> None:
    order, d, _ = decided(gpu("hopper"), FP8, require=False)
    assert order == ["t1"] and d.rules == [], "off Blackwell it is left out, and nothing fails"
    order, _, _ = decided(gpu("blackwell"), FP8, require=False)
    assert sorted(order) == ["t0", "t1"]
    order, _, _ = decided(gpu("blackwell", kind="trtllm"), FP8, require=False)
    assert sorted(order) == ["t0", "t1"]


def test_other_containers_of_the_same_numbers_stay_on_their_engines() -> None:
    for kind, quantization in (("llamacpp", "gguf-nvfp4"), ("mlx_lm", "mlx-nvfp4"), ("ollama", "mlx-nvfp4")):
        order, d, _ = decided({"kind": kind, "quantization": quantization}, require=False)
        assert order == ["t0"] and d.rules == []


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (gpu("blackwell"), ""),
        (gpu("hopper"), "nvfp4-weight-only"),
        (gpu(None), "nvfp4-weight-only"),
        (gpu("hopper", variant="26b-a4b"), "nvfp4-weight-only,experimental"),
        (gpu("blackwell", variant="26b-a4b"), ""),
        (FP8, ""),
        ({"kind": "llamacpp", "quantization": "gguf-nvfp4"}, ""),
    ],
)
def test_what_the_headers_say(about: dict[str, Any], said: str) -> None:
    assert weight_only(target("a", **about)) == said
