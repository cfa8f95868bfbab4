"""promtool, which comes with Prometheus: rules, their unit tests, and the names of metrics."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.observe.test_metrics import busy
from tests.watch.dashboards import ROOT
from tests.watch.prometheus import RULES, promtool
from tests.watch.promql import read

TESTS = ROOT / "tests" / "watch" / "rules_test.yaml"
SCRAPE = ROOT / "config" / "prometheus" / "prometheus.yml"


def test_the_rules_are_rules():
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_the_alerts_fire_when_they_should():
    assert "SUCCESS" in promtool("test", "rules", TESTS)


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (r"ratio_rate10m > 0\.05", "ratio_rate10m > 0.5"),
        (r"vector\(120\)", "vector(20)"),
        (r"gateway_ejections_total\[15m\]\) > 0", "gateway_ejections_total[15m]) > 9"),
    ],
)
def test_the_tests_of_the_alerts_see_a_mistake(tmp_path: Path, rule: str, broken: str):
    text, count = re.subn(rule, broken, RULES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count
    (tmp_path / "rules.yml").write_text(text)
    tests = TESTS.read_text(encoding="utf-8").replace("../../config/prometheus/rules.yml", "rules.yml")
    (tmp_path / "tests.yaml").write_text(tests)
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", tmp_path / "tests.yaml")


def test_all_metrics_are_named_as_prometheus_wants_it():
    """With something counted in each. The real gateway's are checked in test_prometheus.py."""
    assert promtool("check", "metrics", given=busy().render().decode()) == ""


def test_the_configuration_on_the_page_is_one(tmp_path: Path):
    page = (ROOT / "docs" / "operations" / "metrics.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(snippet)
    (tmp_path / "rules.yml").write_bytes(RULES.read_bytes())
    assert "22 rules found" in promtool("check", "config", tmp_path / "prometheus.yml")


@pytest.mark.skipif(not SCRAPE.exists(), reason="there is no config/prometheus/prometheus.yml yet")
def test_the_configuration_scrapes_a_job_of_the_name_that_the_rules_want():
    told = read(SCRAPE)
    assert [job["job_name"] for job in told["scrape_configs"]] == ["gateway"]
    assert any(fnmatch("rules.yml", pattern.rpartition("/")[2]) for pattern in told["rule_files"])
    assert "SUCCESS" in promtool("check", "config", SCRAPE)
