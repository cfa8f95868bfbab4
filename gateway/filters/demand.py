"""What a folded answer has to meet before it counts, whoever promised it.

A *cut* answer (`length`, `content_filter`, `error`) says itself that it is not complete. It passes, as cut: a forced
call may be missing, JSON may end in the middle. What stands in it complete is still held to its schema, and text that
is not even the beginning of what was asked for does not pass as a piece of it. A refusal passes: it claims nothing.

A choice that calls a tool has given no final answer yet: `output` is asked of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway.canonical.content import Part, Refusal, Text, ToolCall
from gateway.canonical.events import Answer, Choice
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, OutputFormat
from gateway.errors import GatewayError, SchemaNotSatisfied, ToolChoiceNotSatisfied
from gateway.filters.instructions import instructed, nudged, shown_names
from gateway.filters.json_schema.validate import Compiled, check_schema, compiled

__all__ = ["Demand", "check_schema", "instructed", "nudged"]

_CUT: Final = ("length", "content_filter", "error", None)
_BEGINS: Final = frozenset('{["-0123456789tfn')
_NOTHING: Final = object()


@dataclass(slots=True, frozen=True)
class Demand:
    """`hold`: nothing may be shown before it was checked. `calls_only`: all that is demanded is of calls, so text and
    thoughts may be shown until the first one begins. `forced`: a call of one of these must be there. `strict`: tools
    whose arguments meet a schema. `begun`: the text with which the client began the answer, which
    servers do not repeat."""

    hold: bool
    calls_only: bool = False
    forced: frozenset[str] | None = None
    strict: Mapping[str, Compiled | None] = field(default_factory=dict)
    output: OutputFormat | None = None
    schema: Compiled | None = None
    begun: str = ""

    @classmethod
    def of(cls, request: Chat, facts: Facts) -> Demand | None:
        """None: nothing is to be verified. Raises BadRequest for a schema that can't be used."""
        forced = _forced(request)
        strict = {
            tool.name: None if tool.parameters is None else compiled(tool.parameters, f"tools[{i}].parameters")
            for i, tool in enumerate(request.tools)
            if tool.strict and tool.kind == "function"
        }
        if request.tool_choice is not None and request.tool_choice.mode == "none":
            strict = {}
        output = request.output
        enforced = facts.json_schema == "enforced"
        checked = output is not None and output.kind == "json_schema" and bool(output.strict)
        if enforced and not checked:
            output = None
        if forced is None and not strict and output is None:
            return None
        schema: Compiled | None = None
        if checked and output is not None and output.schema is not None:
            schema = compiled(output.schema, output.path or "output.schema")
        return cls(
            hold=forced is not None
            or (bool(strict) and facts.forced_tool != "enforced")
            or (output is not None and not enforced),
            calls_only=forced is None and output is None,
            forced=forced,
            strict=strict,
            output=output,
            schema=schema,
            begun=_text(request.messages[-1].parts) if request.prefill and request.messages else "",
        )

    def check(self, answer: Answer) -> GatewayError | None:
        """What is wrong with an answer. The message names the place in it, and never repeats it."""
        if self.forced is not None and not answer.choices:
            return _no_call("the answer", self.forced)
        for index, choice in enumerate(answer.choices):
            where = f"choices[{index}]"
            error = self._calls(choice, where)
            if error is None and self.output is not None:
                error = self._output(self.output, choice, f"{where}.content")
            if error is not None:
                return error
        return None

    def _output(self, output: OutputFormat, choice: Choice, path: str) -> GatewayError | None:
        if _refused(choice) or any(isinstance(part, ToolCall) for part in choice.parts):
            return None
        text, cut = _text(choice.parts), choice.finish in _CUT
        error = _form(output, self.schema, self.begun + text, cut, path)
        if error is not None and self.begun and _form(output, self.schema, text, cut, path) is None:
            return None  # a few servers begin anew, whatever the client began with
        return error

    def _calls(self, choice: Choice, where: str) -> GatewayError | None:
        cut = choice.finish in _CUT
        called = False
        number = 0
        for part in choice.parts:
            if not isinstance(part, ToolCall):
                continue
            path = f"{where}.tool_calls[{number}].arguments"
            number += 1
            permitted = self.forced is not None and part.name in self.forced
            called = called or permitted
            if part.kind == "custom" or not (permitted or part.name in self.strict):
                continue
            arguments = _decoded(part.arguments) if part.arguments.strip() else {}
            if cut and part is choice.parts[-1] and (arguments is _NOTHING or not part.arguments):
                continue  # the answer ended inside of it
            if not isinstance(arguments, dict):
                return _wrong(path, "is no JSON object")
            schema = self.strict.get(part.name)
            fault = None if schema is None else schema.fault(arguments)
            if fault is not None:
                return _wrong(path, fault[1], fault[0])
        if self.forced is None or called or cut or _refused(choice):
            return None
        return _no_call(f"`{where}`", self.forced)


def _forced(request: Chat) -> frozenset[str] | None:
    choice = request.tool_choice
    if choice is None or choice.mode not in ("required", "named"):
        return None
    return frozenset(choice.names or (tool.name for tool in request.tools))


def _text(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def _form(output: OutputFormat, schema: Compiled | None, text: str, cut: bool, path: str) -> GatewayError | None:
    if output.kind == "choice":
        choices = output.choices or []
        fits = any(one.startswith(text) for one in choices) if cut else text in choices
        return None if fits else _wrong(path, "is none of the texts that were to choose from")
    value = _decoded(text)
    if value is _NOTHING or (cut and not isinstance(value, dict | list | str)):
        begins = text.lstrip()[:1]
        if cut and (not begins or begins in ("{" if output.kind == "json_object" else _BEGINS)):
            return None
        return _wrong(path, "is no JSON")
    if output.kind == "json_object" and not isinstance(value, dict):
        return _wrong(path, "is no JSON object")
    fault = None if schema is None else schema.fault(value)
    return None if fault is None else _wrong(path, fault[1], fault[0])


def _refused(choice: Choice) -> bool:
    return any(isinstance(part, Refusal) for part in choice.parts)


def _decoded(text: str) -> Any:
    """The value of a JSON text; `_NOTHING` for what is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _NOTHING


def _wrong(path: str, words: str, inner: str = "") -> SchemaNotSatisfied:
    where = path + ("." if inner and inner[0] != "[" else "") + inner
    return SchemaNotSatisfied(f"the model's answer does not meet its schema: `{where}` {words}", detail={"path": where})


def _no_call(where: str, names: frozenset[str]) -> ToolChoiceNotSatisfied:
    return ToolChoiceNotSatisfied(f"the model called no tool in {where}; demanded was {shown_names(sorted(names))}")
