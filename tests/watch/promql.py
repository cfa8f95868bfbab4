"""What a PromQL expression is about: names of metrics, and the labels that it asks them for. No full parser: enough for
the queries of this project."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gateway.observe import Metrics
from tests.watch.dashboards import ROOT

RULES = ROOT / "config" / "prometheus" / "rules.yml"
SCRAPE = {"instance", "job"}
"""What Prometheus itself puts on everything."""
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
_LIST = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MADE = re.compile(r'label_replace\(vector\(0\), "(\w+)"')
_STRING = re.compile(r'"[^"]*"')


@dataclass
class Asked:
    """metric -> labels that its selectors name; `by` = labels of by(), on() and the like."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    by: set[str] = field(default_factory=set)


def asked(expr: str) -> Asked:
    out = Asked()
    for labels in _LIST.findall(expr):
        out.by |= {name.strip() for name in labels.split(",") if name.strip()}
    bare = _LIST.sub(" ", expr)
    for name, selector in _SELECTOR.findall(_STRING.sub('""', bare)):
        if name.startswith("gateway_") or ":" in name or name in ("ALERTS", "up"):
            out.metrics.setdefault(name, set()).update(_MATCHER.findall(selector))
    return out


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@cache
def known() -> dict[str, set[str]]:
    """Every name that a query may use, with the labels that it has."""
    out = {"up": set(SCRAPE), "ALERTS": SCRAPE | {"alertname", "alertstate", "severity"}}
    for entry in Metrics().catalogue:
        labels = {*entry.labels, *SCRAPE}
        if entry.kind == "histogram":
            for end in ("_bucket", "_count", "_sum"):
                out[entry.name + end] = labels | ({"le"} if end == "_bucket" else set())
        else:
            out[entry.name] = labels
    for rule in rules():
        if "record" in rule:
            level = rule["record"].partition(":")[0]
            out[rule["record"]] = {level} - {"gateway"}
    return out


def faults(expr: str) -> list[str]:
    """What is wrong in it: names that nobody exposes, labels that their metric does not have."""
    names, found = known(), asked(expr)
    out = [f"nobody exposes {name}" for name in found.metrics if name not in names]
    if not found.metrics:
        out.append("it asks for nothing")
    there = {label for name in found.metrics for label in names.get(name, ())}
    out += [f"nothing in it has the label {label}" for label in sorted(found.by - there - set(_MADE.findall(expr)))]
    for name, labels in found.metrics.items():
        out += [f"{name} has no label {label}" for label in sorted(labels - names.get(name, labels))]
    return out


@cache
def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
