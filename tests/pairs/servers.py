"""What the servers of each wire were told, read with other eyes than the gateway's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.pairs.talks import Json, Medium, Told


def chat_completions(body: Json) -> Told:
    out = Told()
    names: dict[str, str] = {}
    for message in body["messages"]:
        text, media = _content(message.get("content"))
        role = message["role"]
        if role in ("system", "developer"):
            out.instruct(text)
        elif role == "tool":
            out.say("result", text, media, names[message["tool_call_id"]])
        else:
            calls = []
            for call in message.get("tool_calls") or ():
                assert call["type"] == "function"
                names[call["id"]] = call["function"]["name"]
                calls.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
            out.say(role, text, media, tuple(calls))
    out.end()
    _functions(out, body)
    choice = body.get("tool_choice", "auto")
    out.choice = choice["function"]["name"] if isinstance(choice, dict) else choice
    for name in ("temperature", "top_p", "max_tokens", "seed"):
        setattr(out, name, body.get(name))
    out.stop = body.get("stop", [])
    form = body.get("response_format", {})
    out.schema = form.get("json_schema", {}).get("schema")
    out.json_object = form.get("type") == "json_object"
    return out


def _functions(out: Told, body: Json) -> None:
    for tool in body.get("tools", ()):
        assert tool["type"] == "function"
        f = tool["function"]
        out.tools.append((f["name"], f["description"], f["parameters"]))


def _content(content: Any) -> tuple[str, tuple[Medium, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    texts: list[str] = []
    media: list[Medium] = []
    for part in content:
        if part["type"] == "text":
            texts.append(part["text"])
        elif part["type"] == "input_audio":
            media.append((f"audio/{part['input_audio']['format']}", part["input_audio"]["data"]))
        else:
            head, _, data = part[part["type"]]["url"].partition(";base64,")
            media.append((head.removeprefix("data:"), data))
    return "\n".join(t for t in texts if t), tuple(media)


def generate_content(body: Json) -> Told:
    out = Told()
    for part in body.get("systemInstruction", {}).get("parts", ()):
        out.instruct(part["text"])
    for content in body["contents"]:
        texts: list[str] = []
        media: list[Medium] = []
        calls: list[tuple[str, Json]] = []
        for part in content["parts"]:
            if "functionResponse" in part:
                answer = part["functionResponse"]
                inside = tuple((p["inlineData"]["mimeType"], p["inlineData"]["data"]) for p in answer.get("parts", ()))
                out.say("result", _unwrapped(answer["response"]), inside, answer["name"])
            elif "functionCall" in part:
                calls.append((part["functionCall"]["name"], part["functionCall"].get("args", {})))
            elif "inlineData" in part:
                media.append((part["inlineData"]["mimeType"], part["inlineData"]["data"]))
            else:
                assert not part.get("thought"), "no server of this wire reads thoughts"
                texts.append(part["text"])
        if texts or media or calls:
            role = "assistant" if content["role"] == "model" else "user"
            out.say(role, "\n".join(t for t in texts if t), tuple(media), tuple(calls))
    out.end()
    for tool in body.get("tools", ()):
        for f in tool["functionDeclarations"]:
            schema = f.get("parametersJsonSchema", {"type": "object", "properties": {}})  # absent: it takes nothing
            out.tools.append((f["name"], f["description"], schema))
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    mode = {"AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required"}[calling.get("mode", "AUTO")]
    out.choice = calling.get("allowedFunctionNames", [mode])[0] if mode == "required" else mode
    config = body.get("generationConfig", {})
    out.temperature, out.top_p, out.seed = config.get("temperature"), config.get("topP"), config.get("seed")
    out.max_tokens, out.stop = config.get("maxOutputTokens"), config.get("stopSequences", [])
    out.schema = config.get("responseJsonSchema")
    out.json_object = config.get("responseMimeType") == "application/json" and out.schema is None
    return out


def _unwrapped(response: Json) -> str:
    """The text in what a tool answered; another object as JSON."""
    if not response:
        return ""
    if (
        len(response) == 1
        and isinstance(value := next(iter(response.values())), str)
        and set(response) <= {"output", "error"}
    ):
        return value
    return json.dumps(response)


def ollama_chat(body: Json) -> Told:
    out = Told()
    names: list[str] = []
    answered = 0
    for message in body["messages"]:
        media = tuple((_kind(data), data) for data in message.get("images", ()))
        text, role = message.get("content", ""), message["role"]
        if role == "system":
            out.instruct(text)
        elif role == "tool":
            out.say("result", text, media, message.get("tool_name", names[answered]))
            answered += 1
        else:
            calls = [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())]
            names += [name for name, _ in calls]
            out.say(role, text, media, tuple(calls))
    out.end()
    _functions(out, body)
    options = body.get("options", {})
    out.temperature, out.top_p, out.seed = options.get("temperature"), options.get("top_p"), options.get("seed")
    out.max_tokens, out.stop = options.get("num_predict"), options.get("stop", [])
    form = body.get("format")
    out.schema = form if isinstance(form, dict) else None
    out.json_object = form == "json"
    return out


def _kind(data: str) -> str:
    heads = {"iVBOR": "image/png", "/9j/": "image/jpeg", "UklGR": "audio/wav"}
    return next(kind for head, kind in heads.items() if data.startswith(head))


def thinks(wire: str, body: Json) -> bool | None:
    """Whether the server was told to think; None = it was told nothing."""
    if wire == "ollama":
        return bool(body["think"])
    if wire == "gemini":
        config = body.get("generationConfig", {}).get("thinkingConfig", {})
        budget = config.get("thinkingBudget")
        return budget != 0 if budget is not None else None
    asked = body.get("chat_template_kwargs", {}).get("enable_thinking")
    return asked if asked is None else bool(asked)


READERS: dict[str, Callable[[Json], Told]] = {
    "openai": chat_completions,
    "vllm": chat_completions,
    "llamacpp": chat_completions,
    "ollama": ollama_chat,
    "gemini": generate_content,
}
