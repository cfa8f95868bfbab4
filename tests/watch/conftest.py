"""What needs a Prometheus runs in `make test-watch`; the rest of this folder is pure and belongs to `make test`."""

from __future__ import annotations

import os

WATCHING = ["test_demo.py", "test_prometheus.py", "test_promtool.py"]
collect_ignore = [] if os.environ.get("GATEWAY_TEST_WATCH") else WATCHING
