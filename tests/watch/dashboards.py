"""The three dashboards in config/grafana/dashboards. `python -m tests.watch.dashboards` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

from tests.watch.board import Dashboard, render
from tests.watch.modalities import MEDIA
from tests.watch.overview import OVERVIEW
from tests.watch.per_target import TARGETS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config" / "grafana" / "dashboards"

DASHBOARDS = {"overview": OVERVIEW, "targets": TARGETS, "media": MEDIA}


def text(dashboard: Dashboard) -> str:
    return json.dumps(render(dashboard), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(text(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
