"""Upstreams that die, move, change or come back between requests."""

from __future__ import annotations

import datetime
import ssl
import time
from pathlib import Path

import pytest
import trustme

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import CHAT, Running, ask, config
from tests.faults.steps import Fin, Hang, Json, Reply
from tests.faults.table import HTML, Turns

QUICK = {"connect": 0.4}


@pytest.mark.parametrize("stream", [False, True])
async def test_U1_refused(stream, upstreams: Upstreams, gateway_for: GatewayFor):
    one, two = await upstreams(2)
    alone = await gateway_for(config(one))
    pair = await gateway_for(config(one, two, routes=[{"match": {}, "prefer": [{"backend": "one"}]}]))
    await one.stop()
    got = await alone.chat(stream=stream)
    assert (got.status, got.error["code"]) == (502, "upstream_connect_error")
    got = await pair.chat(stream=stream)
    assert (got.status, got.text) == (200, answers.TEXT)
    assert len(two.requests) == 1
    assert (await pair.settled()).sum("gateway_attempts_total") == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_U2_a_black_hole(stream, upstreams: Upstreams, gateway_for: GatewayFor):
    one, two = await upstreams(2)
    alone = await gateway_for(config(one, timeouts=QUICK))
    pair = await gateway_for(config(one, two, timeouts=QUICK, routes=[{"match": {}, "prefer": [{"backend": "one"}]}]))
    await one.blackhole()
    start = time.monotonic()
    got = await alone.chat(stream=stream)
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    got = await pair.chat(stream=stream)
    assert (got.status, got.text) == (200, answers.TEXT)
    assert time.monotonic() - start < 3.0


@pytest.mark.parametrize("stream", [False, True])
async def test_U7_what_breaks_two_servers_is_not_shown_to_a_third(
    stream, upstreams: Upstreams, gateway_for: GatewayFor
):
    wires = await upstreams(3)
    broken = Json(answers.error("cuda error"), 500)
    turns = Turns([[broken], [broken]])
    for wire in wires:
        wire.answer(turns)
    gateway = await gateway_for(config(*wires))
    got = await gateway.chat(stream=stream)
    assert (got.status, got.error["code"]) == (502, "upstream_error")
    assert sorted(len(w.requests) for w in wires) == [0, 1, 1]


async def test_a_dead_proxy_in_front_is_passed_by_as_often_as_there_are_targets(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    wires = await upstreams(3)
    turns = Turns([[Reply(HTML, 502, "text/html")], [Reply(HTML, 503, "text/html")]])
    for wire in wires:
        wire.answer(turns)
    gateway = await gateway_for(config(*wires))
    assert (await gateway.chat()).text == answers.TEXT
    assert [len(w.requests) for w in wires] == [1, 1, 1]


async def test_what_an_upstream_says_about_itself_is_not_passed_on(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    secret = f"failed at http://10.1.2.3:8000/v1 {wire.url} key sk-upstream-secret-123456 /home/me/model.gguf"
    gateway.secrets += ["10.1.2.3", "sk-upstream-secret-123456", "/home/me"]
    for status in (400, 401, 404, 422, 500, 503):
        wire.answer(Json(answers.error(secret), status))
        for stream in (False, True):
            assert (await gateway.chat(stream=stream)).status >= 400


@pytest.mark.parametrize("stream", [False, True])
async def test_U37_a_connection_that_went_stale_costs_nobody_anything(
    stream, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    assert (await gateway.chat(stream=stream)).status == 200
    await gateway.settled()  # the connection is free again
    wire.answer(Fin(), turn=1)
    got = await gateway.chat(stream=stream)
    assert (got.status, got.text) == (200, answers.TEXT)
    assert [r.turn for r in wire.requests] == [0, 1, 0]
    metrics = await gateway.settled()
    assert metrics.sum("gateway_attempts_total") == 2
    assert metrics.labels("gateway_attempts_total", "outcome") == {"ok": 2}


def certificate(authority: trustme.CA, fault: str = "") -> ssl.SSLContext:
    """What a server shows: a good certificate of this authority, or one with a fault."""
    now = datetime.datetime.now(datetime.UTC)
    if fault == "expired":
        day = datetime.timedelta(days=1)
        issued = authority.issue_cert("127.0.0.1", not_before=now - 2 * day, not_after=now - day)
    elif fault == "self-signed":
        issued = trustme.CA().issue_cert("127.0.0.1")
    else:
        issued = authority.issue_cert("another.example" if fault else "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The one that this machine trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["expired", "another host", "self-signed"])
async def test_U34_a_certificate_that_turned_bad(
    fault, stream, authority: trustme.CA, upstreams: Upstreams, gateway_for: GatewayFor
):
    one, two = await upstreams(2, tls=certificate(authority))
    alone = await gateway_for(config(one))
    pair = await gateway_for(config(one, two, routes=[{"match": {}, "prefer": [{"backend": "one"}]}]))
    assert (await alone.chat(stream=stream)).text == answers.TEXT
    await one.stop()
    one.forget()
    one.tls = certificate(authority, fault)
    await one.start()
    got = await alone.chat(stream=stream)
    assert (got.status, got.error["code"]) == (502, "upstream_tls_error")
    got = await pair.chat(stream=stream)
    assert (got.status, got.text, got.header("x-gateway-target")) == (200, answers.TEXT, f"two/{two.model}")
    for gateway in (alone, pair):
        metrics = await gateway.settled()
        assert metrics.labels("gateway_attempts_total", "outcome") == {"ok": 1, "upstream_tls_error": 1}
        start = time.monotonic()
        while "down" not in await states(gateway):
            assert time.monotonic() - start < 2.0, "nor do probes trust it"
    got = await alone.chat(stream=stream)
    assert (got.status, got.error["code"]) == (503, "no_healthy_backend")
    assert not one.requests and not one.probes, "nothing is ever said to whom can't be trusted"


async def test_U38_U39_a_server_that_was_killed_is_used_again_when_it_is_back(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, timeouts={"liveness": 0.1}))
    await wire.stop()
    start = time.monotonic()
    while (got := await gateway.chat()).error["code"] != "no_healthy_backend":
        assert time.monotonic() - start < 2.0, got
    before = time.monotonic()
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (503, "no_healthy_backend")  # U46
    assert time.monotonic() - before < 1.0
    await wire.start()
    start = time.monotonic()
    while (await gateway.chat()).status != 200:
        assert time.monotonic() - start < 2.0


async def test_U39_a_server_that_loads_is_not_asked(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(state="loading")
    gateway = await gateway_for(config(wire, timeouts={"liveness": 0.1}))
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (503, "no_healthy_backend")
    assert not wire.requests
    wire.state = "ready"
    start = time.monotonic()
    while (await gateway.chat()).status != 200:
        assert time.monotonic() - start < 2.0


async def test_U40_another_model_does_not_answer_for_the_old_one(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, timeouts={"liveness": 0.1}))
    assert (await gateway.chat()).status == 200
    await wire.stop()
    wire.model = "quite-another-model"
    start = time.monotonic()
    while "down" not in await states(gateway):
        assert time.monotonic() - start < 2.0
    await wire.start()
    while "mismatch" not in await states(gateway):
        assert time.monotonic() - start < 3.0
    seen = len(wire.requests)
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (503, "no_healthy_backend")
    assert len(wire.requests) == seen
    got = await gateway.post(CHAT, ask(model="quite-another-model"))
    assert got.status == 200


async def states(gateway: Running) -> set[str]:
    found = (await gateway.metrics()).labels("gateway_target_state", "state")
    return {state for state, count in found.items() if count}


async def test_U41_a_redirect_is_not_followed(upstreams: Upstreams, gateway_for: GatewayFor):
    one, elsewhere = await upstreams(2)
    for status in (301, 302, 307, 308):
        one.answer(Reply(b"", status, headers={"Location": elsewhere.url + CHAT}), nth=len(one.requests))
        gateway = await gateway_for(config(one))
        assert (await gateway.chat()).status == 502
    assert not elsewhere.requests and not elsewhere.probes


async def test_a_healthy_neighbour_does_not_notice(upstreams: Upstreams, gateway_for: GatewayFor):
    """I4, in small: while one target is hung, requests for the other model go on."""
    one, two = await upstreams(2)
    two.model = "other"
    gateway = await gateway_for(config(one, two, models={"gemma-4": {"targets": [{"backend": "one"}]}}))
    one.answer(Hang())
    async with gateway.client(ask()):
        await one.seen()
        for _ in range(5):
            start = time.monotonic()
            assert (await gateway.post(CHAT, ask(model="other"))).status == 200
            assert time.monotonic() - start < 2.0
