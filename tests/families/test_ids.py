"""Real ids of every engine's models, read as a whole: size, quantization, what it takes, and whether it answers."""

from __future__ import annotations

import pytest

from gateway.families import identify

ANSWERS, COMPLETES, DRAFTS = None, frozenset({"completion"}), frozenset()

# (id, variant, quantization, hears, operations)
GEMMA4 = [
    # vLLM, NIM, TensorRT-LLM: repositories of the hub
    ("google/gemma-4-E2B-it", "e2b", None, True, ANSWERS),
    ("google/gemma-4-E4B-it", "e4b", None, True, ANSWERS),
    ("google/gemma-4-12B-it", "12b", None, True, ANSWERS),
    ("google/gemma-4-26B-A4B-it", "26b-a4b", None, False, ANSWERS),
    ("google/gemma-4-31B-it", "31b", None, False, ANSWERS),
    ("google/gemma-4-E2B-it-qat-w4a16-ct", "e2b", "w4a16", True, ANSWERS),
    ("google/gemma-4-12B-it-qat-w4a16-ct", "12b", "w4a16", True, ANSWERS),
    ("google/gemma-4-31B-it-qat-q4_0-unquantized", "31b", "bf16", False, ANSWERS),
    ("RedHatAI/gemma-4-E4B-it-FP8-dynamic", "e4b", "fp8", True, ANSWERS),
    ("RedHatAI/gemma-4-26B-A4B-it-FP8-dynamic", "26b-a4b", "fp8", False, ANSWERS),
    ("RedHatAI/gemma-4-31B-it-FP8-block", "31b", "fp8", False, ANSWERS),
    ("RedHatAI/gemma-4-26B-A4B-it-NVFP4", "26b-a4b", "nvfp4", False, ANSWERS),
    ("nvidia/Gemma-4-31B-IT-NVFP4", "31b", "nvfp4", False, ANSWERS),
    ("nvidia/Gemma-4-26B-A4B-NVFP4", "26b-a4b", "nvfp4", False, ANSWERS),
    ("cyankiwi/gemma-4-26B-A4B-it-AWQ-4bit", "26b-a4b", "awq", False, ANSWERS),
    ("/models/hub/models--google--gemma-4-12B-it/snapshots/abc", "12b", None, True, ANSWERS),
    ("gemma-4-31b-it:hf-fp8", "31b", "fp8", False, ANSWERS),
    # llama.cpp: files and -hf names
    ("ggml-org/gemma-4-E4B-it-GGUF:Q4_K_M", "e4b", "q4_k_m", True, ANSWERS),
    ("/srv/gemma-4-E2B-it-Q8_0.gguf", "e2b", "q8_0", True, ANSWERS),
    ("gemma-4-26B-A4B-it-Q4_0.gguf", "26b-a4b", "q4_0", False, ANSWERS),
    ("unsloth/gemma-4-12b-it-GGUF", "12b", None, True, ANSWERS),
    ("gemma-4-12B-it-qat-UD-Q4_K_XL.gguf", "12b", "q4_k_xl", True, ANSWERS),
    ("google/gemma-4-E4B-it-qat-q4_0-gguf", "e4b", "q4_0", True, ANSWERS),
    ("gemma-4-31b-it-NVFP4.gguf", "31b", "gguf-nvfp4", False, ANSWERS),
    # MLX
    ("mlx-community/gemma-4-e4b-it-4bit", "e4b", "mlx-4bit", True, ANSWERS),
    ("mlx-community/gemma-4-26b-a4b-it-8bit", "26b-a4b", "mlx-8bit", False, ANSWERS),
    ("mlx-community/gemma-4-12B-it-nvfp4", "12b", "mlx-nvfp4", True, ANSWERS),
    ("mlx-community/gemma-4-31b-it-mxfp8", "31b", "mlx-mxfp8", False, ANSWERS),
    ("mlx-community/gemma-4-e2b-it-bf16", "e2b", "bf16", True, ANSWERS),
    # Ollama
    ("gemma4:e2b", "e2b", None, True, ANSWERS),
    ("gemma4:12b", "12b", None, True, ANSWERS),
    ("gemma4:26b", "26b-a4b", None, False, ANSWERS),
    ("gemma4:12b-it-q4_K_M", "12b", "q4_k_m", True, ANSWERS),
    ("gemma4:31b-nvfp4", "31b", "mlx-nvfp4", False, ANSWERS),
    ("gemma4:e4b-it-q8_0", "e4b", "q8_0", True, ANSWERS),
    # keras, hosted
    ("gemma4_instruct_2b", "e2b", None, True, ANSWERS),
    ("gemma4_instruct_26b_a4b", "26b-a4b", None, False, ANSWERS),
    ("gemma-4-31b-it", "31b", None, False, ANSWERS),
    ("google/gemma-4-26b-a4b-it-maas", "26b-a4b", None, False, ANSWERS),
    # what answers nobody, and what only completes
    ("google/gemma-4-12B-it-assistant", "12b", None, True, DRAFTS),
    ("mlx-community/gemma-4-31B-it-assistant-bf16", "31b", "bf16", False, DRAFTS),
    ("google/gemma-4-31B", "31b", None, False, COMPLETES),
    ("google/gemma-4-E2B", "e2b", None, True, COMPLETES),
]

OTHERS = [
    "google/gemma-3-4b-it",
    "google/gemma-3n-E4B-it",
    "google/translategemma-4b-it",
    "google/functiongemma-270m-it",
    "google/embeddinggemma-300m",
    "gemma3:4b",
]


@pytest.mark.parametrize(("name", "variant", "quantization", "hears", "operations"), GEMMA4)
def test_gemma_4(name: str, variant: str, quantization: str | None, hears: bool, operations: frozenset | None) -> None:
    facts = identify(name)
    assert (facts.family, facts.variant, facts.quantization) == ("gemma4", variant, quantization)
    assert (facts.image, facts.video, facts.audio, facts.operations) == (True, True, hears, operations)


@pytest.mark.parametrize("name", OTHERS)
def test_siblings(name: str) -> None:
    assert identify(name).family != "gemma4"


def test_there_are_enough() -> None:
    assert len(GEMMA4) >= 40
