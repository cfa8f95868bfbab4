import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.families import identify
from gateway.families.gemma4 import VARIANTS, recognise

NAMES = [
    ("google/gemma-4-E2B-it", "e2b"),
    ("google/gemma-4-E4B-it", "e4b"),
    ("google/gemma-4-12B-it", "12b"),
    ("google/gemma-4-26B-A4B-it", "26b-a4b"),
    ("google/gemma-4-31B-it", "31b"),
    ("google/gemma-4-26b-a4b-it-maas", "26b-a4b"),
    ("google/gemma-4-E2B-it-qat-mobile-ct", "e2b"),
    ("google/gemma-4-31B-it-qat-w4a16-ct", "31b"),
    ("google/gemma-4-12B-it-qat-q4_0-gguf", "12b"),
    ("nvidia/Gemma-4-31B-IT-NVFP4", "31b"),
    ("nvidia/Gemma-4-26B-A4B-NVFP4", "26b-a4b"),
    ("RedHatAI/gemma-4-31B-it-FP8-block", "31b"),
    ("RedHatAI/gemma-4-26B-A4B-it-NVFP4", "26b-a4b"),
    ("ggml-org/gemma-4-E4B-it-GGUF:Q4_K_M", "e4b"),
    ("unsloth/gemma-4-12b-it-GGUF", "12b"),
    ("/m/gemma-4-12B-it-Q4_K_M.gguf", "12b"),
    ("gemma-4-12B-it-qat-UD-Q4_K_XL.gguf", "12b"),
    ("mlx-community/gemma-4-e4b-it-4bit", "e4b"),
    ("mlx-community/gemma-4-26b-a4b-it-8bit", "26b-a4b"),
    ("mlx-community/gemma-4-12B-it-nvfp4", "12b"),
    ("gemma4:e2b", "e2b"),
    ("gemma4:12b", "12b"),
    ("gemma4:26b", "26b-a4b"),
    ("gemma4:31b-it-qat", "31b"),
    ("gemma4:31b-cloud", "31b"),
    ("gemma4:26b-a4b-it-mtp-q4_K_M", "26b-a4b"),
    ("gemma4:latest", None),
    ("gemma4_instruct_2b", "e2b"),
    ("gemma4_instruct_4b", "e4b"),
    ("gemma4_instruct_26b_a4b", "26b-a4b"),
    ("gemma-4-31b-it", "31b"),
    ("models/gemma-4-26b-a4b-it", "26b-a4b"),
    ("/home/me/.cache/huggingface/hub/models--google--gemma-4-12B-it/snapshots/abc", "12b"),
    ("/models/31b/gemma-4-E2B-it.gguf", "e2b"),
    ("tiny-gemma4", None),
    ("gemma-4", None),
]

OTHERS = [
    "google/gemma-3-4b-it",
    "google/gemma-3n-E4B-it",
    "google/translategemma-4b-it",
    "google/functiongemma-270m-it",
    "google/embeddinggemma-300m",
    "google/embeddinggemma-2-4b",
    "google/gemma-4b",
    "google/diffusiongemma-26B-A4B-it",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "gpt-4o-mini",
    "Qwen/Qwen3-4B",
    "",
]


@pytest.mark.parametrize(("name", "variant"), NAMES)
def test_members(name: str, variant: str | None) -> None:
    for spelled in (name, name.lower(), name.upper()):
        facts = identify(spelled)
        assert (facts.family, facts.variant) == ("gemma4", variant)
        assert (facts.image, facts.video, facts.tools, facts.thinking) == (True, True, True, True)
        assert facts.audio is (variant in ("e2b", "e4b", "12b") if variant else None)
        assert facts.size == (VARIANTS[variant].size if variant else None)
        assert facts.operations is None
        assert facts.context is None


@pytest.mark.parametrize("name", OTHERS)
def test_others_read_text_only(name: str) -> None:
    assert recognise([name]) is None
    facts = identify(name)
    assert facts.family != "gemma4" and (facts.image, facts.audio, facts.video) == (False, False, False)
    assert facts.tools is None


@pytest.mark.parametrize(
    "name",
    [
        "google/gemma-4-12B-it-assistant",
        "mlx-community/gemma-4-31B-it-assistant-bf16",
        "keras/gemma4_instruct_2b_assistant",
        "mtp-gemma-4-31B-it.gguf",
        "gemma4_assistant",
    ],
)
def test_drafters_answer_nobody(name: str) -> None:
    assert identify(name).operations == frozenset()


@pytest.mark.parametrize("name", ["google/gemma-4-12B", "google/gemma-4-E2B", "unsloth/gemma-4-E4B-pt"])
def test_bases_only_complete(name: str) -> None:
    facts = identify(name)
    assert facts.operations == frozenset({"completion"})
    assert facts.tools is False


def test_the_best_of_several_names() -> None:
    facts = identify("chat", "/m/gemma-4-26B-A4B-it-Q8_0.gguf", "gemma")
    assert (facts.family, facts.variant, facts.quantization) == ("gemma4", "26b-a4b", "q8_0")
    assert identify("my-gemma-4", "google/gemma-4-12B-it").operations is None
    assert identify("google/gemma-4-12B", "google/gemma-4-12B-it").operations is None


@given(st.text(max_size=60))
def test_any_name_is_read(name: str) -> None:
    facts = identify(name, f"gemma-4-{name}")
    assert facts.variant is None or facts.variant in VARIANTS
