"""Gemma 4's output through the filter: the corpus, families of our own, and laws over generated text."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.canonical.content import Text, ToolCall
from gateway.canonical.events import Event, Finish, PartDelta
from gateway.filters.gemma4.grammar import CALL_CLOSE, DELIM, EMPTY_THOUGHT, MARKERS
from gateway.filters.gemma4_markup import Gemma4Markup, parse
from tests.filters.reading import Got, cut_by, events_of, ids, pieces, read

CASES = json.loads((Path(__file__).parents[1] / "cases" / "gemma4_output.json").read_text("utf-8"))
MORE = json.loads((Path(__file__).parents[1] / "cases" / "gemma4_more.json").read_text("utf-8"))
B, E, D = "<|tool_call>", "<tool_call|>", '<|"|>'
TH = "<|channel>thought\n"


def obj(**types: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {k: t if isinstance(t, dict) else {"type": t} for k, t in types.items()}}


TOOLS: dict[str, dict[str, Any] | None] = {
    "bash": obj(command="string"),
    "get_weather": obj(city="string", unit="string"),
    "write": obj(content="string", mode="string"),
    "status": obj(),
    "any": None,
}


def markup(tools: Any = None, **more: Any) -> Gemma4Markup:
    return Gemma4Markup(TOOLS if tools is None else tools, new_id=ids(), **more)


# the corpus: real outputs and what they mean; `ambiguous` ones have more than one good reading


def of_case(case: dict[str, Any], chunks: list[str], *, whole: bool = False) -> Got:
    tools = {t["function"]["name"]: t["function"].get("parameters") for t in case.get("tools", [])}
    inside = case.get("prompt_open_reasoning", False)
    return read(markup(tools, open_reasoning=inside, whole=whole), chunks, case["engine_finish"])


def modes(case: dict[str, Any]) -> dict[str, Got]:
    raw = case["raw"]
    out = {f"by {n}": of_case(case, pieces(raw, n)) for n in (1, 2, 3, 7)}
    out["one delta"] = of_case(case, [raw])
    if "chunks" in case:
        assert "".join(case["chunks"]) == raw
        out["chunks"] = of_case(case, case["chunks"])
    return out


def leaked(got: Got, literal: str = "") -> list[str]:
    return [m for m in MARKERS if m in got.content.replace(literal, "") or m in got.reasoning]


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_corpus(case: dict[str, Any]) -> None:
    whole = of_case(case, [case["raw"]], whole=True)
    streamed = modes(case)
    if case.get("non_streaming_only"):
        assert all(got == streamed["one delta"] for got in streamed.values())
        streamed = {}
    assert all(got == whole for got in streamed.values())
    assert not leaked(whole, B if case["id"] == "g4-142" else "")
    if case.get("ambiguous"):
        _invariants(case, whole)
        return
    expected = case["expect"]
    assert whole.content.strip() == (expected["content"] or "").strip()
    assert whole.reasoning.strip() == (expected["reasoning"] or "").strip()
    assert whole.calls == [(c["name"], c["arguments"]) for c in expected["tool_calls"]]
    assert whole.finish == case["finish_reason"]


def _invariants(case: dict[str, Any], got: Got) -> None:
    assert got or got.finish == "length"
    expected = [(c["name"], c["arguments"]) for c in case["expect"]["tool_calls"]]
    assert got.calls == expected
    assert got.finish == case["finish_reason"]


@pytest.mark.parametrize("family", MORE["cases"])
def test_more_of_the_same_families(family: str) -> None:
    """Written from the grammar alone. A case names only what is not the usual."""
    for case in MORE["cases"][family]:
        raw, finish = case["raw"], case.get("engine", "stop")
        calls = [(name, arguments) for name, arguments in case.get("calls", ())]
        ended = finish if finish == "length" else "tool_calls" if calls else "stop"
        wanted = (case.get("content", ""), case.get("reasoning", ""), calls, ended)
        streams = () if case.get("whole") else (*(pieces(raw, n) for n in (1, 2, 3, 7)), case.get("chunks", [raw]))
        tools, inside = MORE["tools"].get(case.get("tools"), {}), case.get("inside", False)
        for whole, chunks in ((True, [raw]), *((False, chunks) for chunks in streams)):
            got = read(markup(tools, open_reasoning=inside, whole=whole), chunks, finish)
            assert (got.content.strip(), got.reasoning.strip(), got.calls, got.finish) == wanted, (raw, chunks)


# families

FAMILIES: list[tuple[str, str, str, list[tuple[str, Any]]]] = [
    # raw, content, reasoning, calls (all with finish stop)
    # grammar
    (f"{B}call:f{{}}{E}", "", "", [("f", {})]),
    (f"{B}call:f{{ }}{E}", "", "", [("f", {})]),
    (f"{B}call:f{{x:[],y:{{}},z:{D}{D}}}{E}", "", "", [("f", {"x": [], "y": {}, "z": ""})]),
    (f"{B}call:f{{ a : 1 , b : [ 1 , 2 ] }}{E}", "", "", [("f", {"a": 1, "b": [1, 2]})]),
    (f"{B}\ncall:f{{a:1}}\n{E}", "", "", [("f", {"a": 1})]),
    (f"{B}call:w{{c:{D}use {E} here{D},k:1}}{E}", "", "", [("w", {"c": f"use {E} here", "k": 1})]),
    (f"{B}call:w{{c:{D}a<turn|>{TH}x<channel|>{D}}}{E}", "", "", [("w", {"c": f"a<turn|>{TH}x<channel|>"})]),
    (
        f"{B}call:f{{{D}a b{D}:1,Basic LLM Chain:{{m:[]}}, @x.y-z:2}}{E}",
        "",
        "",
        [("f", {"a b": 1, "Basic LLM Chain": {"m": []}, "@x.y-z": 2})],
    ),
    (f"{B}call:工具{{节点 名称:{D}東京{D}}}{E}", "", "", [("工具", {"节点 名称": "東京"})]),
    # several
    (f"{B}call:a{{x:1}}{E} then {B}call:b{{y:2}}{E} done", "then  done", "", [("a", {"x": 1}), ("b", {"y": 2})]),
    (f"{B}call:a{{x:1}}{B}call:b{{y:2}}{E}", "", "", [("a", {"x": 1}), ("b", {"y": 2})]),
    (f"{B}{B}call:a{{x:1}}{E}", "", "", [("a", {"x": 1})]),
    (f"{B}call:a{{x:1}}{E}<|tool_response>", "", "", [("a", {"x": 1})]),
    (f"{B}call:a{{x:1}}{E}<|tool_response>response:a{{value:1}}<tool_response|>It is 1.", "", "", [("a", {"x": 1})]),
    (f"{B}call:a{{x:1}}{E}{TH}hm<channel|>Ok", "Ok", "hm", [("a", {"x": 1})]),
    ("call:status{}call:bash{command:ls}", "", "", [("status", {}), ("bash", {"command": "ls"})]),
    # thoughts
    (f"{TH}I need it.{B}call:f{{a:1}}{E}", "", "I need it.", [("f", {"a": 1})]),
    (f"{TH}plan{B}call:f{{a:1}}{E}<turn|>", "", "plan", [("f", {"a": 1})]),
    (f"{TH}plan{B}call:f{{a:1}}{E}<channel|>", "", "plan", [("f", {"a": 1})]),
    (f"{TH}plan {B}call:f{{a:1}}{E}<channel|>Hm.", "Hm.", "plan call:f{a:1}", []),
    (f"{TH}plan{B}call:f{{a:1}}{E}Done.", "Done.", "plan", [("f", {"a": 1})]),
    ("thought\nHello, world!", "Hello, world!", "", []),
    ("thought\n<channel|>Hello", "Hello", "", []),
    ("thought\nNeed it.\ncall:bash{command:ls}", "", "Need it.", [("bash", {"command": "ls"})]),
    ("<|channel>thought<channel|>Hi", "Hi", "", []),
    (f"{TH}abc", "", "abc", []),
    (f"{TH}abc<turn|>\n<|turn>user\nx", "", "abc", []),
    ("<channel|>Hello", "Hello", "", []),
    ("thoughtful answer", "thoughtful answer", "", []),
    ("thoughts\nfoo", "thoughts\nfoo", "", []),
    (f"Hi. {TH}late<channel|>", "Hi.", "late", []),
    (f"{TH}one<channel|>\n{TH}two<channel|>\nanswer", "answer", "onetwo", []),
    ("Answer here.<channel|>", "Answer here.", "", []),
    ("<|turn>model\nHello<turn|>", "Hello", "", []),
    ("<turn|>Hello", "Hello", "", []),
    # missing or wrong ends and beginnings
    (f"{B}call:f{{a:1}}<eos>", "", "", [("f", {"a": 1})]),
    (f"{B}call:f{{a:1}}\nDone.", "Done.", "", [("f", {"a": 1})]),
    (f"{B}call:f{{a:1}}}}{E}", "", "", [("f", {"a": 1})]),
    (f"{B}call:f{{{{a:1}}}}{E}", "", "", [("f", {"a": 1})]),
    (f"{B}call:bash{{command:{D}ls{D}{E}", "", "", [("bash", {"command": "ls"})]),
    (f"{B}call:bash{{command:{D}ls{E}", "", "", [("bash", {"command": "ls"})]),
    (
        f"{B}call:bash{{command:{D}ls}}{E}{B}call:bash{{command:{D}pwd{D}}}{E}",
        "",
        "",
        [("bash", {"command": "ls"}), ("bash", {"command": "pwd"})],
    ),
    (f"call:bash{{command:{D}ls{D}}}{E}", "", "", [("bash", {"command": "ls"})]),
    (f"Let me look.\ncall:bash{{command:{D}ls{D}}}", "Let me look.", "", [("bash", {"command": "ls"})]),
    (f":bash{{command:{D}ls{D}}}", "", "", [("bash", {"command": "ls"})]),
    (f"call:bash(command:{D}ls{D})", "", "", [("bash", {"command": "ls"})]),
    (f"{B}call:bash(command={D}ls{D}){E}", "", "", [("bash", {"command": "ls"})]),
    (f"{B}call:bash({{command:{D}ls{D}}}){E}", "", "", [("bash", {"command": "ls"})]),
    (f"{B}call:status(){E}", "", "", [("status", {})]),
    (f"{B}bash{{command:{D}ls{D}}}{E}", "", "", [("bash", {"command": "ls"})]),
    (f'{B}{{"name":"bash","arguments":{{"command":"ls"}}}}{E}', "", "", [("bash", {"command": "ls"})]),
    (f'{B}call:bash{{"command": "ls"}}{E}', "", "", [("bash", {"command": "ls"})]),
    (f"{B}call:bash{{command:':\\s*\\w+'{D}}}{E}", "", "", [("bash", {"command": ":\\s*\\w+"})]),
    (f"{B}call:write{{content:hello{D},mode:{D}x{D}}}{E}", "", "", [("write", {"content": "hello", "mode": "x"})]),
    (f"{B}call:write{{content:\n\n# It's{E}", "", "", [("write", {"content": "\n\n# It's"})]),
    (
        f"{B}call:get_weather{{city:San Jose, CA,unit:c}}{E}",
        "",
        "",
        [("get_weather", {"city": "San Jose, CA", "unit": "c"})],
    ),
    (f"{B}call:a{{x:1}}{E}<|tool", "", "", [("a", {"x": 1})]),
    (f"{B}: call:bash{{command:{D}ls{D}}}{E}", "", "", [("bash", {"command": "ls"})]),
    (f"<tool_call:bash{{command:{D}ls{D}}}<tool_call|>", "", "", [("bash", {"command": "ls"})]),
    (f"Ok.\n<|tool_call:bash{{command:{D}ls{D}}}", "Ok.", "", [("bash", {"command": "ls"})]),
    (f"thought<channel|>{B}call:f{{a:1}}{E}", "", "", [("f", {"a": 1})]),
    (f"{B}call:f{{a:\"{D}x{D}\",b:['{D}y{D}']}}{E}", "", "", [("f", {"a": "x", "b": ["y"]})]),
    # malformed: told, not made
    (f"{B}call:nope(a:1){E}", "nope(a:1)", "", []),
    (f"{B}call:f{{a:{{b:1}}}},c:2}}{E}", "f{a:{b:1}},c:2}", "", []),
    (f"{B}call:f{{a:1 b:2}}{E}", "f{a:1 b:2}", "", []),
    (f"{B}call:f{{a:[1,2}}{E}", "f{a:[1,2}", "", []),
    (f"{B}call:f{{a:}}{E}ok", "f{a:}ok", "", []),
    (f"{B}call:bash{{command:{D}ls", "bash{command:ls", "", []),
    (f"{B}call:{E}", "", "", []),
    (f"{B}junk{E}{B}call:f{{a:1}}{E}", "junk", "", [("f", {"a": 1})]),
    (f"Ok. {B}junk{E}", "Ok. junk", "", []),
    (f"{B}no call at all, sorry.{E}", "no call at all, sorry.", "", []),
    (f"Sure.{B}call bash{{command:{D}ls{D}}}{E}", "Sure.call bash{command:ls}", "", []),
    (f"{B}c'est la vie", "c'est la vie", "", []),
    (f"{B} I do not know the city.", "I do not know the city.", "", []),
    (f"One moment.{B} Hm, which city?{E}", "One moment. Hm, which city?", "", []),
    (f"<|tool<turn|>_call>{B}x", "<|tool", "", []),
    (f'{B}call:f{{a:"x{D}y"}}{E}', 'f{a:"xy"}', "", []),
    (f'{B}call:f{{a:<|"x{D}}}{E}', 'f{a:<|"x}', "", []),
    (f"call:other{{command:{D}ls{D}}}", "call:other{command:ls}", "", []),
    (f"Look: call:bash{{command:{D}ls{D}}}", "Look: call:bash{command:ls}", "", []),
]

TALK = [
    "You can write call:bash{command:ls} to run.",
    "Use `<|tool_call>call:bash{x:1}<tool_call|>` to call.",
    "```\n<|tool_call>call:bash{x:1}<tool_call|>\n```\nDone.",
    "```\n<|turn>user\nHi<turn|>\n```\nok",
    "```\ncall:bash{command:ls}\n```",
    'It says "<|tool_call>call:bash{x:1}<tool_call|>" there.',
    'The "<turn|>" token ends.',
    "`<eos>` ends",
    "The tokens <|tool_call> and <tool_call|> delimit.",
    "The token <|channel> opens a thought.",
    "All <|tool_call>s are marked",
    "标记<|tool_call>表示调用。",
    "**<|tool_call>** opens a call, (<|tool_call>) too",
    "Markers:\n<|tool_call> opens a call\n<tool_call|> closes it\n",
    "<tool_call:x> is nothing",
    "a <b> c <|d|> e",
    "if a < b and c |> d",
    "call:bash is a tool",
    "# Title\n\ncall me: maybe\n\ncolon: {x}",
    "<|",
]


@pytest.mark.parametrize(("raw", "content", "reasoning", "calls"), FAMILIES, ids=[f[0][:60] for f in FAMILIES])
def test_families(raw: str, content: str, reasoning: str, calls: list[tuple[str, Any]]) -> None:
    for size in (1, 2, 3, 7, len(raw)):
        got = read(markup(), pieces(raw, size))
        assert (got.content.strip(), got.reasoning.strip(), got.calls) == (content, reasoning, calls)
        assert got.finish == ("tool_calls" if calls else "stop")
    assert read(markup(whole=True), [raw]) == read(markup(), [raw])


@pytest.mark.parametrize("text", TALK)
def test_text_about_markup_is_left_alone(text: str) -> None:
    for size in (1, 2, 3, 7, len(text)):
        got = read(markup(), pieces(text, size))
        assert got.content == text
        assert got.repairs == []


@pytest.mark.parametrize(
    ("raw", "content", "calls"),
    [
        (B, "", []),
        (f"{B}ca", "", []),
        (f"{B}get_wea", "", []),
        (f"{B}call:f{{a:4", "", []),
        (f"{B}call:f{{a:{D}x{D}", "", []),
        (f"{B}call:f{{a:{D}x}}{E} more", "", []),
        (f"{B}call:f{{a:4}}", "", [("f", {"a": 4})]),
        (f"{B}call:f{{a:4}}<tool_c", "", [("f", {"a": 4})]),
        (f"{B}call:f{{a:1}}{E}{B}call:g{{b:", "", [("f", {"a": 1})]),
        ("Hi <|", "Hi <|", []),
        ("Hi <|tool", "Hi ", []),
        ("call:bash{com", "", []),
    ],
)
def test_cut_by_max_tokens(raw: str, content: str, calls: list[Any]) -> None:
    for size in (1, 3, len(raw)):
        got = read(markup(), pieces(raw, size), "length")
        assert (got.content, got.calls, got.finish) == (content, calls, "length")


@pytest.mark.parametrize(
    ("raw", "repairs"),
    [
        ("Hello<turn|>", []),
        (f"{TH}x<channel|>{B}call:f{{a:1}}{E}<turn|>", []),
        ("thought\nx<channel|>y", ["leaked_thought"]),
        ("Sure.<turn|>\n<|turn>user\nand now?", ["eot_text_dropped"]),
        ("call:bash{command:ls}", ["bare_call", "bare_string"]),
        (f"{B}call:f{{a:1}}", ["unclosed_call"]),
        (f"{B}call:f{{a:}}{E}", ["malformed_call"]),
        (f"{B}call:bash{{command:12}}{E}", ["schema_type"]),
        (f"{TH}x", ["unclosed_thought"]),
    ],
)
def test_every_alteration_is_noted(raw: str, repairs: list[str]) -> None:
    assert read(markup(), [raw]).repairs == repairs


def test_a_prompt_that_ends_inside_of_a_thought() -> None:
    for raw in ("need it<channel|>x", f"{TH}need it<channel|>x", "thought\nneed it<channel|>x"):
        got = read(markup(open_reasoning=True), pieces(raw, 2))
        assert (got.content, got.reasoning) == ("x", "need it")
    assert read(markup(open_reasoning=True), [f"need{B}call:f{{}}{E}"]).calls == [("f", {})]


def test_a_thought_known_by_its_end_only() -> None:
    raw = "The user is asking.<channel|>The team agreed."
    assert read(markup(whole=True), pieces(raw, 5)).reasoning == "The user is asking."
    got = read(markup(), pieces(raw, 5))
    assert (got.content, got.repairs) == ("The user is asking.The team agreed.", ["stray_marker"])
    # nothing follows: it was an answer after all
    assert read(markup(whole=True), ["The answer.<channel|>"]).content == "The answer."


def test_parse_is_the_filter() -> None:
    parsed = parse(f"Hi{B}call:f{{n:1e5}}{E}", {}, new_id=lambda: "id")
    assert parsed.parts == [Text("Hi"), ToolCall("id", "f", '{"n":1e5}')]
    assert (parsed.finish, parsed.repairs) == ("tool_calls", [])


# laws

KEYS = st.one_of(
    st.from_regex(r"[A-Za-z_$@][\w$@.\-/ ]{0,8}[A-Za-z0-9]", fullmatch=True),
    st.text(max_size=8).filter(lambda s: DELIM not in s),
)
STRINGS = st.one_of(
    st.text(max_size=20),
    st.lists(
        st.sampled_from([*MARKERS, "}", "{", '"', "'", "\\", "\n", "\r\n", ",a:", "call:f{", "é", "```"]), max_size=6
    ).map("".join),
).filter(lambda s: DELIM not in s and not s.startswith(EMPTY_THOUGHT) and not _half(s))
VALUES = st.recursive(
    st.one_of(
        STRINGS,
        st.integers(),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
NAMES = st.from_regex(r"[A-Za-z_][\w.\-]{0,10}", fullmatch=True)
CALLS = st.tuples(NAMES, st.dictionaries(KEYS, VALUES, max_size=4))
SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def _half(s: str) -> bool:
    """A text whose end and the delimiter behind it read as another delimiter."""
    return (s + DELIM).find(DELIM) != len(s)


def render(value: Any) -> str:
    if isinstance(value, str):
        return D + value + D
    if isinstance(value, dict):
        return "{" + ",".join(f"{key(k)}:{render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(render, value)) + "]"
    return json.dumps(value)


def key(name: str) -> str:
    bare = re.fullmatch(r"[A-Za-z_$@][\w$@.\-/ ]*[A-Za-z0-9]", name)
    return name if bare else D + name + D


def render_call(call: tuple[str, Any]) -> str:
    return f"{B}call:{call[0]}{render(call[1])}{E}"


@settings(max_examples=80, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=3), SIZES)
def test_what_is_rendered_is_read(calls: list[tuple[str, Any]], sizes: list[int]) -> None:
    raw = "".join(map(render_call, calls))
    got = read(markup({}), cut_by(raw, sizes))
    assert got.calls == calls
    assert (got.content, got.reasoning, got.repairs) == ("", "", [])


@settings(max_examples=150, deadline=None)
@given(CALLS, CALLS, st.data(), st.sampled_from(["length", "stop"]))
def test_cut_anywhere_no_wrong_call(one: Any, two: Any, data: st.DataObject, finish: Finish) -> None:
    raw = render_call(one) + render_call(two)
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    got = read(markup({}), pieces(raw, 5), finish)
    assert got.calls == [one, two][: len(got.calls)]
    if finish == "length":
        assert got.finish == "length"
        assert got.content.strip() in ("", "<", "<|", "<t", "<to", "<too", "<tool"[:4])


WORDS = st.sampled_from(
    [
        *MARKERS, B, E, D, D, TH, "<channel|>", "call:", "bash", "status", "{", "}", "(", ")", "command:", "1", "true",
        ",", "[", "]", "\n", "\n\n", " ", "thought\n", "hello", "<", "|>", "<|", "tool_call", "é", "call:status{",
        "<call>",        f"call:bash{{command:{D}", "response:", "model\n", ":status{", "\\", "=",
    ]
)  # fmt: skip
QUOTES = st.sampled_from(["`", "```", "\n```\n", '"', "'"])
SOUP = st.lists(WORDS, max_size=24).map("".join)
QUOTED_SOUP = st.lists(st.one_of(WORDS, QUOTES), max_size=24).map("".join)


@settings(max_examples=250, deadline=None)
@given(
    st.one_of(st.text(max_size=40), SOUP, QUOTED_SOUP),
    SIZES,
    st.sampled_from(["stop", "length"]),
    st.booleans(),
    st.booleans(),
)
def test_streamed_is_whole(text: str, sizes: list[int], finish: Finish, inside: bool, declared: bool) -> None:
    tools = TOOLS if declared else {}
    whole = read(markup(tools, open_reasoning=inside), [text], finish)
    assert read(markup(tools, open_reasoning=inside), cut_by(text, sizes), finish) == whole
    read(markup(tools, open_reasoning=inside, whole=True), cut_by(text, sizes), finish)


@settings(max_examples=250, deadline=None)
@given(SOUP, st.sampled_from(["stop", "length"]))
def test_no_marker_leaks(text: str, finish: Finish) -> None:
    got = read(markup(), pieces(text, 4), finish)
    talked_about = {B, E, "<|channel>"}  # these may be mentioned without quotes
    assert not set(leaked(got)) - talked_about
    for _, arguments in got.calls:
        assert isinstance(arguments, dict)
    assert got.finish == ("length" if finish == "length" else "tool_calls" if got.calls else "stop")
    if finish == "stop" and not got and not got.repairs:
        assert not re.sub("|".join(map(re.escape, [TH, *MARKERS])), "", text).strip()


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(blacklist_characters="<`:"), max_size=60), SIZES)
def test_plain_text_passes_untouched(text: str, sizes: list[int]) -> None:
    assume(text and not text[0].isspace() and not text.startswith("t"))
    chunks = cut_by(text, sizes)
    sent: list[Event] = [PartDelta(0, 0, chunk) for chunk in chunks]
    f = markup({})
    out = [e for e in events_of(f, chunks) if isinstance(e, PartDelta)]
    assert out == sent and f.repairs == []


def test_bounded_work() -> None:
    """Nothing here is more than linear: each of these would take minutes otherwise."""
    texts = {
        "plain": "The quick brown fox, jumps over\nthe lazy dog. " * 10_000,
        "<": "<" * 100_000,
        "opener": B * 8_000,
        "open text": f"{B}call:f{{a:{D}" * 4_000,
        "forgotten": f"{B}call:bash{{command:{D}x}}{E}" * 2_500,
        "brackets": f"{B}call:f" + "{" * 100_000,
        "closing": f"{B}call:f{{" + "}" * 100_000,
        "quotes": f"{B}call:f{{a:[" + "'a b," * 25_000,
        "commas": f"{B}call:f{{a:b" + ",c d" * 25_000 + "}" + E,
        "bare": "\ncall:status{" * 8_000,
        "space": " " * 100_000,
        "code": "```\n" + B * 8_000,
        "ghosts": "<tur<|think|>" * 8_000,
        "nested": "<tur" * 10_000 + "<turn|>" + "n|>" * 10_000,
        "leak": "thought\n" + "x " * 150_000,
        "long call": f"{B}call:f{{a:{D}" + "x}" * 600_000 + f"{D}}}{E}",
    }
    began = time.perf_counter()
    for text in texts.values():
        read(markup(), [text])
        read(markup(), pieces(text, 200))
    assert time.perf_counter() - began < 30  # about 2 s on a quiet machine


def test_a_call_that_is_too_long_is_told() -> None:
    got = read(markup(), [f"{B}call:f{{a:{D}" + "x" * (1 << 20) + f"{D}}}{E}"])
    assert not got.calls and got.finish == "stop"
    assert got.repairs[:2] == ["oversized_call", "malformed_call"]
    assert CALL_CLOSE not in got.content and len(got.content) > 1 << 20
