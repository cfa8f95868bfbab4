"""Any model: text only until a server says more. And how the names of quantizations are read, for every family."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.canonical.facts import Facts

QUANTIZATIONS: tuple[str, ...] = (
    *("nvfp4", "mxfp4", "mxfp8", "fp8", "awq", "gptq", "w4a16", "w8a8", "int8", "int4", "bnb-4bit", "bnb-8bit"),
    *("bf16", "f16", "f32"),
    *("q2_k", "q2_k_s", "q2_k_l", "q2_k_xl", "q3_k_s", "q3_k_m", "q3_k_l", "q3_k_xl", "q4_0", "q4_1", "q4_k"),
    *("q4_k_s", "q4_k_m", "q4_k_l", "q4_k_xl", "q5_0", "q5_1", "q5_k", "q5_k_s", "q5_k_m", "q5_k_l", "q5_k_xl"),
    *("q6_k", "q6_k_l", "q6_k_xl", "q8_0", "q8_k_xl", "iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"),
    *("iq3_xxs", "iq3_xs", "iq3_s", "iq3_m", "iq4_xs", "iq4_nl", "tq1_0", "tq2_0", "gguf-nvfp4", "gguf-mxfp4"),
    *("mlx-3bit", "mlx-4bit", "mlx-5bit", "mlx-6bit", "mlx-8bit", "mlx-mxfp4", "mlx-mxfp8", "mlx-nvfp4"),
)
"""Every value that `Facts.quantization` can take. The same word in another container is another value: an `mlx-nvfp4`
or `gguf-nvfp4` file only runs on that container's engines."""

_KNOWN = frozenset(QUANTIZATIONS)


def _word(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9]){pattern}(?![a-z0-9])")


# In this order: a name may say more than one thing (`NVFP4-FP8-KV`), and the narrower word comes first.
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_word(r"unquantized"), "bf16"),  # Google's `-qat-q4_0-unquantized`: trained for Q4_0, stored as BF16
    (_word(r"nvfp4"), "nvfp4"),
    (_word(r"mxfp4"), "mxfp4"),
    (_word(r"mxfp8"), "mxfp8"),
    (_word(r"fp8"), "fp8"),
    (_word(r"awq"), "awq"),
    (_word(r"gptq"), "gptq"),
    (_word(r"w4a16"), "w4a16"),
    (_word(r"w8a8"), "w8a8"),
    (_word(r"bnb[-_]?4bit"), "bnb-4bit"),
    (_word(r"bnb[-_]?8bit"), "bnb-8bit"),
)
_GGUF = re.compile(
    r"(?<![a-z0-9])(?:"
    r"(?P<k>q[2-8]_k)(?:_(?P<s>xl|s|m|l)|\s*-\s*(?P<long>small|medium|large))?"
    r"|(?P<other>q[458]_[01]|iq[1-4]_(?:xxs|xs|s|m|nl)|tq[12]_0)"
    r")(?![a-z0-9])"
)
_BITS = _word(r"([3-8])[-_]?bits?")
_INT = _word(r"int([48])")
_FLOATS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_word(r"bf16"), "bf16"),
    (_word(r"(?:f|fp)16"), "f16"),
    (_word(r"(?:f|fp)32"), "f32"),
)
_MLX = re.compile(r"(?<![a-z])mlx(?![a-z])")
_TAG = re.compile(r"[a-z0-9._-]+:[a-z0-9._-]+")


def recognise(names: Sequence[str]) -> Facts:
    """A model about which nothing is known but that it reads text."""
    return Facts(image=False, audio=False, video=False)


def quantization(*names: str, container: str = "") -> str | None:
    """One of QUANTIZATIONS, read from the first name that tells; None if none does.

    `container`: "gguf" or "mlx" where the caller knows what the weights lie in; else the names are asked.
    """
    lowered = [n.lower() for n in names if n]
    box = container or _container(lowered)
    for name in lowered:
        value = _read(name, box)
        if value is not None and value in _KNOWN:
            return value
    return None


def _container(names: list[str]) -> str:
    for name in names:
        if "gguf" in name:
            return "gguf"
        if _MLX.search(name):
            return "mlx"
        # a bare `model:31b-nvfp4` is a tag of a runtime that keeps its FP4 and FP8 weights for its MLX engine
        if _TAG.fullmatch(name) and re.search(r"(?<![a-z])(?:nvfp4|mxfp4|mxfp8)", name):
            return "mlx"
    return ""


def _read(name: str, box: str) -> str | None:
    for pattern, value in _WORDS:
        if pattern.search(name):
            return f"{box}-{value}" if box and f"{box}-{value}" in _KNOWN else value
    found = _GGUF.search(name)
    if found:
        if found["other"]:
            return found["other"]
        size = found["s"] or (found["long"] or "")[:1]
        return f"{found['k']}_{size}" if size else found["k"]
    if box == "mlx" and (bits := _BITS.search(name)):
        return f"mlx-{bits[1]}bit"
    if found := _INT.search(name):
        return f"int{found[1]}"
    for pattern, value in _FLOATS:
        if pattern.search(name):
            return value
    return None
