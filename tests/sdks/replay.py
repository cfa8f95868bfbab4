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
    """A step for `Wire`: answers a chat as `stack` does, saying what `script` says."""

    stack: str
    script: Script

    async def run(self, x: Exchange) -> None:
        what, nth = self.script(x.asked), len(x.asked.get("messages", []))
        if not x.asked.get("stream"):
            await Reply(whole(self.stack, what, x.model, nth)).run(x)
            return
        await Head().run(x)
        for event in stream(self.stack, what, x.model, nth):
            await Body(event).run(x)
        await Finish().run(x)


def whole(stack: str, what: Called | str, model: str, nth: int) -> bytes:
    """The body of a whole answer. `nth` = which answer of a conversation: its call's identifier is like no other's."""
    body = recorded(_WHOLE[kind(stack)]).json | {"model": model}
    choice = body["choices"][0]
    message = choice["message"]
    if isinstance(what, str):
        message["content"] = what
        message.pop("tool_calls")
        choice["finish_reason"] = "stop"
    elif stack == MARKUP:
        message["content"] += markup(what)
        message.pop("tool_calls")
        choice["finish_reason"] = "stop"
    else:
        call = message["tool_calls"][0]
        call["id"] = _fresh(call["id"], nth)
        call["function"] |= {"name": what[0], "arguments": json.dumps(what[1])}
    return json.dumps(body, separators=_separators(recorded(_WHOLE[kind(stack)]).body)).encode()


def stream(stack: str, what: Called | str, model: str, nth: int) -> Iterator[bytes]:
    """The events of a stream, each with its blank line."""
    raw = recorded(_STREAM[kind(stack)]).body
    events = [e for e in raw.strip().split(b"\n\n") if e]
    put_in = False
    for event in events:
        value = _data(event)
        if value is None:
            yield event + b"\n\n"
            continue
        for new in _rewritten(stack, value | {"model": model}, what, put_in, nth):
            yield b"data: " + json.dumps(new, separators=_separators(event)).encode() + b"\n\n"
        put_in = put_in or _calls(value)


def markup(call: Called) -> str:
    """A call as Gemma 4 writes it."""
    fields = ",".join(f'{name}:<|"|>{value}<|"|>' for name, value in call[1].items())
    return f"<|tool_call>call:{call[0]}{{{fields}}}<tool_call|>"


def _rewritten(stack: str, value: Json, what: Called | str, put_in: bool, nth: int) -> Iterator[Json]:
    """The events that stand for one recorded event."""
    choice = value["choices"][0] if value["choices"] else None
    if choice is None:
        yield value
    elif _calls(value):
        if not put_in:
            yield from _said(stack, value, what, nth)
        elif isinstance(what, tuple) and stack == "vllm":  # the name went first; here are the arguments
            yield _with(value, {"tool_calls": [{"index": 0, "function": {"arguments": json.dumps(what[1])}}]})
    elif choice["finish_reason"] and (isinstance(what, str) or stack == MARKUP):
        yield {**value, "choices": [{**choice, "finish_reason": "stop"}]}
    elif choice["delta"].get("content") and isinstance(what, str):
        return  # the recording's own words, where others are said
    else:
        yield value


def _said(stack: str, value: Json, what: Called | str, nth: int) -> Iterator[Json]:
    delta = copy.deepcopy(value["choices"][0]["delta"])
    [call] = delta.pop("tool_calls")
    if isinstance(what, str) or stack == MARKUP:
        text = what if isinstance(what, str) else markup(what)
        yield from (_with(value, {**delta, "content": piece}) for piece in _pieces(text))
        return
    name, arguments = what[0], json.dumps(what[1])
    call["id"] = _fresh(call["id"], nth)
    if stack == "vllm":
        call["function"] = {"name": name}
        yield _with(value, {**delta, "tool_calls": [call]})
    elif stack == "llamacpp":
        first, *others = _pieces(arguments)
        call["function"] = {"name": name, "arguments": first}
        yield _with(value, {**delta, "tool_calls": [call]})
        for piece in others:
            yield _with(value, {**delta, "tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        call["function"] = {"name": name, "arguments": arguments}
        yield _with(value, {**delta, "tool_calls": [call]})


def _with(value: Json, delta: Json) -> Json:
    return {**value, "choices": [{**value["choices"][0], "delta": delta}]}


def _calls(value: Json) -> bool:
    return bool(value["choices"] and value["choices"][0]["delta"].get("tool_calls"))


def _fresh(identifier: str, nth: int) -> str:
    return f"{identifier[:-3]}{nth:03d}"


def _pieces(text: str, size: int = 3) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def _data(event: bytes) -> Json | None:
    if not event.startswith(b"data: {"):
        return None
    value: Json = json.loads(event[6:])
    return value


def _separators(raw: bytes) -> tuple[str, str]:
    return (", ", ": ") if b'": ' in raw[:40] else (",", ":")
