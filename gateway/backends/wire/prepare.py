"""A chat as one kind of server takes it: canonical in, canonical out. Nothing of the request that came in is changed:
the next attempt, at another kind of server, starts from it again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gateway.backends.wire.media import fit_media
from gateway.canonical.content import (
    Audio,
    Document,
    Extra,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.custom import FIELD, as_function
from gateway.canonical.facts import Facts
from gateway.canonical.identity import same
from gateway.canonical.requests import Chat, Completion, Embedding, ToolChoice
from gateway.dialects.fields import field_name
from gateway.dialects.openai.chat import BINDING_EXTRAS
from gateway.dialects.openai.parts import DIALECT
from gateway.errors import BadRequest, PartRefused, UnsupportedParameter


def words(text: str) -> frozenset[str]:
    """The words of `text`: a table of field names that reads like one."""
    return frozenset(text.split())


MEANING = words("guided_json json_schema format functions function_call modalities audio documents") | BINDING_EXTRAS
"""Fields beyond the canonical ones that change what an answer means: a server that would ignore one gets none."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()


@dataclass(slots=True, frozen=True)
class Manner:
    """How a kind wants its requests.

    `extras`: the fields beyond the canonical ones that it gets. `sampling`: canonical sampling fields that it does not
    know. `whole_dialect`: it knows every part and tool of the dialect (refusals, custom tools); else what can be said
    plainly is said plainly and the rest is refused. `named_as_required`: it does not understand a named tool choice,
    but does obey `required`. `choosing`: it obeys a tool choice at all; where not, `none` sends no tools and a named
    one no others. `thoughts`: it reads the thoughts of earlier turns (elsewhere that may be an unknown field).
    `one_text`: texts that stand side by side in a message go as one, for servers that would glue them with blanks or
    take each for a message of its own. `result_media`: a tool's result may hold media; elsewhere they follow it as the
    user's words do.
    """

    extras: frozenset[str] = frozenset()
    sampling: frozenset[str] = frozenset()
    whole_dialect: bool = False
    named_as_required: bool = False
    choosing: bool = True
    thoughts: bool = True
    one_text: bool = False
    result_media: bool = False


def prepare(chat: Chat, facts: Facts, manner: Manner, dropped: list[str]) -> Chat:
    """The chat for a server of this manner; appends to `dropped` what it does not get.

    Raises PartRefused or UnsupportedParameter with the path of what the server can't take."""
    changed: dict[str, Any] = {}
    if chat.bound:
        _bound(chat, dropped)
    if chat.output is not None and chat.output.kind == "choice" and manner.extras.isdisjoint(_CHOOSERS):
        raise UnsupportedParameter("this server can't be held to a choice of texts", param=chat.output.path or None)
    messages = [_message(m, facts, manner, dropped) for m in chat.messages]
    if not manner.result_media and any(m.role == "tool" for m in messages):
        messages = _hoisted(messages)
    if not same(messages, chat.messages):
        changed["messages"] = messages
    if chat.tools or chat.tool_choice is not None or chat.parallel_tool_calls is not None:
        changed |= _tools(chat, manner, dropped)
    changed |= prepare_sampling(chat, facts, manner, dropped)
    if chat.audio_out and not manner.whole_dialect:
        raise UnsupportedParameter("this server does not speak: it answers in text", param="modalities")
    return replace(chat, **changed) if changed else chat


_CHOOSERS = ("structured_outputs", "grammar")
"""Extras of servers that can be held to a choice of texts."""


def _bound(chat: Chat, dropped: list[str]) -> None:
    """Fields of another dialect that no server of this one has: an offer may go, anything else may not."""
    for field in chat.bound:
        if field.dialect == DIALECT:
            continue
        if not field.offer:
            raise UnsupportedParameter(f"{field.name} is not enabled for models/{chat.model}", param=field.path)
        dropped.append(field.path)


def _hoisted(messages: list[Message]) -> list[Message]:
    """The same with the media of tools' results behind the last result of their turn, in the user's place."""
    out: list[Message] = []
    media: list[Part] = []
    for message in messages:
        if message.role == "tool":
            parts, found = _without_media(message.parts)
            out.append(replace(message, parts=parts) if found else message)
            media += found
            continue
        if media and message.role == "user":
            message = replace(message, parts=[*media, *message.parts])
        elif media:
            out.append(Message("user", media, path=out[-1].path))
        media = []
        out.append(message)
    if media:
        out.append(Message("user", media, path=out[-1].path))
    return messages if same(out, messages) else out


def _without_media(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """(the parts, with the media taken out of results; those media)."""
    new: list[Part] = []
    media: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult) and isinstance(part.content, list):
            found = [p for p in part.content if isinstance(p, Image | Audio | Video | Document)]
            if found:
                rest: list[Part] = [p for p in part.content if not isinstance(p, Image | Audio | Video | Document)]
                part = replace(part, content=rest or [Text("", path=part.path)])
                media += found
        new.append(part)
    return new, media


def prepare_sampling(request: Chat | Completion, facts: Facts, manner: Manner, dropped: list[str]) -> dict[str, Any]:
    """The `sampling` field without what the server does not know, if there is any; names the extras it does not get."""
    drop_extras(request, manner, dropped)
    asked = request.sampling
    unknown = sorted(f for f in manner.sampling if getattr(asked, f) is not None)
    if asked.seed is not None and facts.seed is False:
        unknown.append("seed")
    if not unknown:
        return {}
    dropped += unknown
    changed: dict[str, Any] = dict.fromkeys(unknown)
    return {"sampling": replace(asked, **changed)}


def drop_extras(request: Chat | Completion | Embedding, manner: Manner, dropped: list[str]) -> None:
    """Names the request's own extras that the server does not get. Raises UnsupportedParameter for one that changes
    what the answer means."""
    for key in (request.extra or {}).get(DIALECT) or ():
        if key not in manner.extras:
            if key in MEANING:
                raise UnsupportedParameter(f"this server does not have `{key}`", param=key)
            dropped.append(key)
    dropped += [
        f"{dialect}.{key}"
        for dialect, keys in (request.extra or {}).items()
        if dialect != DIALECT and "." not in dialect  # a layer with a dot only tells how the rest was written
        for key in keys
    ]


def _message(message: Message, facts: Facts, manner: Manner, dropped: list[str]) -> Message:
    parts = message.parts
    if len(parts) == 1 and type(parts[0]) is Text and parts[0].extra is None and message.extra is None:
        return message
    _name_extra(message.extra, "messages[]", manner, dropped)
    new = _parts(parts, facts, manner, dropped)
    if not manner.thoughts and any(isinstance(p, Thinking) for p in new):
        if any(isinstance(p, Thinking) and p.path for p in new):  # else it is the gateway that gave it back
            dropped.append("messages[].reasoning_content")
        new = [p for p in new if not isinstance(p, Thinking)] or [Text("", path=message.path)]
    elif any(map(_sealed, new)):
        dropped.append("messages[].redacted_thinking")
        new = [p for p in new if not _sealed(p)] or [Text("", path=message.path)]
    if manner.one_text:
        new = _joined(new)
    return message if new is parts else replace(message, parts=new)


def _sealed(part: Part) -> bool:
    """A thought that only its maker can read."""
    return isinstance(part, Thinking) and part.redacted is not None and not part.text


def _joined(parts: list[Part]) -> list[Part]:
    """The same with neighbouring texts as one, in tool results, too; the same list if there are none."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(part, Text) and isinstance(last, Text):
            out[-1] = replace(last, text=f"{last.text}\n{part.text}")
        elif isinstance(part, ToolResult) and isinstance(part.content, list):
            content = _joined(part.content)
            out.append(part if content is part.content else replace(part, content=content))
        else:
            out.append(part)
    return parts if same(out, parts) else out


def _parts(parts: list[Part], facts: Facts, manner: Manner, dropped: list[str]) -> list[Part]:
    new = [_part(p, facts, manner, dropped) for p in parts]
    return parts if same(new, parts) else new


def _part(part: Part, facts: Facts, manner: Manner, dropped: list[str]) -> Part:
    if part.extra is not None:
        _name_extra(part.extra, "messages[].content[]", manner, dropped)
    if isinstance(part, Text | Thinking):
        return part
    if isinstance(part, Image | Audio | Video | Document):
        media = fit_media(part, facts)
        if media.clip is not None and media.clip.fps is not None:
            dropped.append("video fps")  # how often a server looks is its own setting
        return part if media is part.media else replace(part, media=media)
    if isinstance(part, ToolCall):
        return _call(part, manner)
    if isinstance(part, ToolResult):
        if part.is_error and "is_error" not in manner.extras and not _tells_error(part):
            dropped.append("messages[].is_error")
        if isinstance(part.content, dict):
            return part
        content = _parts(part.content, facts, manner, dropped)
        return part if content is part.content else replace(part, content=content)
    if isinstance(part, Refusal):
        # a field that such servers ignore: as text it stays in the conversation
        return part if manner.whole_dialect else Text(part.text, path=part.path)
    assert isinstance(part, Opaque)
    raise PartRefused(f"no server of this kind knows a part of type {part.type[:40]!r}", param=part.path)


def _tells_error(result: ToolResult) -> bool:
    """Does what the tool said tell of itself that it failed?"""
    return isinstance(result.content, dict) and set(result.content) == {"error"}


def _call(call: ToolCall, manner: Manner) -> ToolCall:
    """Arguments as the text of a JSON object: servers parse it, and answer anything else with 500, 404 or nothing."""
    if call.kind == "custom":
        if manner.whole_dialect:
            return call
        return replace(call, kind="function", arguments=_json({FIELD: call.arguments}))
    arguments = object_text(call.arguments)
    return call if arguments == call.arguments else replace(call, arguments=arguments)


def object_text(arguments: str) -> str:
    """`arguments` if it is the text of a JSON object, else one that holds all of it."""
    try:
        _OBJECT.decode(arguments)
        return arguments
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        pass
    if not arguments.strip():
        return "{}"
    try:
        value = _ANY.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _json({"arguments": arguments})
    if isinstance(value, str):
        try:
            _OBJECT.decode(value)
            return value  # encoded twice, which some clients do
        except msgspec.DecodeError:
            pass
    return _json({"arguments": value})


def _json(value: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        raise BadRequest("the arguments of a past tool call hold half of a surrogate pair", param="messages") from None


def _tools(chat: Chat, manner: Manner, dropped: list[str]) -> dict[str, Any]:
    """The tools that may be called and how: allowed names become the list itself, no tools means no choice."""
    choice = chat.tool_choice
    if not chat.tools:
        if choice is not None and choice.mode in ("required", "named"):
            raise BadRequest("`tool_choice` asks for a tool, but there are no tools", param="tool_choice")
        return {"tools": [], "tool_choice": None, "parallel_tool_calls": None}
    for tool in chat.tools:
        _name_extra(tool.extra, "tools[]", manner, dropped)
    tools = chat.tools
    changed: dict[str, Any] = {}
    if not manner.whole_dialect and any(t.kind == "custom" for t in tools):
        changed["tools"] = tools = [as_function(t) for t in tools]  # and the filter turns its calls back
    if choice is not None and not manner.choosing and choice.mode == "none":
        return {"tools": [], "tool_choice": None, "parallel_tool_calls": None}
    if choice is None or not choice.names or manner.whole_dialect:
        return changed
    missing = set(choice.names) - {t.name for t in chat.tools}
    if missing:
        raise BadRequest(f"`tool_choice` names {sorted(missing)[0][:64]!r}: no such tool", param="tool_choice")
    if not manner.choosing:
        return {"tools": [t for t in tools if t.name in choice.names], "tool_choice": None}
    if choice.mode == "named" and not manner.named_as_required:
        return changed
    mode = "required" if choice.mode == "named" else choice.mode
    return {"tools": [t for t in tools if t.name in choice.names], "tool_choice": ToolChoice(mode)}


def _name_extra(extra: Any, place: str, manner: Manner, dropped: list[str]) -> None:
    if extra is None:
        return
    dropped += [f"{place}.{field_name(key)}" for key in extra.get(DIALECT) or () if key not in manner.extras]
    dropped += foreign_fields(extra, DIALECT)


def foreign_fields(extra: Extra | None, dialect: str) -> list[str]:
    """The names of the fields of a message, a part or a tool that came in other dialects than this server's. A layer
    with a dot only tells how the rest was written."""
    return [
        f"{name}.{field_name(key)}"
        for name, keys in (extra or {}).items()
        if name != dialect and "." not in name
        for key in keys
    ]
