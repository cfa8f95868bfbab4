"""Which model on which server: the largest that fits, from tables.

Sizes of weights are those of the checkpoints (https://github.com/vllm-project/recipes, and the model cards), in GB.
What they need beside that is an estimate, rounded up: nothing here was measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.compose.hardware import Gpu, Hardware

Size = Literal["e2b", "e4b", "12b", "31b"]
Want = Literal["auto", "cpu", "nvidia", "blackwell", "apple"]

SIZES: tuple[Size, ...] = ("e2b", "e4b", "12b", "31b")
HEARS: frozenset[Size] = frozenset({"e2b", "e4b", "12b"})
GIB = 1e9 / 2**30
"""GiB in a GB: weights are told in GB, memory in GiB."""
SHARE = 0.90
"""Of each GPU, what vLLM takes (`--gpu-memory-utilization`)."""
WORKING = 5.0
"""GiB of each GPU beside the weights: what vLLM computes in, its graphs, and a cache for a few long conversations."""


class DoesNotFit(Exception):
    """Nothing that was asked for can run here. `fix` = what can."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(f"{why}: {fix}")
        self.why, self.fix = why, fix


@dataclass(slots=True, frozen=True)
class Checkpoint:
    """`weights` in GB. `capability` = the first compute capability that it makes sense on."""

    size: Size
    model: str
    weights: float
    capability: tuple[int, int] = (8, 0)
    quantization: str | None = None
    flags: tuple[str, ...] = ()


NVFP4 = Checkpoint("31b", "nvidia/Gemma-4-31B-IT-NVFP4", 32.7, (10, 0), "nvfp4", flags=("--kv-cache-dtype", "fp8"))

VLLM = (
    NVFP4,
    Checkpoint("31b", "google/gemma-4-31B-it", 59.0),
    Checkpoint("31b", "RedHatAI/gemma-4-31B-it-FP8-block", 34.9, (8, 9)),
    Checkpoint("31b", "google/gemma-4-31B-it-qat-w4a16-ct", 19.8),
    Checkpoint("12b", "google/gemma-4-12B-it", 22.8),
    Checkpoint("12b", "google/gemma-4-12B-it-qat-w4a16-ct", 8.3),
    Checkpoint("e4b", "google/gemma-4-E4B-it", 15.2),
    Checkpoint("e2b", "google/gemma-4-E2B-it", 9.8),
)
"""For vLLM, the most able first."""


@dataclass(slots=True, frozen=True)
class Gguf:
    """For llama.cpp. `needs` = GiB for the weights (4 bit), the projector and 16,384 tokens of context."""

    size: Size
    model: str
    needs: float


GGUF = (
    Gguf("e4b", "ggml-org/gemma-4-E4B-it-GGUF", 9.0),
    Gguf("e2b", "ggml-org/gemma-4-E2B-it-GGUF", 6.0),
)
"""For llama.cpp, the most able first. Both see and hear."""

MLX = (
    ("12b", "mlx-community/gemma-4-12B-it-4bit", 24.0),
    ("e4b", "mlx-community/gemma-4-e4b-it-4bit", 16.0),
    ("e2b", "mlx-community/gemma-4-e2b-it-4bit", 8.0),
)
"""For mlx-vlm: size, model, the Mac's memory in GiB from which on it is chosen."""


@dataclass(slots=True, frozen=True)
class OnVllm:
    checkpoint: Checkpoint
    gpu: Gpu
    parallel: int
    ears: Gguf | None
    """What hears for it, on the CPU, where it does not hear itself."""

    def memory(self) -> str:
        taken, weights = self.gpu.memory * SHARE, self.checkpoint.weights * GIB / self.parallel
        return (
            f"{taken:.1f} of {self.gpu.memory:.1f} GiB on {'each of ' if self.parallel > 1 else ''}{self.parallel} x "
            f"{self.gpu.name}: {weights:.1f} GiB weights, the rest for its cache and what it computes in"
        )


@dataclass(slots=True, frozen=True)
class OnLlamaCpp:
    """`gpu` = None on the CPU."""

    gguf: Gguf
    gpu: Gpu | None

    def memory(self) -> str:
        where = "the machine's memory" if self.gpu is None else f"the memory of 1 x {self.gpu.name}"
        return f"about {self.gguf.needs:.0f} GiB of {where}"


@dataclass(slots=True, frozen=True)
class OnMac:
    """A container does not reach the GPU of a Mac: mlx-vlm runs beside them."""

    model: str
    chip: str
    needs: float

    def memory(self) -> str:
        return (
            f"of the Mac's unified memory, outside of containers; this model is for Macs from {self.needs:.0f} GiB on"
        )

    def command(self) -> str:
        return f"mlx_vlm.server --model {self.model} --host 127.0.0.1 --port 8080"


Choice = OnVllm | OnLlamaCpp | OnMac


def choose(hardware: Hardware, want: Want = "auto", size: Size | None = None) -> Choice:
    """Raises DoesNotFit."""
    if want == "apple" or (want == "auto" and hardware.apple):
        return _mac(hardware, size)
    if want in ("nvidia", "blackwell") or (want == "auto" and hardware.gpus):
        return _nvidia(hardware, want, size)
    return OnLlamaCpp(_gguf(hardware.memory, size, "this machine"), None)


def _nvidia(hardware: Hardware, want: Want, size: Size | None) -> Choice:
    if not hardware.gpus:
        raise DoesNotFit("no NVIDIA GPU is here (nvidia-smi shows none)", "install its driver, or use --for cpu")
    gpu = hardware.gpus[0]
    if want == "blackwell" and not gpu.blackwell:
        raise DoesNotFit(f"{gpu.name} is not Blackwell: NVFP4 would run as 16 bit there", "use --for nvidia")
    for checkpoint in VLLM:
        if (size and checkpoint.size != size) or (want == "blackwell" and checkpoint is not NVFP4):
            continue
        parallel = _parallel(checkpoint, hardware.gpus)
        if parallel:
            return OnVllm(checkpoint, gpu, parallel, _ears(checkpoint, hardware))
    if want == "blackwell":
        need = (NVFP4.weights * GIB + WORKING) / SHARE
        raise DoesNotFit(f"{NVFP4.model} needs {need:.0f} GiB of GPU memory", "use --for nvidia")
    return OnLlamaCpp(_gguf(gpu.memory * SHARE, size, gpu.name), gpu)


def _parallel(checkpoint: Checkpoint, gpus: tuple[Gpu, ...]) -> int:
    """Over how many GPUs it has to be split, a power of two since heads are divided evenly; 0 = it does not fit."""
    if gpus[0].capability < checkpoint.capability:
        return 0
    for parallel in (1, 2, 4, 8):
        need = checkpoint.weights * GIB / parallel + WORKING
        if parallel <= len(gpus) and need <= gpus[0].memory * SHARE:
            return parallel
    return 0


def _ears(checkpoint: Checkpoint, hardware: Hardware) -> Gguf | None:
    smallest = GGUF[-1]
    return None if checkpoint.size in HEARS or hardware.memory < smallest.needs + 2 else smallest


def _gguf(memory: float, size: Size | None, where: str) -> Gguf:
    """The largest that leaves half of the memory free, the smallest where none does; what is asked for, if it fits."""
    if size is not None:
        asked = next((g for g in GGUF if g.size == size), None)
        if asked is None:
            raise DoesNotFit(f"{size} is too large or too slow for {where}", "use --model e4b or e2b")
        if memory and asked.needs > memory:
            fix = "use --model e2b" if size != "e2b" else "use a machine with more, or a server elsewhere"
            raise DoesNotFit(f"{size} needs about {asked.needs:.0f} GiB, {where} has {memory:.1f}", fix)
        return asked
    return next((g for g in GGUF if g.needs * 2 <= memory), GGUF[-1])


def _mac(hardware: Hardware, size: Size | None) -> OnMac:
    if not hardware.apple:
        raise DoesNotFit("this is no Mac with Apple silicon", "use --for cpu or --for nvidia")
    if size is not None:
        for name, model, needs in MLX:
            if name == size:
                return OnMac(model, hardware.apple, needs)
        raise DoesNotFit(f"{size} has no place on a Mac in these tables", "use --model 12b, e4b or e2b")
    fits = (m for m in MLX if m[2] <= hardware.memory)
    _, model, needs = next(fits, MLX[-1])
    return OnMac(model, hardware.apple, needs)
