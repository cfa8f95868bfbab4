"""Every agent does the three-tool task over every API that it speaks."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.agents import model
from tests.agents.conftest import PUBLIC, Bench
from tests.agents.setups import SETUPS, Where

HEARD = "[fixture] I heard your sound, and this sentence is all that ever comes back."


@pytest.mark.parametrize("name", SETUPS)
def test_a_three_tool_task(name: str, bench: Bench):
    setup = SETUPS[name](Where(bench.served.url, PUBLIC, model.TASK, bench.home))
    done = bench.run(setup)
    assert (bench.work / model.FILE).read_text() == f"{model.AFTER}\n", done.stdout[-4000:]
    assert model.FINAL in done.stdout, done.stdout[-4000:]
    assert done.returncode == 0, done.stdout[-4000:]
    turns = [b for b in bench.bodies if b.get("tools")]
    assert len(turns) == 4, [len(b["messages"]) for b in turns]  # three calls and the end: nothing was sent twice
    results = [m for m in turns[-1]["messages"] if m["role"] == "tool"]
    calls = [c for m in turns[-1]["messages"] if m["role"] == "assistant" for c in m.get("tool_calls") or []]
    assert [r["tool_call_id"] for r in results] == [c["id"] for c in calls]
    assert "DONE-OK" in json.dumps(results[-1]["content"])
    for before, after in itertools.pairwise(turns):  # a server's prefix cache works
        assert after["messages"][: len(before["messages"])] == before["messages"]
        assert after["tools"] == before["tools"]


@pytest.mark.parametrize("name", [n for n in SETUPS if n not in ("codex-custom-tools", "codex-javascript")])
def test_a_real_server_answers(name: str, real_bench: Bench):
    """As far as a fixture can: a real llama.cpp reads the agent's whole prompt and tools, and says its one sentence."""
    done = real_bench.run(SETUPS[name](Where(real_bench.served.url, PUBLIC, model.TASK, real_bench.home)))
    assert HEARD in done.stdout, done.stdout[-4000:]
    assert done.returncode == 0, done.stdout[-4000:]
