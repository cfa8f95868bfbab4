"""What the README shows is run as it stands, against the demo's own servers; only the port is another one."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.settings import parse
from tests.embedded import embedded

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Of a gateway in front of the embedded fleet."""
    async with embedded(tmp_path) as port:
        yield port


async def run(port: int, *argv: str) -> str:
    """Its output; `argv` has the README's port in it."""
    process = await asyncio.create_subprocess_exec(
        *(a.replace("127.0.0.1:4000", f"127.0.0.1:{port}") for a in argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
    )
    out = (await process.communicate())[0].decode()
    assert process.returncode == 0, out
    return out


@pytest.mark.real
async def test_the_snippets_work(port: int) -> None:
    openai, *_ = blocks("python")  # the other two: tests/sdks/test_pages.py, where their SDKs are
    assert (await run(port, sys.executable, "-c", openai)).strip()

    ask, others, explain = (b for b in blocks("sh") if b.startswith("curl"))
    answer = await run(port, "bash", "-euc", ask)
    assert answer.startswith("HTTP/1.1 200")
    told = set(re.findall(r"^(x-[a-z-]+):", answer, re.MULTILINE))
    assert {"x-request-id", "x-gateway-target", "x-gateway-parts"} <= told
    answers = await run(port, "bash", "-euc", others)
    for sign in ('"type":"message"', '"candidates":[', '"object":"response"', '"done":true'):
        assert sign in answers
    assert "candidates" in await run(port, "bash", "-euc", explain)

    (listing,) = re.findall(r"`(curl [^`]*/v1/models)`", README)
    assert '"auto"' in await run(port, "bash", "-euc", f"{listing} -s")


def test_the_headers_in_the_table_are_those_of_the_gateway() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in Path("gateway").rglob("*.py"))
    shown = re.findall(r"^\| `(x-[a-z-]+)`", README, re.MULTILINE)
    assert len(shown) == 7
    assert [name for name in shown if name not in source] == []


def test_the_configuration_is_valid() -> None:
    (config,) = blocks("yaml")
    settings = parse(config, {"VLLM_KEY": "x"})
    assert set(settings.backends) == {"ears", "gpu"}


def test_what_is_linked_is_there() -> None:
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert linked
    assert [path for path in linked if not Path(path).exists()] == []


def test_the_commands_are_targets_and_subcommands() -> None:
    targets = re.findall(r"^(\w+):.*##", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"\bmake (demo|test|check|bench|lock|format)\b", README)) <= set(targets)
    cli = "".join(file.read_text(encoding="utf-8") for file in Path("gateway/cli").glob("*.py"))
    for command in set(re.findall(r"\bgateway (serve|check|demo|explain|init)\b", README)):
        assert f'"{command}"' in cli
