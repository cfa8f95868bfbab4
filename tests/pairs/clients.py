"""Conversations as the clients of each dialect write them. None: the dialect can't say it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.pairs.talks import Json, Medium, Talk, Turn

MODEL = "gemma-4"


class CannotSay(Exception):
    """The dialect has no words for that."""


def openai_chat(talk: Talk) -> Json:
    messages: list[Json] = []
    number = 0
    for turn in talk.turns:
        if turn.role == "system":
            messages.append({"role": "system", "content": turn.text})
        elif turn.role == "user":
            parts = [*_text(turn, "text"), *(_chat_medium(m) for m in turn.media)]
            messages.append({"role": "user", "content": parts if turn.media else turn.text})
        elif turn.role == "assistant":
            message: Json = {"role": "assistant", "content": turn.text or None}
            if turn.thought:
                message["reasoning_content"] = turn.thought
            if turn.calls:
                message["tool_calls"] = [
                    {
                        "id": f"call_{number + i}",
                        "type": "function",
                        "function": {"name": n, "arguments": json.dumps(a, ensure_ascii=False)},
                    }
                    for i, (n, a) in enumerate(turn.calls)
                ]
                number += len(turn.calls)
            messages.append(message)
        else:
            content: Any = turn.text
            if turn.media:
                content = [*_text(turn, "text"), *(_chat_medium(m) for m in turn.media)]
            messages.append({"role": "tool", "tool_call_id": f"call_{turn.call}", "content": content})
    out: Json = {"model": MODEL, "messages": messages}
    if talk.tools:
        out["tools"] = [
            {"type": "function", "function": {"name": n, "description": d, "parameters": p}} for n, d, p in talk.tools
        ]
    if talk.choice is not None:
        plain = talk.choice in ("auto", "none", "required")
        out["tool_choice"] = talk.choice if plain else {"type": "function", "function": {"name": talk.choice}}
    _put(out, talk, temperature="temperature", top_p="top_p", max_tokens="max_tokens", seed="seed")
    if talk.stop:
        out["stop"] = list(talk.stop)
    if talk.schema is not None:
        out["response_format"] = {"type": "json_schema", "json_schema": {"name": "out", "schema": talk.schema}}
    if talk.json_object:
        out["response_format"] = {"type": "json_object"}
    if talk.thinking is not None:
        out["reasoning_effort"] = "high" if talk.thinking else "none"
    return out


def _chat_medium(medium: Medium) -> Json:
    mime, data = medium
    if mime.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}"}}
    if mime.startswith("audio/"):
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"type": "video_url", "video_url": {"url": f"data:{mime};base64,{data}"}}


def responses(talk: Talk) -> Json:
    items: list[Json] = []
    number = 0
    for turn in talk.turns:
        if turn.role in ("system", "user"):
            role = "developer" if turn.role == "system" else "user"
            parts = [*_text(turn, "input_text"), *(_responses_medium(m) for m in turn.media)]
            items.append({"type": "message", "role": role, "content": parts})
        elif turn.role == "assistant":
            if turn.thought:
                thought = {"type": "reasoning_text", "text": turn.thought}
                items.append({"type": "reasoning", "id": "rs_1", "summary": [], "content": [thought]})
            if turn.text:
                content = [{"type": "output_text", "text": turn.text, "annotations": []}]
                items.append({"type": "message", "role": "assistant", "content": content})
            for name, arguments in turn.calls:
                given = json.dumps(arguments, ensure_ascii=False)
                items.append(
                    {
                        "type": "function_call",
                        "call_id": f"call_{number}",
                        "name": name,
                        "arguments": given,
                        "id": "fc_1",
                    }
                )
                number += 1
        else:
            output: Any = turn.text
            if turn.media:
                output = [*_text(turn, "input_text"), *(_responses_medium(m) for m in turn.media)]
            items.append({"type": "function_call_output", "call_id": f"call_{turn.call}", "output": output})
    out: Json = {"model": MODEL, "input": items, "store": False}
    if talk.tools:
        out["tools"] = [{"type": "function", "name": n, "description": d, "parameters": p} for n, d, p in talk.tools]
    if talk.choice is not None:
        plain = talk.choice in ("auto", "none", "required")
        out["tool_choice"] = talk.choice if plain else {"type": "function", "name": talk.choice}
    _put(out, talk, temperature="temperature", top_p="top_p", max_tokens="max_output_tokens")
    if talk.stop or talk.seed is not None:
        raise CannotSay
    if talk.schema is not None:
        out["text"] = {"format": {"type": "json_schema", "name": "out", "schema": talk.schema}}
    if talk.json_object:
        out["text"] = {"format": {"type": "json_object"}}
    if talk.thinking is not None:
        out["reasoning"] = {"effort": "high" if talk.thinking else "none"}
    return out


def _responses_medium(medium: Medium) -> Json:
    mime, data = medium
    if mime.startswith("image/"):
        return {"type": "input_image", "image_url": f"data:{mime};base64,{data}", "detail": "auto"}
    if mime.startswith("audio/"):
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    raise CannotSay


def messages(talk: Talk) -> Json:
    out: Json = {"model": MODEL, "max_tokens": talk.max_tokens or 1000, "messages": []}
    system = [t.text for t in talk.turns if t.role == "system"]
    if system:
        out["system"] = [{"type": "text", "text": s, "cache_control": {"type": "ephemeral"}} for s in system]
    number = 0
    for turn in talk.turns:
        if turn.role == "user":
            _block(out, "user", [*_text(turn, "text"), *(_block_medium(m) for m in turn.media)])
        elif turn.role == "assistant":
            blocks: list[Json] = []
            if turn.thought:
                blocks.append({"type": "thinking", "thinking": turn.thought, "signature": "gateway-unsigned"})
            blocks += _text(turn, "text")
            for name, arguments in turn.calls:
                blocks.append({"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments})
                number += 1
            _block(out, "assistant", blocks)
        elif turn.role == "result":
            block: Json = {"type": "tool_result", "tool_use_id": f"toolu_{turn.call}", "content": turn.text}
            if turn.media:
                block["content"] = [*_text(turn, "text"), *(_block_medium(m) for m in turn.media)]
            if turn.error:
                block["is_error"] = True
            _block(out, "user", [block])
    if talk.tools:
        out["tools"] = [{"name": n, "description": d, "input_schema": p} for n, d, p in talk.tools]
    if talk.choice is not None:
        kind = {"required": "any"}.get(talk.choice, talk.choice)
        named = kind not in ("auto", "any", "none")
        out["tool_choice"] = {"type": "tool", "name": kind} if named else {"type": kind}
    _put(out, talk, temperature="temperature", top_p="top_p")
    if talk.stop:
        out["stop_sequences"] = list(talk.stop)
    if talk.seed is not None or talk.json_object:
        raise CannotSay
    if talk.schema is not None:
        out["output_config"] = {"format": {"type": "json_schema", "schema": talk.schema}}
    if talk.thinking is not None:
        out["thinking"] = {"type": "enabled", "budget_tokens": 500} if talk.thinking else {"type": "disabled"}
    return out


def _block(out: Json, role: str, blocks: list[Json]) -> None:
    last = out["messages"][-1] if out["messages"] else None
    if last is not None and last["role"] == role:
        last["content"] += blocks
    else:
        out["messages"].append({"role": role, "content": blocks})


def _block_medium(medium: Medium) -> Json:
    mime, data = medium
    if not mime.startswith("image/"):
        raise CannotSay
    return {"type": "image", "source": {"type": "base64", "media_type": mime, "data": data}}


def gemini(talk: Talk) -> Json:
    contents: list[Json] = []
    names: list[str] = []
    system: list[str] = []
    for turn in talk.turns:
        if turn.role == "system":
            system.append(turn.text)
            continue
        parts: list[Json] = [{"text": turn.text}] if turn.text and turn.role != "result" else []
        if turn.thought:
            parts.insert(0, {"text": turn.thought, "thought": True})
        media = [{"inlineData": {"mime_type": mime, "data": data}} for mime, data in turn.media]
        if turn.role == "assistant":
            parts += [{"functionCall": {"name": n, "args": a}} for n, a in turn.calls]
            names += [n for n, _ in turn.calls]
        elif turn.role == "result":
            key = "error" if turn.error else "output"
            answer: Json = {"name": names[turn.call], "response": {key: turn.text} if turn.text else {}}
            if media:
                answer["parts"], media = media, []
            parts.append({"functionResponse": answer})
        role = "model" if turn.role == "assistant" else "user"
        together = turn.role == "result" and contents and "functionResponse" in contents[-1]["parts"][-1]
        if together:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts + media})
    out: Json = {"model": MODEL, "contents": contents}
    if system:
        out["systemInstruction"] = {"role": "user", "parts": [{"text": s} for s in system]}
    if talk.tools:
        declared = [{"name": n, "description": d, "parametersJsonSchema": p} for n, d, p in talk.tools]
        out["tools"] = [{"functionDeclarations": declared}]
    if talk.choice is not None:
        mode = {"auto": "AUTO", "none": "NONE"}.get(talk.choice, "ANY")
        calling: Json = {"mode": mode}
        if mode == "ANY" and talk.choice != "required":
            calling["allowedFunctionNames"] = [talk.choice]
        out["toolConfig"] = {"functionCallingConfig": calling}
    config: Json = {}
    _put(config, talk, temperature="temperature", top_p="topP", max_tokens="maxOutputTokens", seed="seed")
    if talk.stop:
        config["stopSequences"] = list(talk.stop)
    if talk.schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": talk.schema}
    if talk.json_object:
        config["responseMimeType"] = "application/json"
    if talk.thinking is not None:
        config["thinkingConfig"] = {"thinking_level": "HIGH"} if talk.thinking else {"thinkingBudget": 0}
    if config:
        out["generationConfig"] = config
    return out


def ollama(talk: Talk) -> Json:
    out: Json = {"model": MODEL, "messages": [], "stream": False}
    names: list[str] = []
    for turn in talk.turns:
        message: Json = {"role": "tool" if turn.role == "result" else turn.role, "content": turn.text}
        if turn.thought:
            message["thinking"] = turn.thought
        if turn.media:
            if any(mime.startswith("video/") for mime, _ in turn.media):
                raise CannotSay
            message["images"] = [data for _, data in turn.media]
        if turn.calls:
            message["tool_calls"] = [{"function": {"name": n, "arguments": a}} for n, a in turn.calls]
            names += [n for n, _ in turn.calls]
        if turn.role == "result":
            message["tool_name"] = names[turn.call]
        out["messages"].append(message)
    if talk.tools:
        out["tools"] = [
            {"type": "function", "function": {"name": n, "description": d, "parameters": p}} for n, d, p in talk.tools
        ]
    if talk.choice not in (None, "auto"):
        raise CannotSay
    options: Json = {}
    _put(options, talk, temperature="temperature", top_p="top_p", max_tokens="num_predict", seed="seed")
    if talk.stop:
        options["stop"] = list(talk.stop)
    if options:
        out["options"] = options
    if talk.schema is not None:
        out["format"] = talk.schema
    if talk.json_object:
        out["format"] = "json"
    if talk.thinking is not None:
        out["think"] = talk.thinking
    return out


def _text(turn: Turn, kind: str) -> list[Json]:
    return [{"type": kind, "text": turn.text}] if turn.text else []


def _put(out: Json, talk: Talk, **names: str) -> None:
    for ours, theirs in names.items():
        value = getattr(talk, ours)
        if value is not None:
            out[theirs] = value


@dataclass(frozen=True)
class Client:
    """`path`: where it posts. `answer`: the words in a whole answer to it."""

    write: Callable[[Talk], Json]
    path: str
    answer: Callable[[Json], str]


CLIENTS: dict[str, Client] = {
    "chat": Client(openai_chat, "/v1/chat/completions", lambda b: b["choices"][0]["message"]["content"]),
    "responses": Client(responses, "/v1/responses", lambda b: b["output"][0]["content"][0]["text"]),
    "messages": Client(messages, "/v1/messages", lambda b: b["content"][0]["text"]),
    "gemini": Client(
        gemini,
        f"/v1beta/models/{MODEL}:generateContent",
        lambda b: b["candidates"][0]["content"]["parts"][0]["text"],
    ),
    "ollama": Client(ollama, "/api/chat", lambda b: b["message"]["content"]),
}


def body_of(client: str, talk: Talk) -> Json | None:
    """None if the dialect can't say it."""
    try:
        return CLIENTS[client].write(talk)
    except CannotSay:
        return None
