"""Which model on which hardware, and how its memory is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compose.choice import (
    GIB,
    SHARE,
    SIZES,
    WORKING,
    DoesNotFit,
    OnLlamaCpp,
    OnMac,
    OnVllm,
    Size,
    Want,
    choose,
)
from gateway.compose.hardware import Gpu, Hardware


def machine(count: int, memory: float, capability: tuple[int, int], ram: float = 64.0) -> Hardware:
    return Hardware(ram, (Gpu("GPU", memory, capability),) * count)


@pytest.mark.parametrize(
    ("hardware", "model", "parallel"),
    [
        (machine(1, 179.0, (10, 0)), "nvidia/Gemma-4-31B-IT-NVFP4", 1),  # B200
        (machine(1, 31.8, (12, 0)), "google/gemma-4-31B-it-qat-w4a16-ct", 1),  # RTX 5090: NVFP4's weights don't fit
        (machine(2, 31.8, (12, 0)), "nvidia/Gemma-4-31B-IT-NVFP4", 2),
        (machine(1, 79.6, (9, 0)), "google/gemma-4-31B-it", 1),  # H100
        (machine(1, 47.7, (8, 9)), "RedHatAI/gemma-4-31B-it-FP8-block", 1),  # L40S
        (machine(1, 47.7, (8, 6)), "google/gemma-4-31B-it-qat-w4a16-ct", 1),  # A6000: no FP8
        (machine(1, 24.0, (8, 9)), "google/gemma-4-12B-it-qat-w4a16-ct", 1),  # RTX 4090
        (machine(3, 24.0, (8, 9)), "RedHatAI/gemma-4-31B-it-FP8-block", 2),  # the third stays idle
        (machine(4, 24.0, (8, 9)), "google/gemma-4-31B-it", 4),
        (machine(1, 16.0, (8, 9)), "google/gemma-4-12B-it-qat-w4a16-ct", 1),
    ],
)
def test_vllm_gets_the_most_able_model_that_fits(hardware: Hardware, model: str, parallel: int) -> None:
    chosen = choose(hardware)
    assert isinstance(chosen, OnVllm)
    assert (chosen.checkpoint.model, chosen.parallel) == (model, parallel)


def test_a_small_or_an_old_gpu_gets_llama_cpp() -> None:
    for hardware in (machine(1, 8.0, (8, 9)), machine(1, 24.0, (7, 0))):
        chosen = choose(hardware)
        assert isinstance(chosen, OnLlamaCpp)
        assert chosen.gpu is not None


def test_what_does_not_hear_gets_ears_where_there_is_memory_for_them() -> None:
    deaf = choose(machine(1, 79.6, (9, 0), ram=64.0))
    assert isinstance(deaf, OnVllm)
    assert deaf.ears is not None
    assert deaf.ears.size == "e2b"
    for chosen in (choose(machine(1, 24.0, (8, 9))), choose(machine(1, 79.6, (9, 0), ram=4.0))):
        assert isinstance(chosen, OnVllm)
        assert chosen.ears is None


@pytest.mark.parametrize(("memory", "size"), [(64.0, "e4b"), (16.0, "e2b"), (0.0, "e2b")])
def test_without_a_gpu_it_is_an_e_series_model(memory: float, size: str) -> None:
    chosen = choose(Hardware(memory))
    assert isinstance(chosen, OnLlamaCpp)
    assert (chosen.gguf.size, chosen.gpu) == (size, None)


@pytest.mark.parametrize(("memory", "model"), [(64.0, "12B"), (18.0, "e4b"), (8.0, "e2b"), (0.0, "e2b")])
def test_on_a_mac_the_server_runs_beside_the_containers(memory: float, model: str) -> None:
    chosen = choose(Hardware(memory, apple="Apple M3"))
    assert isinstance(chosen, OnMac)
    assert model in chosen.model
    assert chosen.command().startswith("mlx_vlm.server --model mlx-community/")


@pytest.mark.parametrize(
    ("hardware", "want", "size", "words"),
    [
        (Hardware(64.0), "nvidia", None, "no NVIDIA GPU is here .*--for cpu"),
        (Hardware(64.0), "blackwell", None, "no NVIDIA GPU is here"),
        (Hardware(64.0), "apple", None, "no Mac .*--for cpu"),
        (machine(1, 24.0, (8, 9)), "blackwell", None, "is not Blackwell.*--for nvidia"),
        (machine(1, 31.8, (12, 0)), "blackwell", None, "needs 39 GiB of GPU memory.*--for nvidia"),
        (machine(1, 24.0, (8, 9)), "auto", "31b", "31b is too large.*--model"),
        (Hardware(64.0), "auto", "31b", "31b is too large.*--model e4b"),
        (Hardware(8.0), "cpu", "e4b", "e4b needs about 9 GiB, this machine has 8.0.*--model e2b"),
        (Hardware(4.0), "cpu", "e2b", "e2b needs about 6 GiB"),
        (Hardware(64.0, apple="Apple M3"), "auto", "31b", "31b has no place on a Mac"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(
    hardware: Hardware, want: Want, size: Size | None, words: str
) -> None:
    with pytest.raises(DoesNotFit, match=words):
        choose(hardware, want, size)


def test_how_memory_is_told() -> None:
    two = choose(machine(2, 31.8, (12, 0)))
    assert two.memory() == (
        "28.6 of 31.8 GiB on each of 2 x GPU: 15.2 GiB weights, the rest for its cache and what it computes in"
    )
    assert choose(Hardware(16.0)).memory() == "about 6 GiB of the machine's memory"


gpus = st.builds(
    machine,
    st.integers(1, 16),
    st.floats(1.0, 200.0),
    st.sampled_from([(7, 0), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0)]),
    st.floats(0.0, 512.0),
)


@given(gpus, st.one_of(st.none(), st.sampled_from(SIZES)))
def test_what_is_chosen_fits(hardware: Hardware, size: Size | None) -> None:
    try:
        chosen = choose(hardware, "auto", size)
    except DoesNotFit as e:
        assert e.fix
        return
    if isinstance(chosen, OnVllm):
        taken = chosen.checkpoint.weights * GIB / chosen.parallel + WORKING
        assert taken <= chosen.gpu.memory * SHARE
        assert chosen.parallel in (1, 2, 4, 8)
        assert chosen.parallel <= len(hardware.gpus)
        assert chosen.gpu.capability >= chosen.checkpoint.capability
        assert size in (None, chosen.checkpoint.size)


@given(gpus)
def test_more_of_the_same_gpus_never_get_less(hardware: Hardware) -> None:
    def rank(h: Hardware) -> int:
        chosen = choose(h)
        return SIZES.index(chosen.checkpoint.size) if isinstance(chosen, OnVllm) else -1

    twice = Hardware(hardware.memory, hardware.gpus * 2)
    assert rank(twice) >= rank(hardware)
