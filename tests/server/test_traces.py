"""Traces of a real gateway, as a collector gets them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.observe import span as span_module
from gateway.observe import trace as trace_module
from gateway.observe.span import Span, begin
from gateway.observe.trace import Tracer
from gateway.settings import ConfigErrors, NeedsRestart, check_fixed, parse
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import CANARY, PROMPT, config, running
from tests.faults.steps import Json

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENT = f"00-{TRACE}-{PARENT}-01"
SECRET = "otel-secret-31a7"


class Collector:
    """What came, as it was sent, and decoded. `status` is its answer; `gate` holds it back."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.gate.wait(20)
                outer.paths.append(self.path)
                outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                outer.raw.append(body)
                with contextlib.suppress(OSError):
                    self.send_response(outer.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> list[Any]:
        return [s for scope in self.scopes for s in scope.spans]

    @property
    def scopes(self) -> list[Any]:
        return [s for resource in self.resources for s in resource.scope_spans]

    @property
    def resources(self) -> list[Any]:
        return [r for raw in self.raw for r in ExportTraceServiceRequest.FromString(raw).resource_spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.gate.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def told(attributes: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    out: dict[str, Any] = {}
    for pair in attributes:
        which = pair.value.WhichOneof("value")
        value = getattr(pair.value, which)
        out[pair.key] = [v.string_value for v in value.values] if which == "array_value" else value
    return out


async def test_a_request_is_a_span_under_its_clients_and_above_the_servers(upstreams: Upstreams, collector: Collector):
    [one] = await upstreams(1, kind="vllm")
    otel = {"endpoint": collector.url, "headers_env": "OTEL_KEY", "service_name": "edge"}
    env = {"OTEL_KEY": f"authorization=Bearer%20{SECRET},x-team=a"}
    before = time.time()
    async with running(config(one, otel=otel), wires=[one], env=env) as gateway:
        assert (await gateway.chat(headers={"traceparent": CLIENT}, top_k=3, user="someone")).status == 200
        assert (await gateway.chat(stream=True)).status == 200
        await gateway.check()
        assert SECRET not in gateway.log.getvalue()
    assert set(collector.paths) == {"/v1/traces"}
    assert collector.headers[0]["authorization"] == f"Bearer {SECRET}" and collector.headers[0]["x-team"] == "a"
    assert told(collector.resources[0].resource.attributes)["service.name"] == "edge"
    first, second = sorted(collector.spans, key=lambda s: s.start_time_unix_nano)
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
    assert (second.parent_span_id, second.trace_id.hex() != TRACE) == (b"", True)
    for span, request in zip((first, second), one.requests, strict=True):
        given = dict(request.headers)["traceparent"]
        assert given == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
        assert (span.name, span.kind, span.status.code) == ("chat gemma-4", span.SPAN_KIND_SERVER, 0)
        assert before - 1 < span.start_time_unix_nano / 1e9 <= span.end_time_unix_nano / 1e9 < time.time() + 1
        about = told(span.attributes)
        assert about["gen_ai.operation.name"] == "chat" and about["gen_ai.provider.name"] == "vllm"
        assert about["gen_ai.request.model"] == "gemma-4" and about["gen_ai.response.model"] == answers.MODEL
        assert about["gen_ai.usage.input_tokens"] > 0 and about["gen_ai.usage.output_tokens"] > 0
        assert about["gateway.attempts"] == [f"one/{answers.MODEL}: ok"]
        assert about["gateway.target"] == f"one/{answers.MODEL}" and about["gateway.parts"] == "0=text"
        assert about["http.response.status_code"] == 200 and "error.type" not in about
    assert told(first.attributes)["gateway.dropped"] == ["user"]
    assert 0 < told(second.attributes)["gateway.first_token_seconds"] < 60
    for word in (CANARY, PROMPT, SECRET, "127.0.0.1", one.url, "someone"):
        assert all(word.encode() not in raw for raw in collector.raw), word


async def test_what_failed_says_why_and_what_is_not_sampled_is_not_sent(upstreams: Upstreams, collector: Collector):
    [one] = await upstreams(1)
    one.answer(Json(answers.error("out of memory"), 500), nth=0)
    async with running(config(one, otel={"endpoint": collector.url, "sample": 0}), wires=[one]) as gateway:
        assert (await gateway.chat(headers={"traceparent": CLIENT})).status == 502
        assert (await gateway.chat("x", n=-1, headers={"traceparent": CLIENT})).status == 400
        assert (await gateway.chat()).status == 200
        assert (await gateway.chat(headers={"traceparent": CLIENT[:-1] + "0"})).status == 200
        await gateway.check()
    failed, refused = sorted(collector.spans, key=lambda s: s.start_time_unix_nano)
    assert (failed.status.code, refused.status.code) == (failed.status.STATUS_CODE_ERROR, 0)
    assert told(failed.attributes)["error.type"].startswith("upstream_") and told(refused.attributes)["error.type"]
    unsampled, followed = (dict(r.headers)["traceparent"] for r in one.requests[-2:])
    assert unsampled.endswith("-00") and followed.endswith("-00") and followed.split("-")[1] == TRACE


async def test_without_it_servers_get_no_such_header(upstreams: Upstreams, gateway_for: GatewayFor):
    [one] = await upstreams(1)
    gateway = await gateway_for(config(one))
    assert (await gateway.chat(headers={"traceparent": CLIENT})).status == 200
    assert "traceparent" not in dict(one.requests[0].headers)


@pytest.mark.parametrize("how", ["nobody listens", "it hangs", "401", "302"])
async def test_a_collector_that_is_down_delays_nothing(
    how: str, upstreams: Upstreams, collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    assert trace_module.FLUSH == 2.0
    monkeypatch.setattr(trace_module, "FLUSH", 0.3)
    [one] = await upstreams(1)
    url = collector.url
    if how == "nobody listens":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
    elif how == "it hangs":
        collector.gate.clear()
    else:
        collector.status = int(how)
    async with running(config(one, otel={"endpoint": url}), wires=[one]) as gateway:
        for _ in range(3):
            async with asyncio.timeout(2):
                assert (await gateway.chat()).status == 200
        await gateway.check()
        if how in ("401", "302"):
            async with asyncio.timeout(10):
                while not (await gateway.metrics()).sum("gateway_spans_total", result="dropped"):
                    await asyncio.sleep(0.05)
            [line] = [x for x in gateway.log_lines if x["event"] == "traces"]
            assert f"it answers {how}" in line["error"] and "127.0.0.1" not in line["error"]
        stopping = time.monotonic()
    assert time.monotonic() - stopping < trace_module.FLUSH + 1.5


def test_what_does_not_fit_is_counted_and_so_is_what_is_left(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trace_module, "MOST", 8)
    monkeypatch.setattr(trace_module, "BATCH", 4)
    monkeypatch.setattr(trace_module, "FLUSH", 0.1)
    collector.gate.clear()
    counted: list[tuple[str, int]] = []
    tracer = Tracer(collector.url, {}, "s", 1.0, lambda result, n: counted.append((result, n)))
    span = Span("chat", 1.0, 2.0, False, {"gateway.dropped": ("half \ud800",)})
    for _ in range(11):
        tracer.end(tracer.begin(None), span)
    assert counted == [("dropped", 1)] * 3
    tracer.close()
    assert counted[3:] == [("dropped", 8)]
    collector.gate.set()


def test_a_batch_with_text_that_is_none_arrives(collector: Collector):
    counted: list[tuple[str, int]] = []
    tracer = Tracer(collector.url, {}, "s", 1.0, lambda result, n: counted.append((result, n)))
    for attribute in ("half \ud800", "whole"):
        tracer.end(begin(None, 1.0), Span("chat", 1.0, 2.0, True, {"gateway.dropped": (attribute,), "a": 1}))
    tracer.close()
    assert counted == [("sent", 2)]
    assert {told(s.attributes)["gateway.dropped"][0] for s in collector.spans} == {"half ?", "whole"}


def test_the_settings(monkeypatch: pytest.MonkeyPatch):
    text = "otel: {endpoint: 'http://c:4318', headers_env: H, sample: 0.25}\n"
    settings = parse(text, {"H": f"api-key={SECRET}"})
    assert settings.otel is not None and settings.otel.sample == 0.25 and SECRET not in repr(settings)
    for env in ({}, {"H": SECRET}, {"H": "a b=c"}, {"H": "a=%0d"}):
        with pytest.raises(ConfigErrors) as caught:
            parse(text, env)
        assert [p.path for p in caught.value.problems] == ["otel.headers_env"] and SECRET not in str(caught.value)
    for wrong in ("sample: 1.5", "headers: a=b", "sample: yes"):
        with pytest.raises(ConfigErrors):
            parse(f"otel: {{endpoint: 'http://c:4318', {wrong}}}", {})
    with pytest.raises(NeedsRestart, match="otel"):
        check_fixed(settings, parse("", {}))
    monkeypatch.setattr(span_module, "find_spec", lambda _: None)
    with pytest.raises(ConfigErrors, match=r"pip install 'gemma-gateway\[otel\]'"):
        parse(text, {"H": "a=b"})
    assert parse("", {}).otel is None


def test_without_it_nothing_of_the_extra_is_imported():
    code = "import gateway.app, gateway.settings, sys; print(*[m for m in sys.modules if 'opentelemetry.sdk' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
