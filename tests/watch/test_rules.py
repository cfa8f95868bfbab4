"""Rules ask for what there is; every alert says what to do, has its section, and is tried both ways."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.watch.dashboards import ROOT
from tests.watch.promql import faults, read, rules

PAGE = ROOT / "docs" / "operations" / "alerts.md"
TRIED = ROOT / "tests" / "watch" / "rules_test.yaml"
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = [rule for rule in rules() if "record" in rule]


def test_what_is_recorded_asks_for_what_there_is():
    for rule in RECORDED:
        assert re.fullmatch(r"(gateway|modality|backend)(:\w+){2}", rule["record"])
        assert rule["expr"].startswith("vector(") or faults(rule["expr"]) == [], rule["record"]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(name: str):
    rule = ALERTS[name]
    assert faults(rule["expr"]) == []
    assert name.startswith("Gateway") and rule["labels"]["severity"] in ("critical", "warning", "info")
    said = rule["annotations"]
    assert set(said) == {"summary", "description", "runbook"}
    assert said["runbook"] == f"docs/operations/alerts.md#{name.lower()}"
    assert said["summary"].endswith(".") and said["description"].strip().endswith(".")


def test_every_alert_has_a_section_and_the_other_way_round():
    assert re.findall(r"^## (Gateway\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_tried_both_ways(name: str):
    """Once it fires, and once it does not although there is data."""
    fires, silent = False, False
    for case in read(TRIED)["tests"]:
        for one in case.get("alert_rule_test", []):
            if one["alertname"] == name:
                fires, silent = fires or bool(one["exp_alerts"]), silent or not one["exp_alerts"]
        for one in case.get("promql_expr_test", []):
            fires = fires or any(name in s["labels"] for s in one["exp_samples"]) or _counted(one, name)
            silent = silent or ("ALERTS" in one["expr"] and not one["exp_samples"] and name in one["expr"])
            silent = silent or (one["expr"].startswith('ALERTS{alertstate="firing"}') and not one["exp_samples"])
    assert fires and silent


def _counted(one: dict[str, Any], name: str) -> bool:
    return f'alertname="{name}"' in one["expr"] and bool(one["exp_samples"])


def test_words_of_dashboards_in_alerts_are_titles_of_panels():
    from tests.watch.test_dashboards import PANELS

    titles = [panel["title"] for _, panel in (p.values for p in PANELS)]
    words = {w for rule in ALERTS.values() for w in re.findall(r"`([A-Z][a-z ]+)`", rule["annotations"]["description"])}
    assert words and {w for w in words if not any(t.startswith(w) for t in titles)} == set()
