"""`options` of a request, both ways: how tokens are chosen, and how the server runs the model.

What only this dialect has is kept in `extra["ollama"]`, by its own name.
Source: https://docs.ollama.com/modelfile#parameter
"""

from __future__ import annotations

from typing import Final

from gateway.canonical.requests import Sampling
from gateway.dialects import Limits
from gateway.dialects.fields import (
    INT32,
    INT64,
    Json,
    field_name,
    fields_or_none,
    integer,
    number,
    stop_texts,
)

DIALECT: Final = "ollama"
_OWN: Final = """
    num_ctx num_keep num_batch num_gpu main_gpu num_thread use_mmap numa low_vram f16_kv vocab_only use_mlock logits_all
    typical_p tfs_z repeat_last_n mirostat mirostat_tau mirostat_eta penalize_newline draft_num_predict
"""
OWN: Final = frozenset(_OWN.split())
"""Options that only this dialect has."""

_NUMBERS: Final = {
    "temperature": ("temperature", 0, 2),
    "top_p": ("top_p", 0, 1),
    "min_p": ("min_p", 0, 1),
    "presence_penalty": ("presence_penalty", -2, 2),
    "frequency_penalty": ("frequency_penalty", -2, 2),
    "repeat_penalty": ("repetition_penalty", 0, 10),
}
"""Option -> (canonical field, least, most)."""
_MODELLED: Final = frozenset(_NUMBERS) | {"seed", "top_k", "num_predict", "stop"}


def parse_options(value: object, limits: Limits, extra: Json, dropped: list[str]) -> Sampling:
    """Adds the dialect's own options to `extra`, and names in `dropped` what no server has."""
    out = Sampling()
    options = fields_or_none(value, "options") or {}
    for key, given in options.items():
        if given is None:
            continue
        path = f"options.{field_name(key)}"
        if key in _NUMBERS:
            name, least, most = _NUMBERS[key]
            setattr(out, name, number(given, path, least, most))
        elif key == "seed":
            out.seed = integer(given, path, -INT64 - 1, INT64)
        elif key == "top_k":
            out.top_k = integer(given, path, -1, INT32)
        elif key == "num_predict":
            # 0 and below: no limit
            out.max_tokens = max(0, integer(given, path, -INT32, INT32)) or None
        elif key == "stop":
            out.stop = stop_texts(given, "options.stop", limits.stop)
        elif key in OWN:
            extra[key] = given
        else:
            dropped.append(path)
    return out


def render_options(sampling: Sampling, own: Json) -> Json:
    """`own`: the dialect's own options that the receiver gets. `logit_bias` has no counterpart."""
    out: Json = {}
    for key, (name, _, _) in _NUMBERS.items():
        if getattr(sampling, name) is not None:
            out[key] = getattr(sampling, name)
    for key, value in (
        ("seed", sampling.seed),
        ("top_k", sampling.top_k),
        ("num_predict", sampling.max_tokens),
        ("stop", sampling.stop),
    ):
        if value is not None:
            out[key] = value
    return out | {key: value for key, value in own.items() if key in OWN}
