"""The cases: what is asked, and what the answer must be. `Got` is an answer, whole or streamed, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.contract.stage import CLOCK, SCHEMA, WEATHER, Feature, Stage, prompt
from tests.faults.rawclient import Response
from tests.real.content import audio, image, video

Json = dict[str, Any]


@dataclass
class Got:
    """`calls`: (name, arguments, id) in order. `body`: of a whole answer, or {}."""

    status: int
    headers: Callable[[str], str | None]
    text: str = ""
    thoughts: str = ""
    calls: list[tuple[str, Json, str]] = field(default_factory=list)
    finish: list[str] = field(default_factory=list)
    choices: int = 0
    logprobs: list[Json] = field(default_factory=list)
    usage: Json = field(default_factory=dict)
    model: str = ""
    life_signs: int = 0
    error: Json = field(default_factory=dict)


def read(r: Response, *, streamed: bool) -> Got:
    """What a client makes of an answer. AssertionError for one that breaks the dialect's rules."""
    got = Got(r.status, r.header)
    if r.status != 200:
        got.error = r.json()["error"] | {"detail": r.json().get("gateway") or r.json()["error"].get("gateway")}
        return got
    if streamed and r.error is not None:
        got.status, got.error = 400, r.error  # said in a stream that had shown signs of life
        return got
    if not streamed:
        return _whole(r.json(), got)
    assert r.header("content-type") == "text/event-stream", r
    assert r.clean and r.done, f"a stream has no end: {r.body[-600:]!r}"
    return _stream(r, got)


def _whole(body: Json, got: Got) -> Got:
    got.model, got.usage, got.choices = body["model"], body.get("usage") or {}, len(body["choices"])
    for choice in body["choices"]:
        message = choice["message"]
        got.finish.append(choice["finish_reason"])
        if choice["index"] == 0:
            got.text, got.thoughts = message.get("content") or "", message.get("reasoning_content") or ""
            calls = message.get("tool_calls") or []
            got.calls = [(c["function"]["name"], json.loads(c["function"]["arguments"]), c["id"]) for c in calls]
            got.logprobs = (choice.get("logprobs") or {}).get("content") or []
        else:
            assert message.get("content")
    return got


def _stream(r: Response, got: Got) -> Got:
    calls: dict[int, list[str]] = {}
    finish: dict[int, str] = {}
    seen = set()
    for chunk in r.chunks:
        got.model = chunk["model"]
        got.usage = chunk.get("usage") or got.usage
        for choice in chunk["choices"]:
            seen.add(choice["index"])
            assert choice["index"] not in finish or not choice["delta"], "words after the end"
            if choice["finish_reason"]:
                finish[choice["index"]] = choice["finish_reason"]
            if choice["index"]:
                continue
            delta = choice["delta"]
            got.text += delta.get("content") or ""
            got.thoughts += delta.get("reasoning_content") or ""
            got.logprobs += (choice.get("logprobs") or {}).get("content") or []
            for c in delta.get("tool_calls") or []:
                call = calls.setdefault(c["index"], ["", "", ""])
                for i, piece in enumerate((c["function"].get("name"), c["function"].get("arguments"), c.get("id"))):
                    call[i] += piece or ""
    assert sorted(calls) == list(range(len(calls))), "calls are numbered in their order"
    got.calls = [(name, json.loads(arguments), id_) for name, arguments, id_ in calls.values()]
    got.choices, got.finish = len(seen), [finish[i] for i in sorted(finish)]
    got.life_signs = sum(bool(c.strip()) for c in r.comments)
    return got


Ask = Callable[[Stage, str], Json]
"""(upstream, tag) -> the fields of the request beside `model`."""
Check = Callable[[Stage, Got, str], None]


@dataclass(frozen=True)
class Case:
    """`feature`: what makes it an emulation where the server does not have it. `ways`: streamed or not."""

    name: str
    ask: Ask
    check: Check
    feature: Feature = ""
    ways: tuple[bool, ...] = (False, True)


def user(scenario: str, **fields: Any) -> Ask:
    return lambda stage, tag: {"messages": [{"role": "user", "content": prompt(scenario, tag)}], **fields}


def says(stage: Stage, got: Got, tag: str) -> None:
    assert (got.text, got.finish, got.calls) == (stage.traits.text, ["stop"], []), got
    assert not got.thoughts, "nobody asked it to think"


def text(stage: Stage, got: Got, tag: str) -> None:
    says(stage, got, tag)
    assert got.model == stage.traits.name, "the name that was asked for"
    assert (got.headers("x-gateway-target") or "").startswith(f"{stage.traits.name}/")


def arrive(*words: str, in_order: bool = True) -> Check:
    """The words are in what the server got, in this order."""

    def check(stage: Stage, got: Got, tag: str) -> None:
        says(stage, got, tag)
        sent = stage.got(tag)
        if sent is not None:
            places = [sent.find(w) for w in words]
            assert -1 not in places and (places == sorted(places) or not in_order), (words, sent[:2000])

    return check


def system(stage: Stage, tag: str) -> Json:
    told = {"role": "system", "content": "Answer in rhymes."}
    return {"messages": [told, {"role": "user", "content": prompt("talk", tag)}]}


def turns(stage: Stage, tag: str) -> Json:
    said = [("user", "first question"), ("assistant", "first answer"), ("user", prompt("talk", tag))]
    return {"messages": [{"role": role, "content": words} for role, words in said]}


def medium(part: Callable[[], Json]) -> Ask:
    return lambda stage, tag: {
        "messages": [{"role": "user", "content": [{"type": "text", "text": prompt("talk", tag)}, part()]}]
    }


def sees(modality: str, part: Callable[[], Json]) -> Check:
    def check(stage: Stage, got: Got, tag: str) -> None:
        says(stage, got, tag)
        receipt = got.headers("x-gateway-parts") or ""
        assert receipt.startswith("0=text") and f"1={modality}" in receipt, receipt
        sent = stage.got(tag)
        if converted(got):
            assert sent is not None and "00:0" in sent, "the frames of a video come with their times"
            assert sent.count("iVBORw0KGgo") + sent.count("/9j/") >= 2, "its frames are in the request"
            return
        value = part()
        data = (
            next(v for v in value[value["type"]].values() if len(v) > 99).partition(",")[2]
            or value["input_audio"]["data"]
        )
        if sent is None:
            assert got.usage.get("prompt_tokens", 999) > 30, "the medium is tokens of the prompt"
        else:
            assert data[-80:] in sent, f"the {modality} is not in the request"

    return check


def converted(got: Got) -> bool:
    """The server has no video, and got the frames of one."""
    return "video>frames:" in (got.headers("x-gateway-parts") or "")


TOOLS = {"tools": [CLOCK, WEATHER]}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def calls(count: int) -> Check:
    def check(stage: Stage, got: Got, tag: str) -> None:
        want = list(stage.traits.arguments[:count])
        assert [(n, a) for n, a, _ in got.calls] == [("get_weather", a) for a in want], got
        ids = [i for _, _, i in got.calls]
        assert all(ids) and len(set(ids)) == count, "each call has an id of its own"
        assert got.finish == ["tool_calls"], got.finish

    return check


def forced(*names: str) -> Check:
    def check(stage: Stage, got: Got, tag: str) -> None:
        [(name, _, call_id)] = got.calls
        assert name in names and call_id and got.finish == ["tool_calls"], got

    return check


def results(stage: Stage, tag: str) -> Json:
    call = {"id": f"call_{tag}", "type": "function", "function": {"name": "get_weather", "arguments": '{"days":3}'}}
    return {
        "messages": [
            {"role": "user", "content": prompt("talk", tag)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{tag}", "content": "sunny and mild"},
        ],
        **TOOLS,
    }


def thinks(stage: Stage, got: Got, tag: str) -> None:
    assert got.thoughts.strip() == stage.traits.thought, got
    assert (got.text, got.finish) == (stage.traits.text, ["stop"]), got


def place(stage: Stage, got: Got, tag: str) -> None:
    value = json.loads(got.text)
    assert set(value) == {"city", "n"} and isinstance(value["city"], str) and isinstance(value["n"], int), got.text
    assert got.finish == ["stop"]


def stopped(stage: Stage, got: Got, tag: str) -> None:
    before, _, _ = stage.traits.text.partition(stop_of(stage))
    assert (got.text, got.finish) == (before, ["stop"]), got


def stop_of(stage: Stage) -> str:
    """A text in the middle of what the model says."""
    words = stage.traits.text.split(" ")
    return words[len(words) // 2]


def stop(stage: Stage, tag: str) -> Json:
    return {**user("talk")(stage, tag), "stop": [stop_of(stage)]}


def two(stage: Stage, got: Got, tag: str) -> None:
    assert (got.choices, got.finish, got.text) == (2, ["stop", "stop"], stage.traits.text), got


def probable(stage: Stage, got: Got, tag: str) -> None:
    assert got.logprobs and all(x["logprob"] <= 0 and len(x["top_logprobs"]) == 2 for x in got.logprobs), got
    assert stage.traits.text.startswith("".join(x["token"] for x in got.logprobs)[:8])


def counted(stage: Stage, got: Got, tag: str) -> None:
    u = got.usage
    assert u["prompt_tokens"] > 0 < u["completion_tokens"], u
    assert u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"]


def too_long(stage: Stage, tag: str) -> Json:
    return {"messages": [{"role": "user", "content": prompt("talk", tag) + "x" * stage.traits.long}]}


def context(stage: Stage, got: Got, tag: str) -> None:
    assert (got.status, got.error.get("code"), got.error.get("param")) == (
        400,
        "context_length_exceeded",
        "messages",
    ), got


def unknown(stage: Stage, got: Got, tag: str) -> None:
    assert (got.status, got.error["code"]) == (404, "model_not_found"), got
    assert not stage.got(tag), "nothing of it reached the server"


def slow(stage: Stage, tag: str) -> Json:
    return {"messages": [{"role": "user", "content": stage.traits.slow + prompt("slow", tag)}]}


def alive(stage: Stage, got: Got, tag: str) -> None:
    says(stage, got, tag)
    assert got.life_signs > 0, "the client saw nothing while the server read"


JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
USAGE = {"stream_options": {"include_usage": True}}
STRICT = {"provider": {"require_parameters": True}}
"""Nothing may be dropped: where there is no switch for thinking, it would be, and the answer would say so."""

CASES: tuple[Case, ...] = (
    Case("text", user("talk"), text),
    Case("system", system, arrive("Answer in rhymes.", "scenario", in_order=False)),
    Case("multi-turn", turns, arrive("first question", "first answer", "scenario")),
    Case("image", medium(image), sees("image", image)),
    Case("audio", medium(audio), sees("audio", audio)),
    Case("video", medium(video), sees("video", video)),
    Case("tools: auto", user("call1", **TOOLS), calls(1)),
    Case(
        "tools: required", user("call1", **TOOLS, tool_choice="required"), forced("get_weather", "get_time"), "forced"
    ),
    Case(
        "tools: required, reluctant",
        user("reluctant", **TOOLS, tool_choice="required"),
        forced("get_weather", "get_time"),
        "forced",
    ),
    Case("tools: named", user("reluctant", **TOOLS, tool_choice=NAMED), forced("get_weather"), "named"),
    Case("tools: none", user("call1", **TOOLS, tool_choice="none"), says, "none"),
    Case("tools: parallel", user("call2", **TOOLS), calls(2)),
    Case("tools: one at a time", user("call2", **TOOLS, parallel_tool_calls=False), calls(1), "one_call"),
    Case("tool results", results, arrive("get_weather", "sunny and mild")),
    Case("thinking: on", user("talk", reasoning_effort="high", **STRICT), thinks),
    Case("thinking: off", user("talk", reasoning_effort="none"), says),
    Case("json_schema", user("place", response_format=JSON_SCHEMA), place, "json"),
    Case("json_schema, reluctant", user("reluctant", response_format=JSON_SCHEMA), place, "json"),
    Case("stop", stop, stopped, "stop"),
    Case("n", user("talk", n=2), two),
    Case("logprobs", user("talk", logprobs=True, top_logprobs=2), probable),
    Case("usage", user("talk", **USAGE), counted),
    Case("context overflow", too_long, context, "counts"),
    Case("unknown model", user("talk", model="no-such-model"), unknown),
    Case("cancel", user("endless", max_tokens=60_000), lambda stage, got, tag: None),
    Case("slow prefill", slow, alive, ways=(True,)),
)
