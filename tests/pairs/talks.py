"""Conversations, and what a server has to be told of each, whoever asks and whatever the server speaks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
JPEG = "/9j/4AAQSkZJRgABAQAAAQABAAD/2w=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=="
MP4 = "AAAAGGZ0eXBtcDQyAAAAAG1wNDJpc29tAAAACGZyZWU="

Medium = tuple[str, str]
"""Media type, base64."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """`calls`: (name, arguments). A `result` answers call number `call` of the whole conversation, from 0."""

    role: Literal["system", "user", "assistant", "result"]
    text: str = ""
    media: tuple[Medium, ...] = ()
    calls: tuple[tuple[str, Json], ...] = ()
    call: int = 0
    error: bool = False
    thought: str = ""


@dataclass(frozen=True)
class Talk:
    """`choice`: auto, none, required, or the name of the one tool."""

    name: str
    turns: tuple[Turn, ...]
    tools: tuple[tuple[str, str, Json], ...] = ()
    choice: str | None = None
    parallel: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Json | None = None
    json_object: bool = False
    thinking: bool | None = None


@dataclass
class Told:
    """What a server was told, in one form for all wires: the system's words, and turns as (role, text, media, calls);
    neighbours of one role are one turn, as templates make them. A result is (result, text, (), name of its tool): its
    media stand in the user's place behind the last result of its turn, which is where servers without another take
    them."""

    system: str = ""
    turns: list[tuple[str, str, tuple[Medium, ...], Any]] = field(default_factory=list)
    tools: list[tuple[str, str, Json]] = field(default_factory=list)
    choice: str = "auto"
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: list[str] = field(default_factory=list)
    seed: int | None = None
    schema: Json | None = None
    json_object: bool = False

    hoisted: tuple[Medium, ...] = field(default=(), compare=False)

    def say(self, role: str, text: str, media: tuple[Medium, ...] = (), calls: Any = ()) -> None:
        if role == "result":
            self.hoisted, media = self.hoisted + media, ()
        elif self.hoisted:
            self.end()
        last = self.turns[-1] if self.turns else None
        if last is not None and last[0] == role and role == "user":
            self.turns[-1] = role, "\n".join(t for t in (last[1], text) if t), last[2] + media, ()
        else:
            self.turns.append((role, text, media, calls))

    def end(self) -> Told:
        """The conversation is over, or the turn of results."""
        media, self.hoisted = self.hoisted, ()
        if media:
            self.say("user", "", media)
        return self

    def instruct(self, text: str) -> None:
        self.system = "\n".join(t for t in (self.system, text) if t)


def expected(talk: Talk) -> Told:
    out = Told(
        tools=list(talk.tools),
        choice=talk.choice or "auto",
        temperature=talk.temperature,
        top_p=talk.top_p,
        max_tokens=talk.max_tokens,
        stop=list(talk.stop),
        seed=talk.seed,
        schema=talk.schema,
        json_object=talk.json_object,
    )
    names: list[str] = []
    for turn in talk.turns:
        if turn.role == "system":
            out.instruct(turn.text)
        elif turn.role == "result":
            out.say("result", turn.text, turn.media, names[turn.call])
        else:
            names += [name for name, _ in turn.calls]
            out.say(turn.role, turn.text, turn.media, turn.calls)
    return out.end()


def user(text: str = "", *media: Medium) -> Turn:
    return Turn("user", text, media)


def said(text: str = "", *calls: tuple[str, Json], thought: str = "") -> Turn:
    return Turn("assistant", text, calls=calls, thought=thought)


def got(call: int, text: str, *media: Medium, error: bool = False) -> Turn:
    return Turn("result", text, media, call=call, error=error)


RULE = Turn("system", "You are brief.")
OBJECT: Json = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ = ("read", "Reads a file.", OBJECT)
EDIT = (
    "edit",
    "Edits a file.",
    {"type": "object", "properties": {"path": {"type": "string"}, "line": {"type": "integer"}}},
)
RUN = ("run_command", "Runs a command.", {"type": "object", "properties": {"command": {"type": "string"}}})
NOTHING = ("now", "The time.", {"type": "object", "properties": {}})
HARD: Json = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["a", "b"]},
        "items": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        "deep": {"type": "object", "properties": {"on": {"type": "boolean"}, "x": {"type": "number"}}},
    },
    "required": ["kind"],
}
A, B = ("read", {"path": "a.py"}), ("read", {"path": "b.py"})
HI = user("hi")


def tools(name: str, *turns: Turn, given: tuple[Any, ...] = (READ, EDIT), **more: Any) -> Talk:
    return Talk(name, turns, given, **more)


TALKS = [
    Talk("hello", (HI,)),
    Talk("system", (RULE, HI)),
    Talk("two systems", (RULE, Turn("system", "Be kind."), HI)),
    Talk("turns", (RULE, user("one"), said("1"), user("two"), said("2"), user("three"))),
    Talk("unicode", (user("größe 日本語 🙂 \u2028 é"), said("ja 🙂"), user("€"))),
    Talk("quotes and lines", (user('say "a\\b"\n\ttab\r\n<b>&amp;</b>'),)),
    Talk("markers as text", (user("what does <b>x</b> {{y}} mean?"),)),
    Talk("long", (RULE, user("word " * 20_000))),
    Talk("many turns", (*tuple(t for i in range(40) for t in (user(f"q{i}"), said(f"a{i}"))), user("end"))),
    Talk("two users", (user("one"), user("two"))),
    Talk("picture", (user("what is it?", ("image/png", PNG)),)),
    Talk("picture alone", (user("", ("image/png", PNG)),)),
    Talk("two pictures", (user("which?", ("image/png", PNG), ("image/jpeg", JPEG)),)),
    Talk("pictures of two turns", (user("a?", ("image/png", PNG)), said("a cat"), user("b?", ("image/jpeg", JPEG)))),
    Talk("sound", (user("what is said?", ("audio/wav", WAV)),)),
    Talk("video", (user("what happens?", ("video/mp4", MP4)),)),
    Talk("sound and picture", (RULE, user("both", ("audio/wav", WAV), ("image/png", PNG)))),
    tools("a tool", HI),
    tools("tools keep their order", HI, given=(RUN, EDIT, READ)),
    tools("a hard schema", HI, given=(("pick-one.now", "Picks.", HARD),)),
    tools("a tool that takes nothing", HI, said("", ("now", {})), got(0, "12:00"), given=(NOTHING,)),
    tools("a call", HI, said("", A), got(0, "print(1)")),
    tools("a call with words", HI, said("I look.", A), got(0, "print(1)")),
    tools("a call and its answer", HI, said("", A), got(0, "print(1)"), said("It prints 1."), user("more")),
    tools("parallel calls", HI, said("", A, B), got(0, "1"), got(1, "2")),
    tools(
        "a loop", RULE, HI, said("", A), got(0, "1"), said("", ("edit", {"path": "a.py", "line": 3})), got(1, "done")
    ),
    tools("calls in two turns", HI, said("", A), got(0, "1"), said("done"), user("b?"), said("", B), got(1, "2")),
    tools("a result that is JSON", HI, said("", A), got(0, '{"lines": [1, 2], "ok": true}')),
    tools("a result in unicode", HI, said("", A), got(0, "größe 日本語 🙂")),
    tools("an empty result", HI, said("", A), got(0, "")),
    tools("a result that failed", HI, said("", A), got(0, "no such file", error=True)),
    tools("a result with a picture", HI, said("", A), got(0, "see", ("image/png", PNG))),
    tools("deep arguments", HI, said("", ("edit", {"a": [{"b": None, "c": 1.5}], "d": {"e": 'ü\n"q"'}})), got(0, "ok")),
    tools("auto", HI, choice="auto"),
    tools("none", HI, choice="none"),
    tools("required", HI, choice="required"),
    tools("named", HI, choice="edit"),
    Talk("temperature", (HI,), temperature=0.25, top_p=0.5),
    Talk("zero", (HI,), temperature=0.0),
    Talk("length", (HI,), max_tokens=77),
    Talk("stops", (HI,), stop=("END", "\n\n")),
    Talk("seed", (HI,), seed=7),
    Talk("schema", (HI,), schema=HARD),
    Talk("any object", (HI,), json_object=True),
    Talk("thinking", (HI,), thinking=True),
    Talk("no thinking", (HI,), thinking=False),
    Talk("a thought before a call", (HI, said("", A, thought="I should look.")), (READ,)),
]
TALKS[-1] = replace(TALKS[-1], turns=(*TALKS[-1].turns, got(0, "1")))
