"""What a scripted upstream says: whole answers and stream events in the OpenAI shape, as JSON values."""

from __future__ import annotations

from typing import Any

MODEL = "tiny-gemma4"
TEXTS = ["Hello", " from", " the", " wire", "."]
TEXT = "".join(TEXTS)
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def chat(text: str = TEXT, *, model: str = MODEL, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A whole chat completion. `more` = further top-level fields."""
    return {
        "id": "chatcmpl-wire",
        "object": "chat.completion",
        "created": 1795499321,
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None, "finish_reason": finish}
        ],
        "usage": USAGE,
        **more,
    }


def chunk(
    delta: dict[str, Any] | None, *, model: str = MODEL, finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    """One stream event. `delta` None = an event without choices."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {
        "id": "chatcmpl-wire",
        "object": "chat.completion.chunk",
        "created": 1795499321,
        "model": model,
        "choices": choices,
        **more,
    }


def chunks(
    texts: list[str] | None = None, *, model: str = MODEL, finish: str | None = "stop", usage: bool = True
) -> list[dict[str, Any]]:
    """The events of a whole stream: the role, the texts, the finish (None = never said), the usage."""
    out = [chunk({"role": "assistant", "content": ""}, model=model)]
    out += [chunk({"content": t}, model=model) for t in (TEXTS if texts is None else texts)]
    if finish is not None:
        out.append(chunk({}, model=model, finish=finish))
        if usage:
            out.append(chunk(None, model=model, usage=USAGE))
    return out


def completion(text: str = TEXT, *, model: str = MODEL) -> dict[str, Any]:
    return {
        "id": "cmpl-wire",
        "object": "text_completion",
        "created": 1795499321,
        "model": model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def embedding(inputs: int, *, model: str = MODEL) -> dict[str, Any]:
    return {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": i, "embedding": [0.5, -0.25, 0.125]} for i in range(inputs)],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def error(message: str, *, kind: str = "server_error", code: Any = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
