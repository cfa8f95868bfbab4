"""Upstreams that answer in the recorded bytes of vLLM, llama.cpp and MLX, with other words put in.

What a recording has is kept: which fields in which order, what comes in a delta and what in the next one, identifiers,
the finish and its usage, comments and `[DONE]`. What is changed: the model's name, the end of a call's
identifier (no two calls have the same), the name of the called tool, its arguments and their pieces, and where nothing
is called, the text.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.faults.steps import Body, Exchange, Finish, Head, Reply
from tests.wire import recorded

Json = dict[str, Any]
Called = tuple[str, Json]
"""A tool's name and what it is called with."""
Script = Callable[[Json], Called | str]
"""What a model says to a request's body: a call, or a text."""

MARKUP = "mlx_lm without a parser"
STACKS = ("vllm", "llamacpp", "mlx_lm", MARKUP)
"""Whose bytes. The last one's tool calls arrive as the text that the model wrote."""
_KIND = {MARKUP: "mlx_lm"}
_WHOLE = {"vllm": "vllm/tools_call", "llamacpp": "llamacpp/tools_required", "mlx_lm": "mlx_lm/tools_call"}
_STREAM = {
    "vllm": "vllm/tools_call_stream",
    "llamacpp": "llamacpp/tools_required_stream",
    "mlx_lm": "mlx_lm/tools_call_stream",
}


def kind(stack: str) -> Any:
    """Which kind of server speaks so."""
    return _KIND.get(stack, stack)


@dataclass(frozen=True)
class Replay:
    """A step for `Wire`: answers a chat as `stack` does, saying what `script` says. `words` = with the words that the
    recording has before its call."""

    stack: str
    script: Script
    words: bool = True

    async def run(self, x: Exchange) -> None:
        answer = Spoken(self.stack, self.script(x.asked), x.model, len(x.asked.get("messages", [])), self.words)
        if not x.asked.get("stream"):
            await Reply(answer.whole()).run(x)
            return
        await Head().run(x)
        for event in answer.stream(usage=bool((x.asked.get("stream_options") or {}).get("include_usage"))):
            await Body(event).run(x)
        await Finish().run(x)


@dataclass(frozen=True)
class Spoken:
    """One answer. `nth` = which one of its conversation: its call's identifier is like no other's."""

    stack: str
    what: Called | str
    model: str
    nth: int
    words: bool

    def whole(self) -> bytes:
        """The body of a whole answer."""
        raw = recorded(_WHOLE[kind(self.stack)])
        body = raw.json | {"model": self.model}
        choice = body["choices"][0]
        message = choice["message"]
        if isinstance(self.what, str) or not self.words:
            message["content"] = "" if isinstance(self.what, tuple) else self.what
        if isinstance(self.what, str) or self.stack == MARKUP:
            message["content"] += "" if isinstance(self.what, str) else markup(self.what)
            message.pop("tool_calls")
            choice["finish_reason"] = "stop"
        else:
            call = message["tool_calls"][0]
            call["id"] = self._fresh(call["id"])
            call["function"] |= {"name": self.what[0], "arguments": json.dumps(self.what[1])}
        return json.dumps(body, separators=_separators(raw.body)).encode()

    def stream(self, *, usage: bool) -> Iterator[bytes]:
        """The events of a stream, each with its blank line."""
        events = [e for e in recorded(_STREAM[kind(self.stack)]).body.strip().split(b"\n\n") if e]
        if usage and self.stack == "llamacpp":  # that recording was made without
            events[-1:-1] = [recorded("llamacpp/stream").body.strip().split(b"\n\n")[-2]]
        called = False
        for event in events:
            value = _data(event)
            if value is None:
                yield event + b"\n\n"
                continue
            for new in self._rewritten(value | {"model": self.model}, called):
                yield b"data: " + json.dumps(new, separators=_separators(event)).encode() + b"\n\n"
            called = called or _calls(value)

    def _rewritten(self, value: Json, called: bool) -> Iterator[Json]:
        """The events that stand for one recorded event. `called` = the recorded call has begun before it."""
        choice = value["choices"][0] if value["choices"] else None
        if choice is None:
            yield value
        elif _calls(value):
            if not called:
                yield from self._said(value)
            elif isinstance(self.what, tuple) and self.stack == "vllm":  # the name went first; here are the arguments
                given = {"arguments": json.dumps(self.what[1])}
                yield _with(value, {"tool_calls": [{"index": 0, "function": given}]})
        elif choice["finish_reason"] and (isinstance(self.what, str) or self.stack == MARKUP):
            yield {**value, "choices": [{**choice, "finish_reason": "stop"}]}
        elif choice["delta"].get("content") and (isinstance(self.what, str) or not self.words):
            return
        else:
            yield value

    def _said(self, value: Json) -> Iterator[Json]:
        """What is said where the recorded call begins."""
        delta = copy.deepcopy(value["choices"][0]["delta"])
        [call] = delta.pop("tool_calls")
        if isinstance(self.what, str) or self.stack == MARKUP:
            text = self.what if isinstance(self.what, str) else markup(self.what)
            yield from (_with(value, {**delta, "content": piece}) for piece in _pieces(text))
            return
        name, arguments = self.what[0], json.dumps(self.what[1])
        call["id"] = self._fresh(call["id"])
        if self.stack == "vllm":
            call["function"] = {"name": name}
            yield _with(value, {**delta, "tool_calls": [call]})
        elif self.stack == "llamacpp":
            first, *others = _pieces(arguments)
            call["function"] = {"name": name, "arguments": first}
            yield _with(value, {**delta, "tool_calls": [call]})
            for piece in others:
                yield _with(value, {**delta, "tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        else:
            call["function"] = {"name": name, "arguments": arguments}
            yield _with(value, {**delta, "tool_calls": [call]})

    def _fresh(self, identifier: str) -> str:
        return f"{identifier[:-3]}{self.nth:03d}"


def markup(call: Called) -> str:
    """A call as Gemma 4 writes it."""
    fields = ",".join(f"{name}:{_value(value)}" for name, value in call[1].items())
    return f"<|tool_call>call:{call[0]}{{{fields}}}<tool_call|>"


def _value(value: Any) -> str:
    return f'<|"|>{value}<|"|>' if isinstance(value, str) else json.dumps(value)


def _with(value: Json, delta: Json) -> Json:
    return {**value, "choices": [{**value["choices"][0], "delta": delta}]}


def _calls(value: Json) -> bool:
    return bool(value["choices"] and value["choices"][0]["delta"].get("tool_calls"))


def _pieces(text: str, size: int = 3) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def _data(event: bytes) -> Json | None:
    if not event.startswith(b"data: {"):
        return None
    value: Json = json.loads(event[6:])
    return value


def _separators(raw: bytes) -> tuple[str, str]:
    return (", ", ": ") if b'": ' in raw[:40] else (",", ":")
