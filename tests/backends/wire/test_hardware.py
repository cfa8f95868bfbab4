import pytest

from gateway.backends.wire.hardware import generation

NAMES = [
    ("GPU 0: NVIDIA B200", "blackwell"),
    ("GPU 0: NVIDIA GB200\nGPU 1: NVIDIA GB200", "blackwell"),
    ("NVIDIA GB10", "blackwell"),
    ("NVIDIA GeForce RTX 5090", "blackwell"),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "blackwell"),
    ("NVIDIA H100 80GB HBM3", "hopper"),
    ("NVIDIA GH200 480GB", "hopper"),
    ("NVIDIA H20", "hopper"),
    ("NVIDIA L4", "ada"),
    ("NVIDIA L40S", "ada"),
    ("NVIDIA RTX 6000 Ada Generation", "ada"),
    ("NVIDIA GeForce RTX 4090", "ada"),
    ("NVIDIA A100-SXM4-80GB", "ampere"),
    ("NVIDIA A10G", "ampere"),
    ("NVIDIA RTX A6000", "ampere"),
    ("NVIDIA GeForce RTX 3090", "ampere"),
    ("Tesla V100-SXM2-32GB", None),
    ("AMD Instinct MI300X (gfx942)", None),
    ("GPU 0: NVIDIA B200\nGPU 1: NVIDIA H100", None),
    ("", None),
]


@pytest.mark.parametrize(("names", "expected"), NAMES)
def test_generation(names: str, expected: str | None) -> None:
    assert generation(names) == expected
