"""What a request that says so does not let a target do to it: change or drop a part, or drop a parameter.

Asked only of requests with `gateway: {parts: strict}` or `provider: {require_parameters: true}`, once the target's
backend has said what it would send.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.canonical.content import Part, Thinking, ToolResult
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import Chat, Completion, Request, Sampling, ThinkingConfig, conversation
from gateway.routing.candidate import Lack

THOUGHTS = "messages[].reasoning_content"
"""How backends name the thoughts of earlier turns that a server does not get."""
_HINT = "leave it out, or do without `parts: strict`"
_OF_A_PART = "messages[].content[]."
_SAMPLING = frozenset(Sampling.__dataclass_fields__)


def part_lacks(request: Request, fates: Mapping[int, str], dropped: Sequence[str]) -> list[Lack]:
    """One Lack for each way in which parts would not arrive as they came. `fates`: part number -> what becomes of it,
    for those that do not go as they came; `dropped`: the names of all that is left out of the request. What is not
    known to be lost (`sound=unknown`) is not held against a target."""
    chat = conversation(request)
    if chat is None:
        return []
    out = []
    if fates:
        parts = list(content_parts(chat))
        for number, fate in fates.items():
            if fate.endswith("=unknown"):
                continue
            path = parts[number].path
            out.append(
                Lack("need", "parts", f"the part at {path} would not arrive as it came ({fate})", _HINT, (path,))
            )
    for name in dropped:
        if name == THOUGHTS:
            paths = [p.path for p in _all_parts(chat) if isinstance(p, Thinking)]
        elif name.startswith(_OF_A_PART):
            field = name[len(_OF_A_PART) :]
            paths = [f"{p.path}.{field}" for p in _all_parts(chat) if any(field in x for x in (p.extra or {}).values())]
        else:
            continue
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        out.append(Lack("need", "parts", f"does not take {paths[0] if paths else name}{more}", _HINT, tuple(paths)))
    return out


def parameter_lacks(request: Request, dropped: Sequence[str]) -> list[Lack]:
    """A Lack if the server would not get a parameter that the client sent. What only the configuration's defaults have
    added is none. `request`: as it came."""
    names = [name for name in dropped if _sent(name, request)]
    if not names:
        return []
    reason = f"would not get {', '.join(n[:60] for n in names[:8])}{', ...' if len(names) > 8 else ''}"
    return [Lack("need", "parameters", reason, "leave that out, or do not require all parameters", tuple(names))]


def _all_parts(chat: Chat) -> Iterator[Part]:
    for message in chat.messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult) and not isinstance(part.content, dict):
                yield from part.content


def _sent(name: str, request: Request) -> bool:
    if isinstance(request, Chat | Completion) and name in _SAMPLING:
        return getattr(request.sampling, name) is not None
    if isinstance(request, Chat) and name in ("thinking", "thinking_budget"):
        return request.thinking != ThinkingConfig(include=request.thinking.include)
    return True
