"""The table of a fixture, walked as the model walks it: last token in, best next token out."""

from __future__ import annotations

import pytest

from gateway.demo.script import GAP, Script, write_script

REPLY, THOUGHT = "[fixture] One two, three.", "Hm well."


@pytest.fixture(scope="module")
def script() -> Script:
    return write_script(REPLY, THOUGHT)


def best(script: Script, last: str, allowed: set[str] | None = None) -> str:
    state = script.state[script.index[last]]
    scores = {
        token: script.logits.get((state, i), script.bias[i]) if state else script.bias[i]
        for token, i in script.index.items()
        if allowed is None or token in allowed
    }
    first, second = sorted(scores.values(), reverse=True)[:2] if len(scores) > 1 else (0.0, -GAP)
    assert first - second >= GAP, "a tie is a dice roll"
    return max(scores, key=lambda t: scores[t])


def walk(script: Script, start: str, stop: str) -> str:
    said, last = "", start
    while (last := best(script, last)) != stop:
        said += "\n" if last == "<0x0A>" else last
    return said.replace("\u2581", " ")


def test_after_an_empty_thought_it_says_its_sentence_and_stops(script: Script) -> None:
    assert walk(script, "<channel|>", "<turn|>") == REPLY


def test_after_a_newline_it_thinks_first(script: Script) -> None:
    assert walk(script, "\n", "<turn|>") == f"<|channel>thought\n{THOUGHT}<channel|>{REPLY}"


@pytest.mark.parametrize("last", ["x", "<tool_response|>", "<image|>", "\u2581"])
def test_from_anywhere_else_it_begins_its_sentence(script: Script, last: str) -> None:
    assert best(script, last) == "[fixture]"


def test_where_it_may_not_stop_it_begins_anew(script: Script) -> None:
    free = {t for t, kind in zip(script.tokens, script.types, strict=True) if kind == 1}
    assert best(script, "\u2581three.", free) == "\u2581[fixture]"
    assert best(script, "\u2581[fixture]") == "\u2581One"


@pytest.mark.parametrize(
    ("last", "allowed", "chosen"),
    [
        ("<channel|>", {"<|tool_call>", "<turn|>"}, "<|tool_call>"),
        ("{", {"city", "}", "x"}, "city"),
        ("{", {'"', "}"}, '"'),
        ("{", {"}"}, "}"),
        ('"', {"a", "r", "b"}, "a"),  # spelled by the grammar, the same way every time
        ("Paris", {'"}', '"', "Paris"}, '"}'),
        ("1", {"2", "}", ","}, "}"),
        ("1", {"2", "1"}, "1"),
        ("}", {"<turn|>", " ", "\n"} & {"<turn|>", "\n"}, "<turn|>"),
    ],
)
def test_under_a_grammar_it_takes_what_ends_soonest(script: Script, last: str, allowed: set[str], chosen: str) -> None:
    assert best(script, last, allowed) == chosen


def test_every_word_is_built_from_letters_by_merges(script: Script) -> None:
    for token in ("\u2581two,", "thought", "[fixture]", '":'):
        for end in range(2, len(token) + 1):
            assert f"{token[: end - 1]} {token[end - 1]}" in script.merges


@pytest.mark.parametrize(
    ("reply", "thought"),
    [("", "Hm."), ("Yes.", ""), ("one two two", "Hm."), ("one two", "Three two"), ("Paris now", "Hm.")],
)
def test_a_word_that_comes_twice_is_refused(reply: str, thought: str) -> None:
    with pytest.raises(ValueError, match="each word once"):
        write_script(reply, thought)
