"""Words to the model about the form of its answer: what a server does not hold it to, and what a first attempt missed.

They are put where the rendered prompt of one turn stays the beginning of the next one's, so that the server's prefix
cache goes on working. `instructed` writes the same words to the same place in every turn: at the end of the first
message that the model is told anything in, which a client sends again with each turn. `nudged` writes to the very end,
for one attempt: all before it stays cached, but for the thoughts of a turn with tool results, since to every template
the words of a user end that turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from gateway.canonical.content import Message, Text
from gateway.canonical.requests import Chat, OutputFormat
from gateway.errors import GatewayError, ToolChoiceNotSatisfied

_MOST_NAMES = 8


def nudged(request: Chat, error: GatewayError) -> Chat:
    """The request for one more attempt, with what was wrong with the first in words: as more text of the last message
    if a user said it, else as a message of its own. A prefill stays the last message."""
    words = f"An earlier attempt at this answer was rejected: {error.message}. {_demanded(request, error)}"
    messages = list(request.messages)
    at = len(messages) - (1 if request.prefill and messages else 0)
    if at and messages[at - 1].role == "user":
        messages[at - 1] = _with(messages[at - 1], words)
    else:
        messages.insert(at, Message("user", [Text(words)]))
    return replace(request, messages=messages)


def instructed(request: Chat) -> Chat:
    """The request with what `output` demands in words, for a server that does not hold the model to it. The same
    object if it asks for nothing, or says so already. `output` stays."""
    if request.output is None:
        return request
    words = _form(request.output, bool(request.tools))
    messages = list(request.messages)
    at = _first_told(messages)
    if at is None:
        messages.insert(0, Message("user", [Text(words)]))
        return replace(request, messages=messages)
    told = _with(messages[at], words)
    if told is messages[at]:
        return request
    messages[at] = told
    return replace(request, messages=messages)


def shown_names(names: Iterable[str]) -> str:
    """`a`, or one of `a`, `b`; the first few of many."""
    known = [f"`{name}`" for name in names]
    if len(known) == 1:
        return known[0]
    return f"one of {', '.join(known[:_MOST_NAMES])}" + (", ..." if len(known) > _MOST_NAMES else "")


def _first_told(messages: list[Message]) -> int | None:
    """The system's or developer's word that the conversation begins with, else the first of a user's."""
    if messages and messages[0].role in ("system", "developer"):
        return 0
    return next((i for i, message in enumerate(messages) if message.role == "user"), None)


def _with(message: Message, words: str) -> Message:
    """The message with more text at its end; the same object if it ends so."""
    last = message.parts[-1] if message.parts else None
    if not isinstance(last, Text):
        return replace(message, parts=[*message.parts, Text(words, path=message.path)])
    if last.text == words or last.text.endswith("\n\n" + words):
        return message
    text = f"{last.text}\n\n{words}" if last.text else words
    return replace(message, parts=[*message.parts[:-1], replace(last, text=text)])


def _demanded(request: Chat, error: GatewayError) -> str:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none" and isinstance(error, ToolChoiceNotSatisfied):
        return "Now answer in words, and call no tool."
    if isinstance(error, ToolChoiceNotSatisfied):
        names = choice.names if choice is not None and choice.names else [tool.name for tool in request.tools]
        return f"Now call {shown_names(names)}, and write nothing else."
    if ".tool_calls[" in str((error.detail or {}).get("path", "")) or request.output is None:
        return "Now call the tool with arguments that its schema allows."
    return _form(request.output, tools=False, with_schema=False)


def _form(output: OutputFormat, tools: bool, with_schema: bool = True) -> str:
    lead = "When you do not call a tool, answer" if tools else "Answer"
    if output.kind == "choice":
        return f"{lead} with exactly one of these texts, and nothing else: {_json(output.choices or [])}"
    if output.kind == "json_object":
        return f"{lead} with one JSON object, and nothing else."
    if output.schema is None or not with_schema:
        which = " that the schema allows" if output.schema is not None else ""
        return f"{lead} with one JSON value{which}, and nothing else."
    about = f" ({output.description})" if output.description else ""
    return (
        f"{lead} with one JSON value{about}, and nothing else. It has to meet this JSON schema:\n{_json(output.schema)}"
    )


def _json(value: Any) -> str:
    """As the client wrote it: the order of its keys is the order in which a model should write them."""
    return msgspec.json.encode(value).decode()
