"""Gemma 4's calls and thoughts, read from the text of servers that do not read them (or not well).

Codes in `repairs`: leaked_thought, repeated_thought, unclosed_thought, stray_marker, cut_marker, eot_text_dropped;
bare_call, bad_opener, parentheses, unclosed_call, missing_bracket, doubled_brackets, junk_in_call, json_call,
malformed_call, empty_call, cut_call, oversized_call, call_in_thought; schema_type, bare_string, quoted_string,
unclosed_string, stray_delimiter, stray_comma, duplicate_key, thought_in_argument, late_thought.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.canonical.events import Finish
from gateway.filters.gemma4.calls import Tools
from gateway.filters.gemma4.reader import Gemma4Reader
from gateway.filters.markup.rewrite import MarkupFilter, Parsed, parse_with


class Gemma4Markup(MarkupFilter):
    """`tools`: declared name -> JSON schema of its parameters, or None. `new_id` makes the id of a call.

    `open_reasoning`: the prompt ended inside of a thought. `whole`: nothing is shown before the answer is complete, so
    it is read as a whole (a thought whose beginning is missing is only known by its end). `likely_inside`: as far as
    is known the prompt ended inside of a thought: a whole answer that was cut with no other sign is one.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        new_id: Callable[[], str],
        open_reasoning: bool = False,
        whole: bool = False,
        likely_inside: bool = False,
    ) -> None:
        def reader(inside: bool) -> Gemma4Reader:
            return Gemma4Reader(tools, open_reasoning=open_reasoning or inside)

        super().__init__(reader, new_id=new_id, whole=whole, likely_inside=likely_inside)


def parse(
    text: str,
    tools: Tools,
    *,
    new_id: Callable[[], str],
    finish: Finish = "stop",
    open_reasoning: bool = False,
) -> Parsed:
    """The parts of a whole answer. `finish`: why the server says that it ended."""
    return parse_with(Gemma4Markup(tools, new_id=new_id, open_reasoning=open_reasoning, whole=True), text, finish)
