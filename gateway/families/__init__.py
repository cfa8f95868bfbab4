"""Model families: what is known about a model from its names alone, without asking a server.

One module per family, with `recognise(names) -> Facts | None`; the first that knows the model wins. What a running
server says outranks all of this.
"""

from __future__ import annotations

from gateway.canonical.facts import Facts
from gateway.families import default, gemma4, llama, mistral, qwen

_FAMILIES = (gemma4.recognise, qwen.recognise, llama.recognise, mistral.recognise)


def identify(*names: str) -> Facts:
    """What the names of one model tell: its served id, hub id or path, file name, tag; in any order, case ignored.

    A model of an unknown family is taken to read text only. `context` stays None: only the server knows it.
    """
    facts = default.recognise(names)
    for recognise in _FAMILIES:
        known = recognise(names)
        if known is not None:
            facts = known
            break
    facts.quantization = default.quantization(*names)
    return facts
