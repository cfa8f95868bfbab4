import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.families.default import QUANTIZATIONS, quantization

READ = [
    ("nvidia/Gemma-4-31B-IT-NVFP4", "nvfp4"),
    ("nvidia/Gemma-4-31B-IT-NVFP4-FP8-KV", "nvfp4"),
    ("RedHatAI/gemma-4-26B-A4B-it-NVFP4", "nvfp4"),
    ("mlx-community/gemma-4-12B-it-nvfp4", "mlx-nvfp4"),
    ("mlx-community/gemma-4-e4b-it-4bit", "mlx-4bit"),
    ("mlx-community/gemma-4-26b-a4b-it-8bit", "mlx-8bit"),
    ("mlx-community/gemma-4-12B-it-mxfp8", "mlx-mxfp8"),
    ("mlx-community/gemma-4-12B-it-bf16", "bf16"),
    ("gemma4:31b-nvfp4", "mlx-nvfp4"),
    ("gemma4:12b-it-q4_K_M", "q4_k_m"),
    ("gemma4:26b-a4b-it-mtp-q4_K_M", "q4_k_m"),
    ("gemma4:12b-it-q8_0", "q8_0"),
    ("RedHatAI/gemma-4-31B-it-FP8-dynamic", "fp8"),
    ("RedHatAI/gemma-4-31B-it-FP8-block", "fp8"),
    ("google/gemma-4-12B-it-qat-w4a16-ct", "w4a16"),
    ("google/gemma-4-12B-it-qat-q4_0-gguf", "q4_0"),
    ("google/gemma-4-12B-it-qat-q4_0-unquantized", "bf16"),
    ("cyankiwi/gemma-4-26B-A4B-it-AWQ-4bit", "awq"),
    ("someone/gemma-4-12b-it-GPTQ-Int4", "gptq"),
    ("someone/gemma-4-12b-it-int8", "int8"),
    ("unsloth/gemma-4-12b-it-unsloth-bnb-4bit", "bnb-4bit"),
    ("ggml-org/gemma-4-E4B-it-GGUF:Q4_K_M", "q4_k_m"),
    ("/m/gemma-4-12B-it-Q4_K_M.gguf", "q4_k_m"),
    ("gemma-4-12B-it-qat-UD-Q4_K_XL.gguf", "q4_k_xl"),
    ("gemma-4-31b-NVFP4.gguf", "gguf-nvfp4"),
    ("gemma-4-e2b-it-F16.gguf", "f16"),
    ("SmolLM2-135M-Instruct.Q4_1.gguf", "q4_1"),
    ("google/gemma-4-12B-it", None),
    ("gemma-4", None),
    ("models/tiny/tiny-gemma4.gguf", None),
    ("cyankiwi/something-4bit", None),
    ("", None),
]


@pytest.mark.parametrize(("name", "value"), READ)
def test_names(name: str, value: str | None) -> None:
    assert quantization(name) == value
    assert quantization(name.upper()) == value


@pytest.mark.parametrize(
    ("ftype", "value"),
    [
        ("Q4_K - Medium", "q4_k_m"),
        ("Q3_K - Small", "q3_k_s"),
        ("Q5_K - Large", "q5_k_l"),
        ("Q6_K", "q6_k"),
        ("Q8_0", "q8_0"),
        ("Q4_1", "q4_1"),
        ("(guessed) all F32", "f32"),
        ("BF16", "bf16"),
        ("IQ4_XS - 4.25 bpw", "iq4_xs"),
        ("TQ1_0 - 1.69 bpw ternary", "tq1_0"),
        ("MXFP4 MoE", "gguf-mxfp4"),
        ("NVFP4", "gguf-nvfp4"),
        ("unknown, may not work", None),
    ],
)
def test_file_types_of_gguf(ftype: str, value: str | None) -> None:
    assert quantization(ftype, container="gguf") == value


def test_first_name_that_tells_wins() -> None:
    assert quantization("my-model", "/m/x-Q8_0.gguf") == "q8_0"
    assert quantization("mine-nvfp4", "/m/x.gguf") == "gguf-nvfp4"  # the container is read from all names


@given(st.lists(st.text(max_size=40), max_size=3))
def test_vocabulary_is_closed(names: list[str]) -> None:
    value = quantization(*names)
    assert value is None or value in QUANTIZATIONS


@given(st.sampled_from([n for n, _ in READ]), st.sampled_from(["gguf", "mlx", ""]))
def test_vocabulary_is_closed_for_real_names(name: str, container: str) -> None:
    value = quantization(name, container=container)
    assert value is None or value in QUANTIZATIONS
