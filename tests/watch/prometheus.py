"""Debian's Prometheus, unpacked by scripts/prometheus, run for a test."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from gateway.demo.fleet import free_ports
from tests.sdks.serving import START, until
from tests.watch.dashboards import ROOT

BIN = ROOT / ".cache" / "prometheus" / "usr" / "bin"
RULES = ROOT / "config" / "prometheus" / "rules.yml"


def promtool(*args: str | Path, given: str = "") -> str:
    """What it says. AssertionError if it finds a fault."""
    done = subprocess.run(
        [BIN / "promtool", *map(str, args)], cwd=ROOT, input=given, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@dataclass
class Prometheus:
    url: str

    def get(self, path: str, **params: Any) -> Any:
        answer = httpx2.get(f"{self.url}/api/v1/{path}", params=params, trust_env=False, timeout=30.0).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expr: str) -> list[Any]:
        return list(self.get("query", query=expr)["result"])

    def over(self, expr: str, start: float, end: float) -> list[float]:
        """All values of all series within that time, two a second, but for those that are no number."""
        found = self.get("query_range", query=expr, start=start, end=end, step=0.5)["result"]
        values = [float(value) for series in found for _, value in series["values"]]
        return [v for v in values if v == v]

    def values(self, label: str, metric: str) -> list[str]:
        return list(self.get(f"label/{label}/values", **{"match[]": metric}))


@contextlib.contextmanager
def prometheus(gateway: str, folder: Path) -> Iterator[Prometheus]:
    """Scrapes the gateway at `gateway` (host:port) every second, with the rules of the project."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "gateway", "static_configs": [{"targets": [gateway]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_ports(1)[0]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                BIN / "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    found = Prometheus(f"http://127.0.0.1:{port}")
    try:
        until(lambda: _ready(process, found, folder / "prometheus.log"), START)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def _ready(process: subprocess.Popen[bytes], found: Prometheus, log: Path) -> bool:
    assert process.poll() is None, f"it ended:\n{log.read_text()[-4000:]}"
    try:
        return httpx2.get(f"{found.url}/-/ready", trust_env=False, timeout=2.0).status_code == 200
    except httpx2.HTTPError:
        return False
