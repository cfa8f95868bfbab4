"""The official clients of npm, `openai` and `@google/genai`, each case a Node.js process (`npm/*.cjs`)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.real.content import image
from tests.sdks import task
from tests.sdks.conftest import Replayed, public
from tests.sdks.serving import ROOT, Served

NODE = ROOT / ".cache" / "node" / "bin" / "node"
MODULES = ROOT / ".cache" / "npm-sdks" / "node_modules"
HERE = Path(__file__).parent / "npm"
EARS = "fixture-ears"

pytestmark = pytest.mark.skipif(
    not (NODE.exists() and MODULES.is_dir()), reason="npm could not have its packages (scripts/clients says why)"
)


def run(script: str, case: str, url: str, model: str, folder: Path) -> list[Any]:
    """What was called in one case of a script. AssertionError with what it wrote if it failed."""
    asked = {"url": url, "model": model, "folder": str(folder), "tools": task.tools(), "ask": task.ASK}
    asked |= {"final": task.FINAL, "picture": image()["image_url"]["url"]}
    done = subprocess.run(
        [str(NODE), str(HERE / script), case],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(MODULES), "TASK": json.dumps(asked)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    told = json.loads(done.stdout)
    assert told["name"] == case
    found: list[Any] = told["called"]
    return found


@pytest.mark.parametrize("case", ["models", "text", "picture", "responses", "errors"])
def test_openai(embedded: Served, case: str, tmp_path: Path):
    run("openai.cjs", case, embedded.url, EARS, tmp_path)


@pytest.mark.parametrize("case", ["models", "text", "picture", "file", "chat", "errors"])
def test_google(embedded: Served, case: str, tmp_path: Path):
    run("google.cjs", case, embedded.url, EARS, tmp_path)


LOOPS = [
    *(("openai.cjs", c) for c in ("chat_whole", "chat_stream", "responses_whole", "responses_stream", "run_tools")),
    *(("google.cjs", c) for c in ("loop_whole", "loop_stream", "automatic")),
]


@pytest.mark.parametrize(("script", "case"), LOOPS, ids=[c for _, c in LOOPS])
def test_a_loop_of_recorded_bytes(replayed: Replayed, stack: str, script: str, case: str, workshop: task.Workshop):
    replayed.bodies(stack)
    called = run(script, case, replayed.url, public(stack), workshop.folder)
    workshop.called = [(name, arguments) for name, arguments in called]
    workshop.check()
    task.check_upstream(replayed.bodies(stack))
