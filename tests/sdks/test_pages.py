"""What the README and docs/clients show is run as it stands, by the SDK that it is about: only the address changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdks.serving import ROOT, Served
from tests.sdks.test_npm import MODULES, NODE

ADDRESS = "http://127.0.0.1:4000"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "clients").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(page.stem, text) for page in PAGES for text in fence.findall(page.read_text("utf-8"))]


def run(argv: list[str], env: dict[str, str]) -> str:
    kept = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "PYTHONPATH") if k in os.environ}
    done = subprocess.run(argv, env={**kept, **env}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize(("page", "text"), blocks("python"), ids=[p for p, _ in blocks("python")])
def test_python(embedded: Served, page: str, text: str):
    assert ADDRESS in text
    assert run([sys.executable, "-c", text.replace(ADDRESS, embedded.url)], {}).strip()


@pytest.mark.skipif(not (NODE.exists() and MODULES.is_dir()), reason="npm could not have its packages")
@pytest.mark.parametrize(("page", "text"), blocks("js"), ids=[p for p, _ in blocks("js")])
def test_javascript(embedded: Served, page: str, text: str, tmp_path: Path):
    assert ADDRESS in text
    script = tmp_path / "snippet.cjs"
    script.write_text(text.replace(ADDRESS, embedded.url), "utf-8")
    assert run([str(NODE), str(script)], {"NODE_PATH": str(MODULES)}).strip()
