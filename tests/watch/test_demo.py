"""A quiet day: the embedded fleet answers one call of each kind now and then, as in the compose profile `cpu-demo`. No
panel is empty; what did not happen shows as 0."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import pytest
import yaml

from gateway.demo.calls import demo_calls
from tests.real.conftest import RealFleet, cache, fleet  # noqa: F401  # fixtures
from tests.sdks.serving import gateway, until
from tests.watch.prometheus import Prometheus, prometheus
from tests.watch.queries import filled
from tests.watch.test_dashboards import PANELS

pytestmark = pytest.mark.real

NOT_SAID = {"gateway_cache_used_ratio"}
"""What no llama.cpp tells; its panel shows the places as well."""


@pytest.fixture(scope="module")
def quiet(fleet: RealFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float, float]]:  # noqa: F811
    """(Prometheus, from when, until when)"""
    folder = tmp_path_factory.mktemp("quiet")
    settings: dict[str, Any] = yaml.safe_load(fleet.plan.config("127.0.0.1:0"))
    with gateway(settings, folder) as served, prometheus(served.url.removeprefix("http://"), folder) as found:
        until(lambda: found.query("gateway_build_info"), 20.0)
        begun = time.time()
        calls = demo_calls(fleet.plan)
        for number in range(1, 5):
            for call in calls:
                url = f"{served.url}/v1/chat/completions"
                answer = httpx2.post(url, json=dict(call.body), trust_env=False, timeout=60.0)
                assert call.problem(answer.status_code, answer.headers, "[fixture]" if call.says else "x") is None
            until(partial(found.query, f"sum(gateway_outcomes_total) >= {number * len(calls)}"), 20.0)
        yield found, begun, time.time()


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_no_panel_is_empty(quiet: tuple[Prometheus, float, float], name: str, panel: dict[str, Any]):
    found, begun, ended = quiet
    for target in panel["targets"]:
        if not any(metric in target["expr"] for metric in NOT_SAID):
            assert found.over(filled(target["expr"]), begun, ended), f"no data: {filled(target['expr'])}"


def test_it_looks_fine(quiet: tuple[Prometheus, float, float]):
    """The top row of Overview: no alert, all servers up, nothing failed, the configuration in force."""
    found, _, _ = quiet
    top = {p.values[1]["title"]: p.values[1] for p in PANELS if p.values[0] == "overview"}
    expected = {"Alerts": 0, "Servers up": 1, "Requests that did not fail, 10 min": 1, "Configuration": 1}
    for title, value in expected.items():
        [sample] = found.query(filled(top[title]["targets"][0]["expr"]))
        assert float(sample["value"][1]) == value, title
