"""What upstreams do wrong, as data: one row = one fault, its script, and what the client must see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.faults import answers
from tests.faults.steps import (
    Answer,
    Body,
    Drip,
    Events,
    Exchange,
    Fin,
    Finish,
    Hang,
    Head,
    Json,
    Repeat,
    Reply,
    Reset,
    Send,
    Step,
)


@dataclass
class Turns:
    """A step for several upstreams: the n-th request *anywhere* runs the n-th script, later ones the right answer. So
    a fault meets whichever target is tried first."""

    scripts: list[list[Step]]
    taken: int = 0

    async def run(self, x: Exchange) -> None:
        turn, self.taken = self.taken, self.taken + 1
        for step in self.scripts[turn] if turn < len(self.scripts) else [Answer()]:
            await step.run(x)


@dataclass(frozen=True)
class Fault:
    """A fault before the first content. `whole`, `stream`: what the upstream does (None = the row is not about that).
    `status`, `code`: what the client sees when there is no other target. `failover`: another target is tried.
    `param`, `retry_after`: of the error, where it matters."""

    id: str
    whole: list[Step] | None
    stream: list[Step] | None
    status: int
    code: str
    failover: bool = True
    param: str | None = None
    retry_after: str | None = None


def both(id: str, steps: list[Step], status: int, code: str, **more: Any) -> Fault:
    return Fault(id, steps, steps, status, code, **more)


def _replied(id: str, status: int, headers: dict[str, str], *expected: Any, **more: Any) -> Fault:
    return both(id, [Json(answers.error("it broke"), status, headers)], *expected, **more)


BUSY = {"Retry-After": "7"}
CONTEXT = {
    "code": 400,
    "message": "request (100015 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 100015,
    "n_ctx": 4096,
}
USED_UP = answers.error("You exceeded your current quota.", kind="insufficient_quota", code="insufficient_quota")
GZIP = bytes.fromhex("1f8b0800000000000203ab0500ac2a107302000000")
HTML = b"<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>"
OK = b"HTTP/1.1 200 OK\r\n"
ROLE = answers.chunk({"role": "assistant", "content": ""})

BEFORE_CONTENT: list[Fault] = [
    both("U3 silence", [Hang()], 504, "upstream_timeout", param="first_byte"),
    both("U4 dripped head", [Drip(OK + b"X-Filler: " + b"a" * 4000, every=0.05)], 504, "upstream_timeout"),
    Fault(
        "U5 head without a body",
        [Send(OK + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"), Hang()],
        [Head(), Hang()],
        504,
        "upstream_timeout",
    ),
    Fault("U5 a role, then silence", None, [Head(), Events([ROLE]), Hang()], 504, "upstream_timeout"),
    Fault(
        "U5 dripped body",
        [Send(OK + b"Content-Type: application/json\r\nContent-Length: 9000\r\n\r\n"), Drip(b" " * 9000, every=0.05)],
        None,
        504,
        "upstream_timeout",
    ),
    _replied("U6 500", 500, {}, 502, "upstream_error"),
    _replied("U8 502 of a proxy", 502, {}, 502, "upstream_error"),
    _replied("U8 504 of a proxy", 504, {}, 502, "upstream_error"),
    _replied("U9 503 with Retry-After", 503, BUSY, 503, "server_is_overloaded", retry_after="7"),
    _replied("U10 503", 503, {}, 503, "server_is_overloaded"),
    _replied("U11 429 with Retry-After", 429, {"Retry-After": "3"}, 503, "server_is_overloaded", retry_after="3"),
    _replied("U12 402", 402, {}, 503, "no_healthy_backend"),
    both("U12 429 of a used-up account", [Json(USED_UP, 429, {"Retry-After": "1"})], 503, "no_healthy_backend"),
    _replied("U13 401", 401, {}, 502, "upstream_error"),
    _replied("U13 403", 403, {}, 502, "upstream_error"),
    _replied("U14 400", 400, {}, 400, "invalid_value", failover=False),
    _replied("U14 422", 422, {}, 400, "invalid_value", failover=False),
    both("U14 context", [Json({"error": CONTEXT}, 400)], 400, "context_length_exceeded"),
    both("U15 HTML", [Reply(HTML, type="text/html")], 502, "upstream_bad_response"),
    both("U15 empty", [Reply(b"")], 502, "upstream_bad_response"),
    Fault("U16 malformed JSON", [Reply(b'{"choices": [')], None, 502, "upstream_bad_response"),
    Fault("U16 JSON of another shape", [Json([1, 2, 3])], None, 502, "upstream_bad_response"),
    Fault("U16 no choices", [Json({"object": "chat.completion", "choices": []})], None, 502, "upstream_truncated"),
    Fault("U16 invalid UTF-8", [Reply(b'{"id": "\xff\xfe"}')], None, 502, "upstream_bad_response"),
    Fault(
        "U17 a server error in a 200",
        [Json({"object": "error", "message": "the engine died", "type": "InternalServerError", "code": 500})],
        [
            Head(),
            Events([{"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}}]),
            Finish(),
        ],
        502,
        "upstream_error",
    ),
    Fault(
        "U17 a client error in a 200",
        [Json({"object": "error", "message": "no such thing", "type": "BadRequestError", "code": 400})],
        [Head(), Events([{"error": {"message": "no such thing", "type": "BadRequestError", "code": 400}}]), Finish()],
        400,
        "invalid_value",
        failover=False,
    ),
    Fault("U18 whole JSON for a stream", None, [Json()], 502, "upstream_bad_response"),
    both("U19 reset before the head", [Reset(after=0.0)], 502, "upstream_reset"),
    both("U19 closed before the head", [Fin()], 502, "upstream_reset"),
    Fault(
        "U20 cut before content",
        [Send(OK + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"), Fin()],
        [Head(), Events([ROLE]), Fin()],
        502,
        "upstream_truncated",
    ),
    Fault("U21 an empty stream", None, [Head("close"), Finish()], 502, "upstream_truncated"),
    Fault("U21 only [DONE]", None, [Head(), Events([None]), Finish()], 502, "upstream_truncated"),
    Fault(
        "U25 comments for ever",
        None,
        [Head(), Repeat([Body(b": keep-alive\n\n")], every=0.05)],
        504,
        "upstream_timeout",
    ),
    both("U27 garbage", [Send(b"\x00\xff\x16\x03 this is no HTTP\r\n\r\n"), Fin()], 502, "upstream_protocol_error"),
    Fault(
        "U28 a broken first event", None, [Head(), Events([b"data: {nope\n\n"]), Hang()], 502, "upstream_protocol_error"
    ),
    both(
        "U29 200 KB header",
        [Send(OK + b"X-Big: " + b"a" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}")],
        502,
        "upstream_protocol_error",
    ),
    both(
        "U31 a huge answer",
        [Send(OK + b"Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n{"), Hang()],
        502,
        "upstream_bad_response",
    ),
    both(
        "U32 a coded body",
        [Reply(GZIP, headers={"Content-Encoding": "gzip"})],
        502,
        "upstream_bad_response",
    ),
    Fault(
        "U33 a length that is too long",
        [Send(OK + b"Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{}"), Fin()],
        None,
        502,
        "upstream_truncated",
    ),
    both("U33 a bad chunk", [Head(type="application/json"), Send(b"zz\r\n{}\r\n")], 502, "upstream_protocol_error"),
    both(
        "U41 a redirect",
        [Reply(b"", 302, headers={"Location": "http://127.0.0.1:9/elsewhere"})],
        502,
        "upstream_bad_response",
    ),
]


@dataclass(frozen=True)
class Cut:
    """A fault after the first content: what the stream was told is kept, then `code` is said in-stream."""

    id: str
    steps: list[Step]
    code: str
    framing: str = "chunked"
    closes: bool = field(default=False)
    """The gateway, not the upstream, must end the connection."""


TOO_LARGE = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"a" * (3 << 19) + b'"}}]}\n\n'

AFTER_CONTENT: list[Cut] = [
    Cut("U19 reset", [Reset(after=0.05)], "upstream_reset"),
    Cut("U20 closed without the last chunk", [Fin()], "upstream_truncated"),
    Cut("U21 closed where that ends the body", [Fin()], "upstream_truncated", framing="close"),
    Cut("U21 ended in order without a finish", [Finish()], "upstream_truncated"),
    Cut("U21 [DONE] without a finish", [Events([None]), Finish()], "upstream_truncated"),
    Cut("U25 comments for ever", [Repeat([Body(b": still here\n\n")], every=0.05)], "upstream_timeout", closes=True),
    Cut("U26 stall", [Hang()], "upstream_timeout", closes=True),
    Cut("U28 no JSON", [Events([b"data: {nope\n\n"]), Hang()], "upstream_protocol_error", closes=True),
    Cut("U28 no object", [Events([b"data: [1, 2]\n\n"]), Hang()], "upstream_protocol_error", closes=True),
    Cut("U28 no choices", [Events([b'data: {"choices": 5}\n\n']), Hang()], "upstream_protocol_error", closes=True),
    Cut(
        "U28 invalid UTF-8",
        [Events([b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n']), Hang()],
        "upstream_protocol_error",
        closes=True,
    ),
    Cut("U30 an event too large", [Body(TOO_LARGE), Hang()], "upstream_protocol_error", closes=True),
    Cut(
        "U30 a line without an end",
        [Repeat([Body(b"data: " + b"a" * 65536)], 0.0)],
        "upstream_protocol_error",
        closes=True,
    ),
    Cut("U33 a bad chunk", [Send(b"zz\r\nnot a chunk\r\n"), Hang()], "upstream_protocol_error", closes=True),
    Cut(
        "U17 an error event",
        [Events([{"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}}]), Finish()],
        "upstream_error",
    ),
]
