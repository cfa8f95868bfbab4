"""What `gateway connect` says is what the clients take: every snippet whose client comes from npm, run."""

from __future__ import annotations

import sys

import pytest

from tests.agents import model
from tests.agents.conftest import PUBLIC, Bench
from tests.agents.setups import Setup
from tests.sdks.serving import ROOT

FLAGS = {
    "codex": ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"],
    "gemini": ["--skip-trust", "-y", "-p"],
    "opencode": ["run"],
    "cline": [],
    "continue": ["-p", "--auto"],
    "qwen": ["-y", "-p"],
    "pi": ["--offline", "-p"],
}
"""What makes each do a task without asking; the task comes last."""
QUIET = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1", "CONTINUE_TELEMETRY_ENABLED": "0"}
PROGRAM = {"continue": ["cn"]}
CHOOSING = {"cline": ["-P", "openai", "-m", PUBLIC], "pi": ["--provider", "gateway", "--model", PUBLIC]}
"""What is said at every start, since their files do not choose."""
ALONE = ["codex", "opencode", "qwen"]


def connect(client: str, bench: Bench, *more: str) -> Setup:
    argv = [sys.executable, "-m", "gateway", "connect", client, "--url", bench.served.url, "--model", PUBLIC, *more]
    return Setup(argv, {**QUIET, "PYTHONPATH": str(ROOT)})


def check(bench: Bench, said: str) -> None:
    assert (bench.work / model.FILE).read_text() == f"{model.AFTER}\n", said[-4000:]
    assert model.FINAL in said, said[-4000:]
    assert len([b for b in bench.bodies if b.get("tools")]) == 4, said[-4000:]


@pytest.mark.parametrize("client", FLAGS)
def test_what_is_written_is_enough(client: str, bench: Bench):
    """The client started by itself, with nothing but the files that were written."""
    wrote = bench.run(connect(client, bench, "--write"))
    assert wrote.returncode == 0, wrote.stdout
    flags = CHOOSING.get(client, [])
    config = ["--config", str(bench.home / ".continue/config.yaml")] if client == "continue" else []
    argv = [*PROGRAM.get(client, [client]), *flags, *FLAGS[client], *config, model.TASK]
    done = bench.run(Setup(argv, QUIET))
    check(bench, done.stdout)


@pytest.mark.parametrize("client", FLAGS)
def test_the_client_is_started(client: str, bench: Bench):
    """`-- run`: those that can do without a file of their own are started without one."""
    more = [] if client in ALONE else ["--write"]
    done = bench.run(connect(client, bench, *more, "--", "run", *FLAGS[client], model.TASK))
    check(bench, done.stdout)
