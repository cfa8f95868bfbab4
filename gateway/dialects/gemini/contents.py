"""The turns of a conversation: `contents` <-> messages.

A turn here may be cut into several contents (streaming clients send one per chunk); they are one message. The results
of tools stand in a user's content: they become messages of their own, each with the id of its call, in the order of
the calls. Results without an id belong to the first call of that name that has none yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.canonical.content import Image, Message, Part, Text, ToolCall, ToolResult
from gateway.dialects import Limits
from gateway.dialects.fields import Json
from gateway.dialects.gemini.calls import Response, parse_call, parse_response, render_call, render_result
from gateway.dialects.gemini.fields import Shape, objects, under
from gateway.dialects.gemini.parts import parse_content_part, read_part, render_part
from gateway.dialects.gemini.receiver import Receiver
from gateway.errors import BadRequest, PartRefused

_CONTENT: Final = Shape("role parts")
_ROLES: Final = ("user", "model", "function")

_TOO_FEW = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)
_NO_CALL = "Please ensure that function response turn comes immediately after a function call turn."
# the words of the API itself: its clients know them


def parse_contents(value: object, limits: Limits) -> list[Message]:
    """Raises BadRequest with the path of what is wrong."""
    entries = objects(value, "contents") if value is not None else []
    if len(entries) > limits.messages:
        raise BadRequest(
            f"`contents` has {len(entries)} elements, at most {limits.messages} are allowed",
            param="contents",
            code="array_above_max_length",
        )
    reader = _Reader(limits)
    for index, (entry, path) in enumerate(entries):
        reader.read(entry, path, index)
    messages = reader.end()
    if not messages:
        raise BadRequest("contents is not specified", param="contents", code="missing_required_parameter")
    return messages


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: list[Message] = []
        self._block: list[Response] = []  # results that wait for the end of their turn
        self._after: list[Part] = []  # what the user said beside them
        self._after_path = ""
        self._images = 0

    def read(self, value: object, path: str, index: int) -> None:
        content = {"parts": [{"text": value}]} if isinstance(value, str) else value
        known, others = _CONTENT.read(content, path)
        if others:
            key = next(iter(others))
            raise BadRequest(f"`{path}` is a content: it has no field {key[:60]!r}", param=path)
        role = known.get("role", "user")
        if role not in _ROLES:
            raise BadRequest("Please use a valid role: user, model.", param=under(path, "role"))
        entries = objects(known["parts"], under(path, "parts")) if "parts" in known else []
        if len(entries) > self._limits.parts:
            where = under(path, "parts")
            raise BadRequest(
                f"`{where}` has {len(entries)} elements, at most {self._limits.parts} are allowed",
                param=where,
                code="array_above_max_length",
            )
        if role == "model":
            self._model(entries, path, index)
        else:
            self._user(entries, path)

    def end(self) -> list[Message]:
        self._close()
        return self._messages

    def _model(self, entries: list[tuple[object, str]], path: str, index: int) -> None:
        self._close()
        last = self._messages[-1] if self._messages else None
        message = last if last is not None and last.role == "assistant" else Message("assistant", [], path=path)
        calls = sum(isinstance(p, ToolCall) for p in message.parts)
        for value, where in entries:
            kind, part = read_part(value, where)
            if kind == "functionResponse":
                raise BadRequest(f"`{where}` is a function's result, which stands in a user's content", param=where)
            if kind == "functionCall":
                message.parts.append(parse_call(part, where, f"call_g{index}_{calls}"))
                calls += 1
            else:
                self._add(message, parse_content_part(kind, part, where))
        if message.parts and message is not last:
            self._messages.append(message)

    def _add(self, message: Message, part: Part | None) -> None:
        """Pieces of one text become that text again; a signed piece stays what its signature is about."""
        if part is None:
            return
        held = message.parts[-1] if message.parts else None
        if isinstance(held, Text) and isinstance(part, Text) and _bare(held) and _bare(part):
            message.parts[-1] = Text(held.text + part.text, path=held.path)
        else:
            message.parts.append(part)

    def _user(self, entries: list[tuple[object, str]], path: str) -> None:
        responses: list[Response] = []
        others: list[Part] = []
        for value, where in entries:
            kind, part = read_part(value, where)
            if kind == "functionCall":
                raise BadRequest(f"`{where}` is a function's call, which stands in a model's content", param=where)
            if kind == "functionResponse":
                responses.append(parse_response(part, where))
                continue
            found = parse_content_part(kind, part, where)
            if found is not None:
                others.append(found)
                self._count(found, where)
        if responses:
            last = self._messages[-1] if self._messages else None
            if last is None or last.role != "assistant" or not any(isinstance(p, ToolCall) for p in last.parts):
                raise BadRequest(_NO_CALL, param=responses[0].result.path)
            self._block += responses
            for response in responses:
                if isinstance(response.result.content, list):
                    for inner in response.result.content:
                        self._count(inner, response.result.path)
        else:
            self._close()
        if not others:
            return
        if self._block:
            self._after += others
            self._after_path = self._after_path or path
        else:
            self._say(others, path)

    def _say(self, parts: list[Part], path: str) -> None:
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role == "user":
            last.parts += parts
        else:
            self._messages.append(Message("user", parts, path=path))

    def _count(self, part: Part, path: str) -> None:
        self._images += type(part) is Image
        if self._images > self._limits.images:
            most = self._limits.images
            raise BadRequest(
                f"`{path}` is image {most + 1}, at most {most} are allowed", param=path, code="array_above_max_length"
            )

    def _close(self) -> None:
        """The turn of results is over: every call has one, or the request is wrong."""
        if not self._block:
            return
        calls = [p for p in self._messages[-1].parts if isinstance(p, ToolCall)]
        for result in _paired(calls, self._block):
            self._messages.append(Message("tool", [result], path=result.path))
        self._block = []
        if self._after:
            self._say(self._after, self._after_path)
            self._after, self._after_path = [], ""


def _bare(part: Text) -> bool:
    return part.signature is None and not part.extra


def _paired(calls: list[ToolCall], responses: list[Response]) -> list[ToolResult]:
    """The results in the order of their calls."""
    if len(calls) != len(responses):
        raise BadRequest(_TOO_FEW, param=responses[-1].result.path)
    found: dict[int, ToolResult] = {}
    left = list(responses)
    for number, call in enumerate(calls):
        match = next((r for r in left if r.id == call.id), None)
        if match is not None:
            found[number] = match.result
            left.remove(match)
    for response in left:
        number_ = next((n for n, c in enumerate(calls) if n not in found and c.name == response.name), None)
        if number_ is None:
            raise BadRequest(f"{_TOO_FEW} No call of that name waits for this one.", param=response.result.path)
        found[number_] = response.result
    for number, call in enumerate(calls):
        found[number].call_id = call.id
    return [found[n] for n in range(len(calls))]


def render_contents(messages: list[Message], receiver: Receiver) -> tuple[list[Json], list[Json]]:
    """(the system's parts, the contents). Raises PartRefused or BadRequest with the path of what can't be said."""
    writer = _Writer(receiver)
    for message in messages:
        writer.write(message)
    return writer.end()


@dataclass(slots=True)
class _Turn:
    """The ids of the calls of the model's last turn, and what came back for them: (id, part)."""

    order: list[str] = field(default_factory=list)
    results: list[tuple[str, Json]] = field(default_factory=list)
    media: list[Json] = field(default_factory=list)


class _Writer:
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._system: list[Json] = []
        self._contents: list[Json] = []
        self._names: dict[str, str] = {}
        self._turn = _Turn()

    def write(self, message: Message) -> None:
        if message.role in ("system", "developer"):
            self._instruct(message)
        elif message.role == "assistant":
            self._flush()
            self._say("model", self._assistant(message))
        else:
            results = [p for p in message.parts if isinstance(p, ToolResult)]
            for result in results:
                self._result(result)
            others: list[Part] = [p for p in message.parts if not isinstance(p, ToolResult)]
            if others:
                answered = self._flush()
                # after results the user's words are a content of their own
                self._say("user", self._parts(Message("user", others)), apart=answered)

    def _instruct(self, message: Message) -> None:
        for part in message.parts:
            rendered = render_part(part, self._receiver)
            if rendered is not None and "text" not in rendered:
                raise PartRefused("this server's instructions are text", param=part.path or None)
            if rendered is not None and rendered != {"text": ""}:
                self._system.append(rendered)

    def end(self) -> tuple[list[Json], list[Json]]:
        self._flush()
        if not self._contents:
            self._contents.append({"role": "user", "parts": [{"text": " "}]})  # an empty conversation is refused
        return self._system, self._contents

    def _parts(self, message: Message) -> list[Json]:
        found = [render_part(p, self._receiver) for p in message.parts]
        return [p for p in found if p is not None]

    def _assistant(self, message: Message) -> list[Json]:
        out: list[Json] = []
        if not self._contents or self._contents[-1]["role"] != "model":
            self._turn = _Turn()
        unsigned = self._receiver.placeholder and not self._turn.order
        for part in message.parts:
            if isinstance(part, ToolCall):
                rendered: Json | None = render_call(part, self._receiver)
                assert rendered is not None
                if unsigned and "thoughtSignature" not in rendered:
                    rendered["thoughtSignature"] = PLACEHOLDER
                unsigned = False  # of parallel calls only the first is signed
                self._turn.order.append(part.id)
                self._names[part.id] = part.name
            else:
                rendered = render_part(part, self._receiver)
            if rendered is not None:
                out.append(rendered)
        return out

    def _say(self, role: str, parts: list[Json], apart: bool = False) -> None:
        parts = [p for p in parts if p != {"text": ""}]
        if not parts:
            return
        last = self._contents[-1] if self._contents else None
        if last is not None and last["role"] == role and not apart:
            last["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})

    def _result(self, result: ToolResult) -> None:
        name = self._names.get(result.call_id) or result.name
        if name is None:
            raise PartRefused("this result belongs to no tool call before it", param=result.path or None)
        rendered, media = render_result(result, name, self._receiver)
        self._turn.results.append((result.call_id, rendered))
        self._turn.media += media

    def _flush(self) -> bool:
        """Writes the results that are held, in the order of their calls. True if there were any."""
        turn = self._turn
        if not turn.results:
            return False
        places = {call: i for i, call in reversed(list(enumerate(turn.order)))}
        ordered = sorted(turn.results, key=lambda result: places.get(result[0], len(places)))
        self._say("user", [part for _, part in ordered], apart=True)
        self._say("user", turn.media, apart=True)
        self._turn = _Turn()
        return True


PLACEHOLDER: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""What stands for a signature that was lost (`skip_thought_signature_validator`).
https://ai.google.dev/gemini-api/docs/thought-signatures"""
