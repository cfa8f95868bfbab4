"""The dashboards are files that Grafana takes, and ask for what the gateway exposes."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from tests.watch.board import WIDTH
from tests.watch.dashboards import DASHBOARDS, FOLDER, text
from tests.watch.promql import faults
from tests.watch.schema import DASHBOARD

Json = dict[str, Any]
FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.json"))}
READ: dict[str, Json] = {name: json.loads(content) for name, content in FILES.items()}
PANELS = [
    pytest.param(name, panel, id=f"{name}: {panel['title']}")
    for name, dashboard in READ.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


def variables(dashboard: Json) -> dict[str, Json]:
    return {v["name"]: v for v in dashboard["templating"]["list"]}


def test_the_files_are_what_is_written_here():
    assert {name: text(d) for name, d in DASHBOARDS.items()} == FILES, "write them: python -m tests.watch.dashboards"


@pytest.mark.parametrize("name", READ)
def test_grafana_takes_it(name: str):
    validator = jsonschema_rs.validator_for(DASHBOARD)
    assert [f"{list(e.instance_path)}: {e.message[:300]}" for e in validator.iter_errors(READ[name])] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("panels", 1, "gridPos", "w"), None),
        (("panels", 1, "fieldConfig", "defaults", "unit"), "seconds"),
        (("panels", 1, "targets"), []),
        (("panels", 1, "type"), "graph"),
        (("templating", "list", 0, "type"), "datasources"),
        (("shemaVersion",), 39),
    ],
)
def test_the_schema_sees_a_mistake(path: tuple[Any, ...], value: Any):
    broken = json.loads(FILES["overview"])
    *way, last = path
    place = broken
    for step in way:
        place = place[step]
    place[last] = value
    assert not jsonschema_rs.validator_for(DASHBOARD).is_valid(broken)


@pytest.mark.parametrize("name", READ)
def test_panels_stand_beside_each_other(name: str):
    seen: set[tuple[int, int]] = set()
    for panel in READ[name]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & seen, f"{panel['title']} lies over another panel"
        seen |= cells
    ids = [panel["id"] for panel in READ[name]["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", READ)
def test_the_first_row_answers_whether_it_is_fine(name: str):
    first, *rest = READ[name]["panels"]
    assert (first["type"], first["title"]) == ("row", "Is it fine?")
    tiles = [p for p in rest if p["gridPos"]["y"] == 1]
    assert len(tiles) == 6 and all(p["type"] == "stat" for p in tiles)
    assert sum(p["gridPos"]["w"] for p in tiles) == WIDTH


@pytest.mark.parametrize("name", READ)
def test_targets_and_models_can_be_chosen(name: str):
    found = variables(READ[name])
    assert {"datasource", "backend", "model"} <= set(found)
    body = json.dumps(READ[name]["panels"])
    for variable in found:
        assert f"${variable}" in body or f"${{{variable}}}" in body, f"{variable} changes nothing"
    assert set(re.findall(r"\$\{?([a-z]+)\b", body)) <= set(found), "a variable that is not there"
    for variable in found.values():
        if variable["type"] == "query":
            [(metric, label)] = re.findall(r"^label_values\((\w+), (\w+)\)$", variable["definition"])
            assert faults(f'{metric}{{{label}="x"}}') == []


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_panel_says_what_it_shows_and_asks_for_what_there_is(name: str, panel: Json):
    assert panel["description"].endswith(".")
    first, *others = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert first is None and others == sorted(others)
    for target in panel["targets"]:
        assert faults(target["expr"]) == [], target["expr"]
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= _labels(target["expr"])
    if len(panel["targets"]) > 1:
        legends = [t["legendFormat"] for t in panel["targets"]]
        assert len(set(legends)) == len(legends)


def _labels(expr: str) -> set[str]:
    """The labels that are left over in its result, or may be."""
    by = [set(map(str.strip, g.split(","))) for g in re.findall(r"by \(([^)]*)\)", expr)]
    return set().union(*by) if by else {"instance", "backend", "modality"}


def test_titles_are_words_and_uids_are_few():
    assert len({d["uid"] for d in READ.values()}) == len({d["title"] for d in READ.values()}) == len(READ) == 3
    for _, panel in (p.values for p in PANELS):
        assert not re.search(r"gateway_|_total|rate\(", panel["title"])
