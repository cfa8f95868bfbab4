"""What machines say of themselves."""

from __future__ import annotations

import pytest

from gateway.compose.hardware import Gpu, Hardware, read, read_apple, read_meminfo, read_nvidia

RTX = "NVIDIA GeForce RTX 4090, 24564, 8.9\n"
A2000 = "NVIDIA RTX A2000, 6138, 8.6\n"
B200 = "NVIDIA B200, 183359, 10.0\n"
MEMINFO = "MemTotal:       65536000 kB\nMemFree:          123456 kB\n"


def test_a_line_for_each_gpu() -> None:
    assert read_nvidia(RTX + B200) == [
        Gpu("NVIDIA GeForce RTX 4090", 24564 / 1024, (8, 9)),
        Gpu("NVIDIA B200", 183359 / 1024, (10, 0)),
    ]
    assert read_nvidia("") == []


@pytest.mark.parametrize(
    "text", ["No devices were found\n", "NVIDIA A100, [N/A], 8.0\n", "NVIDIA A100, 40960, [N/A]\n", "a, b, c, d\n"]
)
def test_what_is_no_gpu_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="nvidia-smi says"):
        read_nvidia(text)


def test_blackwell_is_a_compute_capability() -> None:
    old, new = read_nvidia(RTX + B200)
    assert not old.blackwell
    assert new.blackwell
    assert Gpu("RTX PRO 6000", 96.0, (12, 0)).blackwell


def test_of_unequal_gpus_those_that_have_most_together_work_side_by_side() -> None:
    found = read(A2000 + RTX + RTX + A2000 * 4, None, MEMINFO)
    assert [g.name for g in found.gpus] == ["NVIDIA GeForce RTX 4090"] * 2
    assert found.others == ("NVIDIA RTX A2000",) * 5
    assert found.memory == 62.5


def test_a_mac() -> None:
    assert read(None, "Apple M3 Max\n38654705664\n", None) == Hardware(36.0, apple="Apple M3 Max")
    assert read_apple("Intel(R) Core(TM) i9\n17179869184\n") is None
    assert read_apple("Apple M9\n") == ("Apple M9", 0.0)


def test_a_machine_without_a_gpu() -> None:
    assert read(None, None, MEMINFO) == Hardware(62.5)
    assert read(None, None, None) == Hardware(0.0)
    assert read_meminfo("") == 0.0
