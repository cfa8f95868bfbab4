"""What the dashboards have in common: how things are asked of Prometheus, and the panels that all of them have."""

from __future__ import annotations

import re

from tests.watch.board import Panel

B = 'backend=~"$backend"'
M = 'model=~"$model"'
K = 'modality=~"$modality"'
FIRST = "gateway_time_to_first_token_seconds"
UP = ((1.0, "up", "green"), (0.0, "down", "red"))
GOOD = ((None, "red"), (0.95, "orange"), (0.99, "green"))
NONE_IS_GOOD = ((None, "green"), (1.0, "orange"))
SHARE = ((None, "green"), (0.8, "orange"), (1.0, "red"))
TOKENS = "suffix: tokens/s"


def rate(metric: str, where: str, by: str, window: str = "$__rate_interval") -> str:
    """How often a second, by some labels."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[{window}]))"


def total(metric: str, where: str, window: str) -> str:
    """How often within the window. Of what never happened there is no series: that is 0."""
    return f"sum(increase({metric}{{{where}}}[{window}])) or vector(0)"


def quiet(query: str, label: str) -> str:
    """What is counted only when it happens: until then a line at 0."""
    return f'{query} or label_replace(vector(0), "{label}", "none", "", "")'


def within(metric: str, where: str, by: str = "", window: str = "$__rate_interval", share: float = 0.95) -> str:
    """Seconds within which that share of all were done."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{where}}}[{window}])))"


def stat(title: str, do: str, query: str, unit: str, steps: object, **more: object) -> Panel:
    return Panel(title, do, ((query, ""),), unit, "stat", 4, 4, steps, **more)  # type: ignore[arg-type]


def servers(where: str) -> Panel:
    return Panel(
        "Servers, up or down",
        "Red: the server does not answer, loads its model, or was never reached. `gateway doctor` says what is wrong"
        " with it; its own log says why.",
        ((f"gateway_backend_up{where}", "{{backend}}"),),
        "none",
        "state-timeline",
        steps=((None, "red"), (1, "green")),
        said=UP,
        most=1,
    )


def filled(expr: str) -> str:
    """A query as Grafana sends it when everything is chosen, for a Prometheus that scrapes every second."""
    return re.sub(r"\$[a-z]+\b", ".*", expr.replace("$__rate_interval", "10s"))
