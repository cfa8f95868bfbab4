from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings.document import MAX_CHARACTERS, Document, read_document


def messages(document: Document) -> list[str]:
    return [str(p) for p in document.problems]


def only(text: str) -> str:
    document = read_document(text, "f.yaml")
    assert len(document.problems) == 1, document.problems
    return str(document.problems[0])


def test_words_numbers_and_lists() -> None:
    document = read_document("a: off\nb: yes\nc: 12:30\nd: 2024-08-06\ne: 1e3\nf: [1, -2, 3.5]\n1: true\non: ~\n", "f")
    assert document.values == {
        "a": "off",
        "b": "yes",
        "c": "12:30",
        "d": "2024-08-06",
        "e": 1000.0,
        "f": [1, -2, 3.5],
        "1": True,
        "on": None,
    }
    assert not document.problems


def test_lines_of_every_place() -> None:
    document = read_document("a: 1\nb:\n  c:\n    - x\n    - y: 2\n", "f")
    assert document.line(("a",)) == 1
    assert document.line(("b",)) == 2
    assert document.line(("b", "c", 1, "y")) == 5
    assert document.line(("b", "c", 0, "missing", "deeper")) == 4, "the nearest thing around it"
    assert document.line(()) == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n", "\ufeffa: 1\n"])
def test_an_empty_file_and_a_byte_order_mark_are_fine(text: str) -> None:
    assert not read_document(text, "f").problems


def test_duplicate_keys_are_told_with_both_lines() -> None:
    assert only("a: 1\nb: {x: 1}\na: 2\n") == "f.yaml:3: a: stands twice (first on line 1)"
    assert only("b:\n  x: 1\n  x: 1\n") == "f.yaml:3: b.x: stands twice (first on line 2)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "the top level must be a mapping"),
        ("hello\n", "the top level must be a mapping"),
        ("a: [1\nb: 2\n", "is not YAML"),
        ("a:\n\tb: 1\n", "spaces, not with tabs"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("a: *nobody\n", "is not YAML"),
        ("a: \x01\n", "a character that YAML forbids: #x0001"),
        ("a: !!python/object/apply:os.system [ls]\n", "the tag"),
        ("a: !mine 1\n", "the tag"),
        ("a: !!int x\n", "not a value of the tag"),
        ("? [a, b]\n: 1\n", "a key must be plain text"),
        ('a: "\\ud800"\n', "lone surrogate"),
        ('"\\ud800": 1\n', "a key must be plain text"),
        ("a: .inf\n", "finite"),
        ("a: .nan\n", "finite"),
        ("a: 1e999\n", "finite"),
        ("a: " + "9" * 5000 + "\n", "finite"),
        ("a: !!int " + "9" * 5000 + "\n", "not a value of the tag"),
        ("a: " + "[" * 5000, "nested"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than 32"),
        ("a: &x [*x]\n", "nested deeper than 32"),
        ("a: &x {<<: *x}\n", "nested deeper than 32"),
        ("a: {<<: 3}\n", "<< takes a mapping"),
        ("x" * (MAX_CHARACTERS + 1), "longer than 512 KiB"),
    ],
)
def test_what_cannot_be_read_is_a_problem_and_never_a_traceback(text: str, said: str) -> None:
    assert said in only(text)


def test_the_line_of_a_forbidden_character() -> None:
    assert only("a: 1\nb: 2\nc: \x07\n").startswith("f.yaml:3: ")


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "more than 50000 values" in only("\n".join(lines))


def test_aliases_and_merges_work() -> None:
    text = "base: &b {kind: vllm, weight: 1}\none: {<<: *b, weight: 2}\ntwo: {weight: 3, <<: [*b, {extra: 1}]}\n"
    document = read_document(text, "f")
    assert document.values["one"] == {"kind": "vllm", "weight": 2}
    assert document.values["two"] == {"kind": "vllm", "weight": 3, "extra": 1}
    assert document.line(("one", "weight")) == 2
    assert not document.problems


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-_. é", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), JSON, max_size=4))
@settings(max_examples=100, deadline=None)
def test_json_is_read_as_itself(values: dict[str, object]) -> None:
    document = read_document(json.dumps(values), "f")
    assert not document.problems
    assert document.values == values


@given(st.dictionaries(st.text("abcdef", min_size=1), JSON, max_size=4))
@settings(max_examples=50, deadline=None)
def test_block_style_is_read_as_itself(values: dict[str, object]) -> None:
    document = read_document(yaml.safe_dump(values, default_style='"', allow_unicode=False), "f")
    assert messages(document) == []
    assert document.values.keys() == values.keys()


@given(st.text(alphabet="ab:-[]{}&*<!|>#'\"\\ \n\t%@`,?0.~", max_size=40))
@settings(max_examples=400, deadline=None)
def test_no_text_makes_it_fall(text: str) -> None:
    document = read_document(text, "f")
    assert isinstance(document.values, dict)
    assert all("\n" not in line for line in messages(document))
