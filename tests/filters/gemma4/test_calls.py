from __future__ import annotations

from typing import Any

import pytest

from gateway.filters.gemma4.calls import Reading, is_call, junk_is_harmless, read_call

TOOLS: dict[str, Any] = {"f": None, "call:g": None, "ns.h-1": None}


@pytest.mark.parametrize(
    ("raw", "name", "notes"),
    [
        ("call:f{}", "f", []),
        ("call:zz{}", "zz", []),
        (" call : f {}", "f", []),
        ("call:ns.h-1{}", "ns.h-1", []),
        ("call:a:b{}", "a:b", []),
        (":f{}", "f", ["bad_opener"]),
        (":call:f{}", "f", ["bad_opener"]),
        ("f{}", "f", ["bad_opener"]),
        ("call:call:f{}", "f", ["bad_opener"]),
        ("call:call:g{}", "call:g", []),
        ("call:f()", "f", ["parentheses"]),
        ('{"name":"f"}', "f", ["json_call"]),
    ],
)
def test_names(raw: str, name: str, notes: list[str]) -> None:
    reading = read_call(raw, TOOLS)
    assert isinstance(reading, Reading)
    assert (reading.call.name, reading.call.arguments, reading.notes) == (name, "{}", notes)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("", "empty"),
        ("call:", "empty"),
        ("call:{}", "empty"),
        (":{", "empty"),
        (":zz{}", "malformed"),
        ("zz{}", "malformed"),
        ("call:zz()", "malformed"),
        ('{"name":"zz"}', "malformed"),
        ("call:the answer{}", "malformed"),
        ("call:f[1]", "malformed"),
        ("call:f{a:", "cut"),
        ("call:f", "cut"),
    ],
)
def test_problems(raw: str, problem: str) -> None:
    assert read_call(raw, TOOLS) == problem


def test_a_name_alone_counts_before_its_end_marker() -> None:
    assert isinstance(read_call("call:f", TOOLS, implied=True), Reading)
    assert read_call("call:zz", TOOLS, implied=True) == "malformed"


def test_junk() -> None:
    reading = read_call("call:f{a:1}} x", TOOLS)
    assert isinstance(reading, Reading) and reading.junk == "} x"
    assert junk_is_harmless("} x") and not junk_is_harmless(",b:2}")


@pytest.mark.parametrize(
    ("rest", "streamed", "final"),
    [
        ("", None, "cut"),
        ("c", None, "cut"),
        ("call", None, "cut"),
        ("call:", "call", "call"),
        (":", None, "cut"),
        (":f", "call", "call"),
        (": it", "mention", "mention"),
        (" marks", None, "mention"),
        (" marks a", "mention", "mention"),
        ("get_wea", None, "cut"),
        ("zz{", "call", "call"),
        (" zz{", "mention", "mention"),
        (" f{", "call", "call"),
        ("f<tool_call|>", "call", "call"),
        ("f<too", None, "cut"),
        ("s are", "mention", "mention"),
        ("<tool_call|>", "call", "call"),
        ("<tool", None, "cut"),
        ("<div>", "stray", "stray"),
        ("{", "call", "call"),
        (".", None, "cut"),
        ('"', "mention", "mention"),
    ],
)
def test_what_follows_the_marker(rest: str, streamed: str | None, final: str) -> None:
    assert is_call(rest, 0, False, TOOLS) == streamed
    assert is_call(rest, 0, True, TOOLS) == final
