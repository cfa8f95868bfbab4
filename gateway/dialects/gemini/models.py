"""What the hosted models differ in, by their ids: the API's own list says little more than their limits.

Sources: https://ai.google.dev/gemma/docs/core/gemma_on_gemini_api, https://ai.google.dev/gemini-api/docs/thinking.
"""

from __future__ import annotations

import re

from gateway.canonical.facts import Facts
from gateway.dialects.gemini.receiver import Receiver

_GEMMA = re.compile(r"(?:^|/)gemma")
_HOSTED_GEMMA_4 = re.compile(r"(?:^|/)gemma-4-(?:31b|26b)")
_NO_SYSTEM = re.compile(r"(?:^|/)gemma-[123](?![0-9])")
_GEMINI = re.compile(r"(?:^|/)gemini-(?:(\d)(?:\.(\d))?-|(?:flash|pro)-)")


def is_gemma(model: str) -> bool:
    return _GEMMA.search(model) is not None


def no_system(model: str) -> bool:
    """Gemma up to 3 has no system role there."""
    return _NO_SYSTEM.search(model) is not None


def receiver_of(model: str, facts: Facts) -> Receiver:
    """How the target wants its requests: what is known of its facts, else what its name tells."""
    told = name_facts(model)
    levels = facts.thinking_levels if facts.thinking_levels is not None else told.thinking_levels
    budget = facts.thinking_budget if facts.thinking_budget is not None else told.thinking_budget
    ids = facts.call_ids if facts.call_ids is not None else told.call_ids
    signed = facts.call_signatures if facts.call_signatures is not None else told.call_signatures
    gemma = is_gemma(model)
    return Receiver(
        call_ids=bool(ids),
        schema_form="openapi" if (facts.schema_form or told.schema_form) == "openapi" else "json_schema",
        levels=levels or frozenset(),
        budget=bool(budget),
        validated=not gemma,
        thoughts=False,
        resolution=not gemma,
        result_media=_major(model) >= 3,
        unasked=gemma,
        placeholder=bool(signed),
    )


def name_facts(model: str) -> Facts:
    """What a hosted model's id tells: the list of models says little more than its limits."""
    if _HOSTED_GEMMA_4.search(model):
        return Facts(
            image=True,
            audio=False,
            video=False,
            document=False,
            tools=True,
            thinking=True,
            thinking_levels=frozenset({"minimal", "high"}),
            thinking_budget=False,
            call_ids=False,
            choices=1,
        )
    if is_gemma(model):
        return Facts(call_ids=False, choices=1)
    found = _GEMINI.search(model)
    if found is None:
        return Facts()
    major = _major(model)
    facts = Facts(image=True, audio=True, video=True, document=True, tools=True, choices=8, call_ids=major >= 3)
    facts.thinking = major >= 3 or model.find("2.5") >= 0
    if major >= 3:
        facts.call_signatures, facts.thinking_budget = True, False
        facts.thinking_levels = frozenset({"low", "high"} if "-pro" in model else {"minimal", "low", "medium", "high"})
    elif facts.thinking:
        facts.thinking_levels, facts.thinking_budget = frozenset(), True
    return facts


def _major(model: str) -> int:
    """The version of a Gemini model: a name without one means the newest; 0 for other models."""
    found = _GEMINI.search(model)
    return 0 if found is None else int(found[1] or 3)
