"""What Grafana 11 and 12 need of a dashboard that is provisioned from a file, as a JSON schema: the fields that this
project uses, no others, so that a name that is written wrongly does not pass.

Written after Grafana's own schema of dashboards (kinds/dashboard/dashboard_kind.cue) and its documentation of the JSON
model: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
Grafana's own SDK for Python (grafana-foundation-sdk 10.1) was asked once: its models keep every field of these
dashboards but `definition`, which Grafana's own exports have, and it knows all of these units.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string", "minLength": 1}
FLAG: Json = {"type": "boolean"}
NUMBER: Json = {"type": "number"}
UNITS = ["none", "short", "s", "bytes", "percentunit", "reqps", "cps"]
"""Of Grafana's, those that are used here; beside them `suffix: ` and words of one's own."""


def thing(required: Json, optional: Json | None = None) -> Json:
    """An object with these fields and no others."""
    fields = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": fields, "additionalProperties": False}


def items(of: Json, **more: Any) -> Json:
    return {"type": "array", "items": of, **more}


def one_of(*values: Any) -> Json:
    return {"enum": list(values)}


SOURCE = thing({"type": one_of("prometheus"), "uid": one_of("${datasource}")})
GRID = thing({name: {"type": "integer", "minimum": 0, "maximum": 1000} for name in "xywh"})
STEP = thing({"value": {"type": ["number", "null"]}, "color": TEXT})
MAPPING = thing(
    {
        "type": one_of("value"),
        "options": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": thing({"text": TEXT, "color": TEXT, "index": {"type": "integer"}}),
        },
    }
)
DEFAULTS = thing(
    {
        "unit": {"anyOf": [one_of(*UNITS), {"type": "string", "pattern": "^suffix: "}]},
        "color": thing({"mode": one_of("thresholds", "palette-classic")}),
        "thresholds": thing({"mode": one_of("absolute"), "steps": items(STEP, minItems=1)}),
        "mappings": items(MAPPING),
    },
    {
        "min": NUMBER,
        "max": NUMBER,
        "decimals": {"type": "integer", "minimum": 0},
        "custom": thing(
            {"lineWidth": NUMBER, "fillOpacity": NUMBER},
            {
                "drawStyle": one_of("line"),
                "showPoints": one_of("never"),
                "spanNulls": FLAG,
                "stacking": thing({"mode": one_of("none", "normal"), "group": TEXT}),
            },
        ),
    },
)
REDUCE = thing({"calcs": items(TEXT, minItems=1), "fields": {"type": "string"}, "values": FLAG})
LEGEND = thing(
    {"displayMode": one_of("table", "list"), "placement": one_of("bottom"), "showLegend": FLAG},
    {"calcs": items(one_of("lastNotNull", "max"))},
)
TOOLTIP = thing({"mode": one_of("single", "multi"), "sort": one_of("none", "desc")})
OPTIONS: dict[str, Json] = {
    "timeseries": thing({"legend": LEGEND, "tooltip": TOOLTIP}),
    "stat": thing(
        {
            "reduceOptions": REDUCE,
            "colorMode": one_of("background"),
            "graphMode": one_of("area"),
            "justifyMode": one_of("center"),
            "orientation": one_of("auto"),
            "textMode": one_of("auto"),
        }
    ),
    "bargauge": thing(
        {
            "reduceOptions": REDUCE,
            "displayMode": one_of("basic"),
            "orientation": one_of("horizontal"),
            "showUnfilled": FLAG,
        }
    ),
    "state-timeline": thing(
        {
            "legend": LEGEND,
            "tooltip": TOOLTIP,
            "mergeValues": FLAG,
            "showValue": one_of("auto"),
            "rowHeight": NUMBER,
        }
    ),
}
TARGET = thing(
    {
        "refId": {"type": "string", "pattern": "^[A-Z]$"},
        "datasource": SOURCE,
        "expr": TEXT,
        "legendFormat": {"type": "string"},
        "range": FLAG,
        "instant": FLAG,
    }
)


def _panel(kind: str) -> Json:
    return thing(
        {
            "id": {"type": "integer", "minimum": 1},
            "type": one_of(kind),
            "title": TEXT,
            "description": {"type": "string", "minLength": 20},
            "datasource": SOURCE,
            "gridPos": GRID,
            "fieldConfig": thing({"defaults": DEFAULTS, "overrides": items({}, maxItems=0)}),
            "options": OPTIONS[kind],
            "targets": items(TARGET, minItems=1),
        }
    )


ROW = thing(
    {
        "id": {"type": "integer", "minimum": 1},
        "type": one_of("row"),
        "title": TEXT,
        "collapsed": one_of(False),
        "gridPos": GRID,
        "panels": items({}, maxItems=0),
    }
)
_VARIABLE: Json = {
    "name": {"type": "string", "pattern": "^[a-z]+$"},
    "label": TEXT,
    "hide": one_of(0),
    "multi": FLAG,
    "includeAll": FLAG,
}
VARIABLE = {
    "oneOf": [
        thing({**_VARIABLE, "type": one_of("datasource"), "query": one_of("prometheus"), "refresh": one_of(1)}),
        thing(
            {
                **_VARIABLE,
                "type": one_of("query"),
                "datasource": SOURCE,
                "definition": TEXT,
                "query": thing({"query": TEXT, "refId": TEXT}),
                "refresh": one_of(2),
                "sort": {"type": "integer", "minimum": 0},
                "allValue": TEXT,
                "current": thing({"text": items(TEXT), "value": items(TEXT)}),
            }
        ),
    ]
}
LINK = thing(
    {
        "title": TEXT,
        "type": one_of("dashboards"),
        "icon": TEXT,
        "tooltip": {"type": "string"},
        "url": {"type": "string"},
        "targetBlank": FLAG,
        "tags": items(TEXT, minItems=1),
        "asDropdown": FLAG,
        "includeVars": FLAG,
        "keepTime": FLAG,
    }
)
DASHBOARD: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **thing(
        {
            "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
            "title": TEXT,
            "description": TEXT,
            "tags": items(TEXT, minItems=1),
            "schemaVersion": {"type": "integer", "minimum": 39},
            "version": {"type": "integer"},
            "editable": FLAG,
            "timezone": one_of("browser"),
            "time": thing({"from": TEXT, "to": TEXT}),
            "refresh": TEXT,
            "graphTooltip": one_of(0, 1, 2),
            "links": items(LINK),
            "annotations": thing({"list": items({}, maxItems=0)}),
            "templating": thing({"list": items(VARIABLE, minItems=1)}),
            "panels": items({"oneOf": [ROW, *(_panel(kind) for kind in OPTIONS)]}, minItems=1),
        }
    ),
}
