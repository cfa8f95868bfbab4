"""A real Prometheus watches a real gateway in front of real servers under load: every query of every panel has an
answer, every rule can be evaluated, and a server that was killed shows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import yaml

from tests.faults.test_load import vllm
from tests.real.conftest import RealFleet, cache, fleet  # noqa: F401  # fixtures
from tests.real.content import chat, image, text
from tests.sdks.serving import Beside, Served, gateway, until
from tests.watch.load import EYES, Load
from tests.watch.prometheus import Prometheus, prometheus, promtool
from tests.watch.queries import filled
from tests.watch.test_dashboards import PANELS, READ, variables

pytestmark = pytest.mark.real

DID_NOT_HAPPEN = {
    "gateway_repairs_total",
    "gateway_runaways_total",
    "gateway_drift_total",
    "gateway_media_fetch_seconds",
}
"""What the load does not make happen: panels about it show a line at 0."""


@dataclass
class Watched:
    prometheus: Prometheus
    gateway: Served
    load: Load
    begun: float
    ended: float

    def over(self, expr: str) -> list[float]:
        return self.prometheus.over(filled(expr), self.begun, self.ended)


@pytest.fixture(scope="module")
def watched(fleet: RealFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:  # noqa: F811
    """A minute in the life of the embedded fleet and one more server, which tells of its cache. Then one is killed."""
    folder = tmp_path_factory.mktemp("watch")
    beside = Beside()
    gpu = beside.upstream(kind="vllm", modalities=("text",))
    gpu.answer(vllm(1, 0, 0.5), path="/metrics")
    settings: dict[str, Any] = yaml.safe_load(fleet.plan.config("127.0.0.1:0"))
    settings["backends"]["gpu"] = {"kind": "vllm", "url": gpu.url}
    settings["timeouts"] = {"liveness": 1.0}
    settings["log"] = {"level": "info"}
    text_model = "text" in fleet.servers
    try:
        with gateway(settings, folder) as served, prometheus(served.url.removeprefix("http://"), folder) as found:
            begun = time.time()
            until(lambda: found.query("gateway_build_info"), 20.0)
            load = Load(served.url, fleet.servers["text"].about.alias if text_model else EYES)
            load.rounds(2)
            fleet.servers["eyes"].kill()
            load.until(
                "after the kill",
                chat(EYES, [text(), image()]),
                lambda: found.query('ALERTS{alertname="GatewayServerDown", backend="eyes"}'),
            )
            until(lambda: found.query('modality:failed:ratio_rate10m{modality="image"} > 0'), 20.0)
            yield Watched(found, served, load, begun, time.time())
    finally:
        beside.end()
        if not fleet.servers["eyes"].alive:
            fleet.servers["eyes"].start()


def test_it_was_a_bad_day(watched: Watched):
    """What the load was made for has happened."""
    ends = {name: set(statuses) for name, statuses in watched.load.seen.items()}
    fine = {"text", "stream", "picture", "sound", "video", "converted sound", "converted picture", "video with sound",
            "another server", "left", "crowd"}  # fmt: skip
    assert {name: ends[name] for name in fine} == {name: {200} for name in fine}
    assert ends["unknown model"] == {404} and ends["nobody sees there"] == {400}
    assert max(ends["nobody reads that"]) < 500 and max(ends["broken"]) < 500
    assert ends["after the kill"] & {502, 503}
    counted = watched.gateway.metrics()
    assert counted.labels("gateway_outcomes_total", "outcome").keys() == {"ok", "refused", "failed", "left"}
    assert counted.labels("gateway_parts_total", "fate").keys() >= {"delivered", "transformed", "dropped", "refused"}
    assert counted.sum("gateway_queue_seconds_count") > 0
    assert counted.sum("gateway_bugs_total") == 0


def test_what_it_exposes_is_named_as_prometheus_wants_it(watched: Watched):
    assert promtool("check", "metrics", given=watched.gateway.get("/metrics").text) == ""


def test_every_rule_can_be_evaluated(watched: Watched):
    groups = watched.prometheus.get("rules")["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert [r["name"] for r in found if r["health"] != "ok"] == []
    assert len(found) > 20


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_every_query_has_an_answer(watched: Watched, name: str, panel: dict[str, Any]):
    for target in panel["targets"]:
        assert watched.over(target["expr"]), f"no data: {filled(target['expr'])}"


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_what_happened_is_no_stand_in(watched: Watched, name: str, panel: dict[str, Any]):
    """Behind `or vector(0)` a wrong query would look like a quiet day."""
    for target in panel["targets"]:
        bare = re.sub(r" or (label_replace\(vector\(0\).*|vector\([01]\))$", "", target["expr"])
        if not any(metric in bare for metric in DID_NOT_HAPPEN) and "ALERTS" not in bare:
            assert watched.over(bare), f"no data: {filled(bare)}"


@pytest.mark.parametrize("name", READ)
def test_there_is_something_to_choose(watched: Watched, name: str):
    for variable in variables(READ[name]).values():
        if variable["type"] == "query":
            [(metric, label)] = re.findall(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert len(watched.prometheus.values(label, metric)) > 1


def test_each_kind_of_content_has_its_own_time(watched: Watched):
    """...and its own limit, so that the alert can compare them."""
    for record in ("p95_10m", "limit"):
        found = watched.prometheus.query(f"modality:gateway_time_to_first_token_seconds:{record}")
        values = {s["metric"]["modality"]: float(s["value"][1]) for s in found}
        assert {"text", "image", "audio", "video"} <= set(values)
        assert all(v > 0 for v in values.values())


def test_the_server_that_was_killed_shows(watched: Watched):
    up = {s["metric"]["backend"]: s["value"][1] for s in watched.prometheus.query("gateway_backend_up")}
    assert up["eyes"] == "0" and up["ears"] == up["gpu"] == "1"
    failed = watched.prometheus.query('sum(gateway_attempts_total{backend="eyes", outcome=~"upstream_.*"})')
    assert float(failed[0]["value"][1]) >= 1
    states = {s["metric"]["alertstate"] for s in watched.prometheus.query('ALERTS{alertname="GatewayServerDown"}')}
    assert states <= {"pending", "firing"} and states


def test_a_label_holds_nothing_of_a_client(watched: Watched):
    exposed = watched.gateway.get("/metrics").text
    assert "none-of-this-name" not in exposed and "Say something" not in exposed and "a.pdf" not in exposed
    assert httpx2.get(f"{watched.gateway.url}/readyz", trust_env=False).status_code == 200
