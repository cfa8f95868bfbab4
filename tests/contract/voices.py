"""Scripted upstreams that behave as servers of their kind do: what they honour, ignore and refuse, and how it looks on
the wire. Where bytes of a real one were recorded for what is asked (tests/wire), those are sent, with the model's name
put in; the rest is written as the server's source or documentation has it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.contract.stage import HELLO, PLACE, THOUGHT, KnownBy, Traits, scenario_of
from tests.faults.steps import Body, Fin, Finish, Head, Reply, Send, Sleep, Step, encode
from tests.faults.wire import Received, Wire
from tests.wire import recorded

Json = dict[str, Any]
Probes = dict[tuple[str, str], tuple[int, Any, dict[str, str]]]
"""(method, path) -> status, value, headers."""

WORDS = [w + (" " if i < 11 else "") for i, w in enumerate(HELLO.split(" "))]
USAGE = {"prompt_tokens": 41, "completion_tokens": 13, "total_tokens": 54}
SLOW = 0.5
"""Seconds that a long prompt takes to read."""


@dataclass
class Said:
    """One answer. `thought` "" = none."""

    text: str = ""
    thought: str = ""
    calls: list[Json] = field(default_factory=list)

    @property
    def finish(self) -> str:
        return "tool_calls" if self.calls else "stop"


class Voice(Wire):
    """`kind` etc. are the traits of a kind; a kind overrides what is its own. `honours`: fields that change anything
    here. `fields`: what may be sent at all; `parts`: content parts that it takes."""

    model_name: ClassVar[str] = "google/gemma-4-E4B-it"
    honours: ClassVar[frozenset[str]] = frozenset()
    fields: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[frozenset[str]] = frozenset({"text"})
    records: ClassVar[dict[tuple[str, bool], str]] = {}
    """(what is said, streamed) -> tests/wire. What: talk, think, call, place, stop, n, logprobs."""
    names: ClassVar[tuple[bytes, ...]] = (b"tiny-gemma4",)
    """The recorded model's name, as it stands in the bytes."""
    traits: Traits

    def __init__(self) -> None:
        super().__init__(kind="openai", model=self.model_name)
        self.asked: dict[str, Received] = {}
        self.attempts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.how: KnownBy = "documented"

    # ---- what the harness asks ----

    def known_by(self, case: str) -> KnownBy:
        return self.how

    def got(self, tag: str) -> str | None:
        r = self.asked.get(tag)
        return json.dumps(json.loads(r.body), ensure_ascii=False) if r is not None else ""

    def complaints(self) -> list[str]:
        return self.wrong

    async def arrived(self, tag: str) -> None:
        await self.until(lambda: tag in self.asked, 2.0)

    async def left(self, tag: str) -> None:
        await self.closed(self.asked[tag], 1.0)

    # ---- what a server does ----

    def steps_for(self, r: Received) -> tuple[Step, ...]:
        path = r.path.partition("?")[0]
        body = _json(r.body)
        said = self.probe(r, path, body)
        if said is not None:
            status, value, headers = said
            self.probes.append(r)
            return (Reply(b"" if value is None else encode(value), status, headers=headers),)
        self._count(r)
        scenario, tag = scenario_of(r.body.decode("utf-8", "replace"))
        self.asked[tag] = r
        self.attempts[tag] += 1
        self.check(body, path)
        refused = self.refuse(body)
        if refused is not None:
            return refused
        if scenario == "endless":
            return self.endless(body)
        delay: tuple[Step, ...] = (Sleep(SLOW),) if scenario == "slow" else ()
        return (*delay, *self.answer_to(body, self.say(body, scenario, self.attempts[tag])))

    def probe(self, r: Received, path: str, body: Json) -> tuple[int, Any, dict[str, str]] | None:
        """The reply to a probe; None if it is none."""
        found = self.replies().get((r.method, path))
        return found if found is not None or r.method != "GET" else (404, {"detail": "Not Found"}, {})

    def replies(self) -> Probes:
        return {}

    def check(self, body: Json, path: str) -> None:
        """Notes what such a server would ignore, refuse, or must not see."""
        strange = sorted(set(body) - self.fields)
        self.wrong += [f"{path}: it does not know `{name}`" for name in strange]
        self.wrong += [f"{path}: `{name}` is null" for name, value in body.items() if value is None]
        if body.get("model", self.model) not in (self.model, self.called()):
            self.wrong.append(f"{path}: it has no model {body['model']!r}")
        for message in body.get("messages", ()):
            if isinstance(message.get("content"), list):
                types = {p["type"] for p in message["content"]}
                self.wrong += [f"{path}: it does not take {t}" for t in types - self.parts]

    def called(self) -> str:
        return self.model

    def refuse(self, body: Json) -> tuple[Step, ...] | None:
        """What it refuses, in its own words; None if it answers."""
        return None

    def thinks(self, body: Json) -> bool:
        return bool((body.get("chat_template_kwargs") or {}).get("enable_thinking"))

    def choice(self, body: Json) -> Any:
        return body.get("tool_choice", "auto") if "tool_choice" in self.honours else "auto"

    def must_call(self, body: Json) -> bool:
        choice = self.choice(body)
        return "forced" in self.honours and (choice == "required" or isinstance(choice, dict))

    def must_fit(self, body: Json) -> bool:
        return "response_format" in self.honours and "response_format" in body

    def say(self, body: Json, scenario: str, attempt: int) -> Said:
        said = Said(HELLO, THOUGHT if self.thinks(body) else "")
        offered = bool(body.get("tools")) and self.choice(body) != "none"
        willing = scenario.startswith("call") or (scenario == "reluctant" and attempt > 1)
        if offered and (willing or self.must_call(body)):
            many = 2 if scenario == "call2" and not self.one_call(body) else 1
            said.text, said.calls = "", list(self.traits.arguments[:many])
        elif self.must_fit(body) or scenario == "place" or (scenario == "reluctant" and attempt > 1):
            said.text = PLACE
        return said

    def one_call(self, body: Json) -> bool:
        return "parallel_tool_calls" in self.honours and body.get("parallel_tool_calls") is False

    # ---- how it says it ----

    def answer_to(self, body: Json, said: Said) -> tuple[Step, ...]:
        streamed = bool(body.get("stream"))
        what = self.what(body, said)
        name = self.records.get((what, streamed))
        if name is not None:
            self.how = "replayed"
            return self.replay(name, streamed)
        self.how = "documented"
        stop = body.get("stop") if "stop" in self.honours else None
        for text in [stop] if isinstance(stop, str) else stop or ():
            said.text = said.text.partition(text)[0]
        return self.stream(body, said) if streamed else self.whole(body, said)

    def what(self, body: Json, said: Said) -> str:
        """The kind of answer that a recording may be of."""
        special = [k for k in ("stop", "n", "logprobs") if body.get(k) and k in self.honours]
        if special or len(said.calls) > 1:
            return "+".join(special) or "calls"
        if said.calls:
            return "call" if not said.thought else "thoughtful call"
        return "place" if said.text == PLACE else "think" if said.thought else "talk"

    def replay(self, name: str, streamed: bool) -> tuple[Step, ...]:
        bytes_ = recorded(name).body.removesuffix(b"\n")
        for old in self.names:
            bytes_ = bytes_.replace(b'"' + old + b'"', encode(self.called()))
        return self.framed(bytes_) if streamed else (Reply(bytes_),)

    def framed(self, data: bytes) -> tuple[Step, ...]:
        return (Head(), Body(data, [700]), Finish())

    def whole(self, body: Json, said: Said) -> tuple[Step, ...]:
        choices = [self.whole_choice(i, body, said) for i in range(self.count(body))]
        return (Reply(encode({**self.envelope("chat.completion"), "choices": choices, "usage": USAGE})),)

    def count(self, body: Json) -> int:
        return int(body.get("n", 1)) if "n" in self.honours else 1

    def whole_choice(self, index: int, body: Json, said: Said) -> Json:
        message: Json = {"role": "assistant", "content": said.text or None, **self.reasoning(said.thought)}
        if said.calls:
            message["tool_calls"] = [self.call(i, a) for i, a in enumerate(said.calls)]
        choice = {"index": index, "message": message, "finish_reason": said.finish}
        return choice | ({"logprobs": self.logprobs(WORDS)} if self.tells_logprobs(body) else {})

    def stream(self, body: Json, said: Said) -> tuple[Step, ...]:
        events = [e for i in range(self.count(body)) for e in self.events(i, body, said)]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**self.envelope("chat.completion.chunk"), "choices": [], "usage": USAGE})
        return self.framed(b"".join(b"data: " + encode(e) + b"\n\n" for e in events) + b"data: [DONE]\n\n")

    def events(self, index: int, body: Json, said: Said) -> list[Json]:
        def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
            choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
            return {**self.envelope("chat.completion.chunk"), "choices": [choice]}

        told = self.tells_logprobs(body)
        out = [chunk({"role": "assistant", "content": ""})]
        out += [chunk(self.reasoning(piece)) for piece in pieces(said.thought)]
        for piece in WORDS if said.text == HELLO else pieces(said.text):
            out.append(chunk({"content": piece}, **({"logprobs": self.logprobs([piece])} if told else {})))
        for i, arguments in enumerate(said.calls):
            out += [chunk({"tool_calls": [piece]}) for piece in self.callpieces(i, arguments)]
        return [*out, chunk({}, said.finish)]

    def envelope(self, what: str) -> Json:
        return {"id": "chatcmpl-1", "object": what, "created": 1795499926, "model": self.called()}

    def reasoning(self, thought: str) -> Json:
        return {"reasoning_content": thought} if thought else {}

    def call(self, index: int, arguments: Json) -> Json:
        return {"id": f"call_{index}", "type": "function"} | {
            "function": {"name": "get_weather", "arguments": json.dumps(arguments)}
        }

    def callpieces(self, index: int, arguments: Json) -> list[Json]:
        whole = {"index": index, **self.call(index, arguments)}
        text = whole["function"]["arguments"]
        first = {**whole, "function": {"name": "get_weather", "arguments": ""}}
        return [first, *({"index": index, "function": {"arguments": c}} for c in (text[:4], text[4:]))]

    def tells_logprobs(self, body: Json) -> bool:
        return bool(body.get("logprobs")) and "logprobs" in self.honours

    def logprobs(self, tokens: list[str]) -> Json:
        def one(token: str) -> Json:
            return {"token": token, "logprob": -0.01, "bytes": list(token.encode())}

        return {"content": [{**one(t), "top_logprobs": [one(t), {**one("x"), "logprob": -9.0}]} for t in tokens]}

    def endless(self, body: Json) -> tuple[Step, ...]:
        """Talks, streamed or not, until nobody listens any more."""
        if not body.get("stream"):
            return (Sleep(30.0),)
        event = {**self.envelope("chat.completion.chunk"), "choices": [{"index": 0, "delta": {"content": "on and "}}]}
        return (Head(), Body(b"data: " + encode(event) + b"\n\n"), Forever(b"data: " + encode(event) + b"\n\n"))


@dataclass(frozen=True)
class Forever:
    """The same piece of a stream again and again."""

    data: bytes
    every: float = 0.05

    async def run(self, x: Any) -> None:
        while True:
            await Body(self.data).run(x)
            await asyncio.sleep(self.every)


def http10(data: bytes, type_: str) -> tuple[Step, ...]:
    """A reply of Python's own HTTP server: its end is the connection's."""
    head = f"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11.7\r\nContent-type: {type_}\r\n\r\n"
    return (Send(head.encode()), Send(data), Fin())


def _json(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def pieces(text: str) -> list[str]:
    """A text in some pieces, as tokens come."""
    return [text[i : i + 7] for i in range(0, len(text), 7)]
