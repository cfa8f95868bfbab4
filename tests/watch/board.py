"""Grafana dashboards as JSON, from panels in a few lines each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA = 39
"""Of Grafana 11; a newer one reads it and migrates it."""
WIDTH = 24

Json = dict[str, Any]
Steps = tuple[tuple[float | None, str], ...]
"""(from which value on, colour); the first from None."""


@dataclass(frozen=True)
class Panel:
    """`queries`: (PromQL, legend). `do` = what it shows and what to do about it. `unit` in Grafana's words. `said`: a
    value -> the word that is shown for it."""

    title: str
    do: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    wide: int = 8
    high: int = 8
    steps: Steps = ((None, "green"),)
    least: float | None = 0
    most: float | None = None
    stacked: bool = False
    said: tuple[tuple[float, str, str], ...] = ()
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice that filters a dashboard: the values of a label."""

    name: str
    title: str
    values: str


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = field(default=())


BACKEND = Variable("backend", "Target", "label_values(gateway_backend_up, backend)")
MODEL = Variable("model", "Model", "label_values(gateway_requests_total, model)")


def render(d: Dashboard) -> Json:
    panels: list[Json] = []
    top = 0
    for row in d.rows:
        panels.append(_row(row, len(panels) + 1, top))
        top += 1
        left = high = 0
        for panel in row.panels:
            if left + panel.wide > WIDTH:
                top, left, high = top + high, 0, 0
            place = {"x": left, "y": top, "w": panel.wide, "h": panel.high}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, high = left + panel.wide, max(high, panel.high)
        top += high
    return {
        "uid": d.uid,
        "title": d.title,
        "description": d.about,
        "tags": ["gateway"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "graphTooltip": 1,
        "links": [
            {
                "title": "The gateway's dashboards",
                "type": "dashboards",
                "icon": "external link",
                "tooltip": "",
                "url": "",
                "targetBlank": False,
                "tags": ["gateway"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": []},
        "templating": {"list": [_source(), *(_variable(v) for v in d.variables)]},
        "panels": panels,
    }


def _source() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }


def _variable(v: Variable) -> Json:
    return {
        "name": v.name,
        "label": v.title,
        "type": "query",
        "datasource": SOURCE,
        "definition": v.values,
        "query": {"query": v.values, "refId": v.name},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _row(row: Row, number: int, top: int) -> Json:
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
        "panels": [],
    }


def _panel(p: Panel, number: int, place: Json) -> Json:
    defaults: Json = {
        "unit": p.unit,
        "color": {"mode": "palette-classic" if p.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in p.steps]},
        "mappings": [_said(p)] if p.said else [],
    }
    for name, value in (("min", p.least), ("max", p.most), ("decimals", p.decimals)):
        if value is not None:
            defaults[name] = value
    if p.kind in _CUSTOM:
        defaults["custom"] = _CUSTOM[p.kind] | _stacked(p)
    return {
        "id": number,
        "type": p.kind,
        "title": p.title,
        "description": p.do,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _OPTIONS[p.kind],
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "range": p.kind != "bargauge",
                "instant": p.kind == "bargauge",
            }
            for i, (expr, legend) in enumerate(p.queries)
        ],
    }


def _said(p: Panel) -> Json:
    options = {
        f"{value:g}": {"text": text, "color": color, "index": i} for i, (value, text, color) in enumerate(p.said)
    }
    return {"type": "value", "options": options}


def _stacked(p: Panel) -> Json:
    if p.kind != "timeseries":
        return {}
    mode = "normal" if p.stacked else "none"
    return {"stacking": {"mode": mode, "group": "A"}, "fillOpacity": 25 if p.stacked else 8}


_CUSTOM: dict[str, Json] = {
    "timeseries": {"drawStyle": "line", "lineWidth": 1, "showPoints": "never", "spanNulls": False},
    "state-timeline": {"lineWidth": 0, "fillOpacity": 80},
}
_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _LAST,
        "colorMode": "background",
        "graphMode": "area",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": "auto",
    },
    "bargauge": {
        "reduceOptions": _LAST,
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
    },
    "state-timeline": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
        "mergeValues": True,
        "showValue": "auto",
        "rowHeight": 0.8,
    },
}
