"""Every snippet of every page is of a language that is checked here: settings are loaded, commands are looked up in the
command line that exists, calls to the gateway are made against the embedded fleet, the rest is parsed.

What shows output, and is no input, is `text`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from gateway import cli
from gateway.demo.media import wav
from gateway.settings import parse
from gateway.settings.model import Settings
from tests.embedded import embedded

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GATEWAY = "127.0.0.1:4000"
"""Where every page has its gateway."""
CALL = re.compile(r"curl\b.*" + re.escape(GATEWAY), re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets() -> list[Snippet]:
    out = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for m in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
            body = re.sub(rf"^{m[1]}", "", m[3], flags=re.MULTILINE)
            out.append(Snippet(str(page.relative_to(ROOT)), text[: m.start()].count("\n") + 1, m[2], body))
    return out


ALL = snippets()


def of(*languages: str) -> list[object]:
    return [pytest.param(s, id=str(s)) for s in ALL if s.language in languages]


def commands(text: str) -> list[str]:
    """One a line; `\\` and open quotes go on with the next."""
    out: list[str] = []
    held = ""
    for line in text.splitlines():
        held += ("\n" if held else "") + line
        joined = held.replace("\\\n", " ")
        with contextlib.suppress(ValueError):
            shlex.split(joined, comments=True)
            if not held.endswith("\\"):
                out.append(joined)
                held = ""
    assert not held, f"it has no end: {held}"
    return [c for c in out if shlex.split(c, comments=True)]


def test_every_language_is_one_that_is_checked() -> None:
    known = {"sh", "python", "yaml", "json", "toml", "js", "text", "promql", "dockerfile", "env", "mermaid"}
    assert [f"{s}: {s.language or 'none'}" for s in ALL if s.language not in known] == []


@pytest.mark.parametrize("snippet", of("python"))
def test_python_compiles(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec", flags=0x2000)  # await may stand at the top


@pytest.mark.parametrize("snippet", of("json"))
def test_json_is_json(snippet: Snippet) -> None:
    json.loads(snippet.text)


@pytest.mark.parametrize("snippet", of("toml"))
def test_toml_is_toml(snippet: Snippet) -> None:
    tomllib.loads(snippet.text)


@pytest.mark.parametrize("snippet", of("yaml"))
def test_settings_are_settings(snippet: Snippet, tmp_path: Path) -> None:
    value = yaml.safe_load(snippet.text)
    assert isinstance(value, dict | list)
    if isinstance(value, dict) and set(value) <= set(Settings.model_fields):
        env = dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9_]*(?:KEY|TOKEN)\b", snippet.text), "x")
        for name in re.findall(r"[\w/]+\.pem", snippet.text):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        parse(snippet.text, env, base=tmp_path)


# ---- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snippet", of("sh"))
def test_the_shell_can_read_it(snippet: Snippet) -> None:
    got = subprocess.run(["bash", "-n"], input=snippet.text, text=True, capture_output=True, check=False)
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize("snippet", of("sh"))
def test_the_commands_exist(snippet: Snippet) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in commands(snippet.text):
        words = [w for w in shlex.split(command, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", w)]
        if not words:
            continue
        if words[0].rpartition("/")[2] == "gateway":
            _look_up(words[1:])
        if words[0] == "make":
            assert {w for w in words[1:] if "=" not in w and not w.startswith("-")} <= targets, command


def test_what_does_not_exist_is_noticed() -> None:
    for words in (["doctor", "--nope"], ["nope"], ["worker", "keras", "--nope", "1"], ["--nope"]):
        with pytest.raises(AssertionError):
            _look_up(words)


def _look_up(words: list[str]) -> None:
    """Every option of a gateway command is one that its help names."""
    words = words[: words.index("--")] if "--" in words else words
    names = [w for w in words if not w.startswith("-")]
    options = [w.partition("=")[0] for w in words if re.match(r"--?[a-z]", w)]
    if not names:
        assert set(options) <= {"--help", "--version"}
        return
    # a command of two words first: `gateway worker keras`
    for asked in (names[:2], names[:1]):
        text = _help(asked)
        if text:
            missing = [o for o in options if not re.search(rf"(?<![\w-]){re.escape(o)}(?![\w-])", text)]
            if not missing:
                return
    raise AssertionError(f"gateway {' '.join(words)}: not in its help")


def _help(words: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code: object = cli.run([*words, "--help"])
        except SystemExit as e:
            code = e.code
    return out.getvalue() if code in (0, None) else ""


# ---- calls -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """Of a gateway in front of the embedded fleet."""
    async with embedded(tmp_path_factory.mktemp("fleet")) as port:
        yield port


CALLS = [
    pytest.param(s.page, c, id=f"{s}.{n}")
    for s in ALL
    if s.language == "sh"
    for n, c in enumerate(commands(s.text))
    if CALL.search(c) and s.page != "README.md"  # which is run as a whole: tests/test_readme.py
]


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("page", "command"), CALLS)
async def test_a_call_is_answered(page: str, command: str, port: int, tmp_path: Path) -> None:
    """With what it says on its page; a file that it names is one that the demo has, or a recording."""
    (tmp_path / "memo.wav").write_bytes(wav())
    process = await asyncio.create_subprocess_exec(
        *(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            command.replace(GATEWAY, f"127.0.0.1:{port}").replace("curl ", "curl -f ", 1),
        ),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out = (await process.communicate())[0].decode()
    assert process.returncode == 0, out
