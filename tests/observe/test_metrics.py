"""What is counted has the labels that the catalogue says, no others, and is there before it happens."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import errors
from gateway.canonical.events import Usage
from gateway.canonical.facts import Target
from gateway.engine.record import Record, Recorder
from gateway.observe import Log, Metrics
from gateway.observe.catalogue import MODALITIES, OUTCOMES, USUAL, outcome_of


def samples(metrics: Metrics) -> dict[str, float]:
    out = {}
    for line in metrics.render().decode().splitlines():
        if not line.startswith("#") and "_bucket" not in line:
            name, _, value = line.rpartition(" ")
            out[name] = float(value)
    return out


def finished(recorder: Recorder, **fields: Any) -> None:
    recorder.finish(Record("id", "openai", "chat", 10.0, **fields), 12.0, 0.0)


def test_what_counts_of_a_request():
    metrics = Metrics()
    recorder = Recorder(metrics, Log(io.StringIO()))
    for _ in range(2):
        finished(
            recorder,
            model="m",
            target=Target("one", "vllm", "x"),
            received=10.1,
            queued=0.2,
            sent=10.4,
            first=11.0,
            last=12.0,
            deltas=3,
            usage=Usage(7, 5, 2, None),
            modality="audio",
            parts=["text", "audio>wav16k", "text", "made-up"],
        )
    got = samples(metrics)
    ends = 'model="m",operation="chat"'
    assert got[f'gateway_requests_total{{code="ok",dialect="openai",{ends},status="200"}}'] == 2
    assert got[f"gateway_request_seconds_sum{{{ends}}}"] == 4.0
    assert got['gateway_overhead_seconds_sum{operation="chat"}'] == pytest.approx(0.2)
    where = 'backend="one",model="m"'
    assert got['gateway_time_to_first_token_seconds_sum{backend="one",modality="audio",model="m"}'] == 2.0
    assert got['gateway_outcomes_total{modality="audio",outcome="ok"}'] == 2
    assert got[f"gateway_time_between_tokens_seconds_sum{{{where}}}"] == 1.0
    kinds = {"input": 14, "output": 10, "cached": 4}
    for kind, count in kinds.items():
        assert got[f'gateway_tokens_total{{backend="one",kind="{kind}",model="m"}}'] == count
    assert not [name for name in got if 'kind="reasoning"' in name]
    parts = {("text", "delivered"): 4, ("audio", "transformed"): 2, ("other", "delivered"): 2}
    for (modality, fate), count in parts.items():
        assert got[f'gateway_parts_total{{fate="{fate}",modality="{modality}"}}'] == count


def test_a_request_that_reached_no_server_makes_no_series_of_one():
    metrics = Metrics()
    finished(Recorder(metrics, Log(io.StringIO())), model="m", status=503, code="no_healthy_backend")
    finished(Recorder(metrics, Log(io.StringIO())), model="m")
    got = samples(metrics)
    ends = 'dialect="openai",model="m",operation="chat"'
    assert got[f'gateway_requests_total{{code="no_healthy_backend",{ends},status="503"}}'] == 1
    assert got[f'gateway_requests_total{{code="ok",{ends},status="200"}}'] == 1
    assert not [name for name in got if "backend=" in name]
    assert got['gateway_outcomes_total{modality="text",outcome="failed"}'] == 1


def test_the_gauge_of_bodies_reads_what_is_held():
    metrics, held = Metrics(), [0]
    metrics.bodies(lambda: held[0])
    held[0] = 77
    assert samples(metrics)["gateway_body_bytes"] == 77


def test_what_alerts_look_at_is_0_before_it_happens():
    """Of a counter that appears as 1, Prometheus never sees the first increase."""
    metrics = Metrics()
    metrics.configured("d", ["one"])
    got = samples(metrics)
    for name in ("gateway_orphaned_seconds_total", "gateway_ejections_total"):
        assert got[f'{name}{{backend="one"}}'] == 0
    for outcome in USUAL:
        assert got[f'gateway_attempts_total{{backend="one",outcome="{outcome}"}}'] == 0
    assert got['gateway_queue_seconds_count{backend="one"}'] == 0
    assert got['gateway_media_conversion_seconds_count{made="sound"}'] == 0
    for modality in MODALITIES:
        for outcome in OUTCOMES:
            assert got[f'gateway_outcomes_total{{modality="{modality}",outcome="{outcome}"}}'] == 0
    assert got["gateway_bugs_total"] == got["gateway_privacy_refusals_total"] == 0
    assert got['gateway_config_reloads_total{result="rejected"}'] == 0


def test_the_usual_outcomes_are_those_of_errors():
    codes = {c.code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.GatewayError)}
    assert set(USUAL) - codes == {"ok", "cancelled"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (400, "refused"), (404, "refused"), (429, "refused"), (499, "left"), (500, "failed"),
     (501, "refused"), (502, "failed"), (503, "failed"), (504, "failed")],
)  # fmt: skip
def test_outcomes(status: int, outcome: str):
    assert outcome_of(status) == outcome


def test_a_medium_that_nobody_would_wait_for_is_a_failure():
    metrics = Metrics()
    metrics.converted("sound", 200, 0.5)
    metrics.converted("sound", 415, 0.5)
    metrics.fetched(499, 0.25)
    got = samples(metrics)
    assert got['gateway_media_conversions_total{made="sound",result="ok"}'] == 1
    assert got['gateway_media_conversions_total{made="sound",result="refused"}'] == 1
    assert got['gateway_media_conversion_seconds_sum{made="sound"}'] == 1.0
    assert got['gateway_media_fetches_total{result="failed"}'] == 1


# ---- the catalogue ----


@dataclass
class Row:
    """A target and a server as the gauges see them."""

    backend: str = "one"
    up: bool = True
    state: str = "ready"
    in_flight: int = 1
    limit: int = 4
    queued: int = 2
    ejected: bool = True
    others: int = 3
    cache: float | None = 0.5


def busy() -> Metrics:
    """Metrics with something counted in every one of them."""
    metrics = Metrics(lambda: [Row()], lambda: [Row()])
    recorder = Recorder(metrics, Log(io.StringIO()))
    about: dict[str, Any] = {"received": 10.1, "sent": 10.4, "first": 11.0, "last": 12.0, "deltas": 3}
    finished(recorder, target=Target("one", "vllm", "x"), usage=Usage(1, 1, 1, 1), parts=["text"],
             repaired=["markup"], runaway=["repeats"], **about)  # fmt: skip
    metrics.configured("d", ["one"])
    metrics.queue("one", 1.0)
    metrics.drift("one", "image")
    metrics.converted("sound", 200, 1.0)
    metrics.fetched(200, 1.0)
    return metrics


def test_the_catalogue_is_what_is_exposed():
    metrics = busy()
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {tuple(sorted(set(s.labels) - {"le"})) for s in family.samples}
        assert len(labels) == 1, f"{name} has no samples, or several sets of labels"
        found[name] = family.type, *labels, family.documentation
    listed = {e.name: (e.kind, tuple(sorted(e.labels)), e.about) for e in metrics.catalogue}
    process = {name for name in listed if name.startswith("gateway_process_")}  # where the system tells it
    assert {n: v for n, v in found.items() if n not in process} == {n: v for n, v in listed.items() if n not in process}
    assert {n: v[:2] for n, v in found.items() if n in process}.items() <= {n: v[:2] for n, v in listed.items()}.items()
    assert len(listed) == len(metrics.catalogue), "a name is there twice"


def test_names_follow_the_conventions():
    """Those that can be checked without a Prometheus; `make test-watch` asks promtool."""
    for entry in Metrics().catalogue:
        assert entry.name.startswith("gateway_")
        assert entry.name.endswith("_total") == (entry.kind == "counter")
        assert entry.about.endswith(".")
        if entry.kind == "histogram":
            assert entry.name.endswith("_seconds")


def test_a_server_without_a_target_is_seen():
    got = samples(Metrics(list, lambda: [Row(up=False)]))
    assert got['gateway_backend_up{backend="one"}'] == 0
    assert got['gateway_target_state{backend="one",state="ready"}'] == 0
    assert not [name for name in got if name.startswith("gateway_cache_used_ratio")]


def test_targets_of_a_server_are_added_up():
    rows = [Row(), Row(state="down", others=1, cache=None), Row("two")]
    got = samples(Metrics(lambda: rows, lambda: [Row()]))
    expected = {"in_flight": 2, "in_flight_limit": 8, "queued": 4, "ejected": 2, "others": 3, "cache_used_ratio": 0.5}
    for name, value in expected.items():
        assert got[f'gateway_{name}{{backend="one"}}'] == value
    assert got['gateway_target_state{backend="one",state="down"}'] == 1
