from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.settings.check import MAX_SECRET, Check
from gateway.settings.document import read_document
from gateway.settings.model import Limits, ModelSettings


def check(text: str = "a: 1\n", env: dict[str, str] | None = None, base: Path = Path()) -> Check:
    return Check(read_document(text, "f.yaml"), env or {}, base)


def said(c: Check) -> list[str]:
    return [str(p) for p in c.problems]


def test_a_section_reads_or_complains_about_everything_in_it() -> None:
    c = check("limits:\n  body: 1KiB\n  tools: none\n  stopp: 3\n")
    assert c.section(("limits",), Limits, {"body": "1KiB"}) == Limits(body=1024)
    assert c.problems == []
    assert c.section(("limits",), Limits, c.document.values["limits"]) is None
    assert [(p.line, p.path) for p in c.problems] == [(3, "limits.tools"), (4, "limits.stopp")]


def test_what_the_loader_works_out_is_no_key() -> None:
    c = check()
    assert c.section(("m",), ModelSettings, {"name": "x", "targets": [{"backend": "b"}]}, name="m") is None
    assert "m.name: unknown key 'name' (choices: aliases, defaults, targets, thinking" in said(c)[0]


def test_an_unknown_key_deep_inside_names_the_choices_there() -> None:
    c = check()
    assert c.section(("m",), ModelSettings, {"targets": [{"backend": "b", "wait": 2}]}, name="m") is None
    assert said(c)[0].endswith(
        "m.targets[0].wait: unknown key 'wait' (choices: backend, model, weight; did you mean weight?)"
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "m.targets: is required"),
        ({"targets": []}, "m.targets: must have at least one entry"),
        ({"targets": "ears"}, "m.targets: must be a mapping of backend, model, weight"),
        ({"targets": [{"model": "x"}]}, "m.targets[0].backend: is required"),
        ({"targets": [{"backend": "b", "weight": 0}]}, "m.targets[0].weight: must be a number above 0"),
        ({"targets": [{"backend": "b", "model": 12}]}, "m.targets[0].model: must be text: put it in quotes"),
        ({"targets": [{"backend": "b"}], "defaults": 3}, "m.defaults: must be a mapping"),
        (3, "m: must be a mapping of aliases, defaults, targets, thinking"),
    ],
)
def test_complaints_are_in_our_words(raw: object, message: str) -> None:
    c = check(json.dumps({"m": raw}))
    assert c.section(("m",), ModelSettings, c.document.values["m"], name="m") is None
    assert said(c) == [f"f.yaml:1: {message}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "the environment variable K is not set or empty: export K=..."),
        (" \n", "the environment variable K is not set or empty: export K=..."),
        ("a b", "the environment variable K holds characters that can't be part of a key"),
        ("a\nX-Evil: 1", "the environment variable K holds characters that can't be part of a key"),
        ("schlüssel", "the environment variable K holds characters that can't be part of a key"),
        ("x" * (MAX_SECRET + 1), f"the environment variable K holds more than {MAX_SECRET} characters"),
    ],
)
def test_secrets_that_no_header_can_carry(value: str, message: str) -> None:
    c = check(env={"K": value})
    assert c.secret(("a",), "K", None) is None
    assert message in said(c)[0]


def test_secrets(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("  from-file\n")
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    c = check(env={"K": "from-env\n"}, base=tmp_path)
    one, two = c.secret(("a",), "K", None), c.secret(("a",), None, Path("s"))
    assert one is not None and one.get_secret_value() == "from-env"
    assert two is not None and two.get_secret_value() == "from-file"
    assert c.secret(("a",), None, None) is None
    assert c.problems == []
    assert c.secret(("a",), "K", Path("s")) is None
    assert c.secret(("a",), None, Path("b")) is None
    assert c.secret(("a",), None, Path("dir/none")) is None
    assert [m.split(": ", 2)[2] for m in said(c)] == [
        "has api_key_env and api_key_file: write one of them",
        "the file 'b' is not text",
        "can't read 'dir/none': No such file or directory",
    ]


def test_paths(tmp_path: Path) -> None:
    c = check(env={"HOME": "/home/me"}, base=Path("/etc/gw"))
    assert c.path(Path("a/b")) == Path("/etc/gw/a/b")
    assert c.path(Path("/a")) == Path("/a")
    assert c.path(Path("~/a")) == Path("/home/me/a")
    assert c.readable(("a",), tmp_path) is None
    assert "Is a directory" in said(c)[0]
