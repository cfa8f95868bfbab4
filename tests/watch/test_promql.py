"""What reads the queries sees a name or a label that is not there."""

from __future__ import annotations

import pytest

from tests.watch.promql import faults


@pytest.mark.parametrize(
    "expr",
    [
        "gateway_queued",
        'sum by (backend) (rate(gateway_attempts_total{backend=~"$backend", outcome!~"ok|cancelled"}[5m]))',
        "histogram_quantile(0.95, sum by (modality, le) (rate(gateway_time_to_first_token_seconds_bucket{}[10m])))",
        'sum by (code) (rate(gateway_requests_total[1m])) or label_replace(vector(0), "code", "none", "", "")',
        "modality:failed:ratio_rate10m > on (modality) modality:failed:ratio_rate10m",
        'up{job="gateway"} == 0',
    ],
)
def test_what_is_there(expr: str):
    assert faults(expr) == []


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("gateway_queue", "nobody exposes gateway_queue"),
        ("rate(gateway_attempts[5m])", "nobody exposes gateway_attempts"),
        ("rate(gateway_queue_seconds[5m])", "nobody exposes gateway_queue_seconds"),
        ("modality:none:ratio", "nobody exposes modality:none:ratio"),
        ('gateway_queued{model="x"}', "gateway_queued has no label model"),
        ('gateway_queued{backend="x", target=~".*"}', "gateway_queued has no label target"),
        ("sum by (model) (gateway_queued)", "nothing in it has the label model"),
        ('backend:places_taken:ratio{model="x"}', "backend:places_taken:ratio has no label model"),
        ("vector(1)", "it asks for nothing"),
    ],
)
def test_what_is_not(expr: str, fault: str):
    assert faults(expr) == [fault]
