"""The life of a serving process, where only a part that fails shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
import yaml

from gateway.app import Gateway, serve
from gateway.engine.fleet import Fleet
from gateway.keys.store import Store, Wanted
from gateway.server.listener import HttpServer
from gateway.server.reload import follow, states
from gateway.settings import NeedsRestart, NotBuilt, Settings, load, parse
from tests.conftest import Upstreams
from tests.faults import answers
from tests.faults.running import CHAT, FAST, ask, config
from tests.faults.steps import Gate, Json

TEXT = "listen: 127.0.0.1:0\n"


@pytest.mark.parametrize("where", ["startup", "main_loop"])
async def test_a_server_that_breaks_is_no_success(where: str, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """The exit code is not 0, and nobody is told that it listens when it does not."""
    said: list[str] = []

    async def broken(*_: Any, **__: Any) -> None:
        async with asyncio.timeout(5):
            while where == "main_loop" and not said:
                await asyncio.sleep(0)
        raise RuntimeError("no more file descriptors")

    monkeypatch.setattr(HttpServer, where, broken)
    assert await serve(parse(TEXT, {}), ready=said.append) == 1
    assert bool(said) == (where == "main_loop")
    assert "the http server ended" in capsys.readouterr().err


async def test_a_reload_that_is_refused_changes_nothing():
    gateway = Gateway(parse(TEXT + "backends: {a: {kind: vllm, url: 'http://127.0.0.1:9'}}", {}))
    await gateway.start()
    before = gateway.settings, gateway.keys, gateway.fleet.servers["a"]
    for text in (TEXT + "otel: {endpoint: 'http://c:1'}", "listen: 127.0.0.1:1"):
        with pytest.raises((NotBuilt, NeedsRestart)):
            gateway.reload(parse(text, {}))
    assert before == (gateway.settings, gateway.keys, gateway.fleet.servers["a"])
    await gateway.stop()


async def test_a_bug_in_a_reload_is_not_the_end_of_reloads(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    file = tmp_path / "gateway.yaml"
    file.write_text(TEXT)
    gateway = Gateway(parse(TEXT, {}))
    await gateway.start()
    now, applied = asyncio.Event(), asyncio.Event()
    calls = []
    apply = Fleet.apply

    def twice(self: Fleet, settings: Settings) -> None:
        calls.append(settings)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        apply(self, settings)
        applied.set()

    monkeypatch.setattr(Fleet, "apply", twice)
    task = asyncio.create_task(follow(file, {}, now, gateway.reload, gateway.rejected))
    now.set()
    async with asyncio.timeout(5):
        while not calls:
            await asyncio.sleep(0)
        now.set()
        await applied.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gateway.stop()
    assert "an internal error (RuntimeError)" in capsys.readouterr().err


@pytest.mark.parametrize("when", ["after it was read", "before it was watched"])
async def test_a_key_that_is_revoked_meanwhile_is_not_forgotten(when: str, tmp_path: Path):
    """While a configuration is taken over, or while it starts and looks at its servers, the keys file changes again."""
    store = Store(tmp_path / "keys.yaml")
    store.create(Wanted("anna"), 1.0)
    store.create(Wanted("otto"), 1.0)
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({"auth": {"keys_file": "keys.yaml"}}))
    settings = load(file, {})
    known: list[list[str]] = []
    done, now = asyncio.Event(), asyncio.Event()

    def apply(new: Settings) -> None:
        known.append([k.name for k in new.auth.keys if k.revoked is None])
        if when == "after it was read" and len(known) == 1:
            store.revoke("anna", 2.0)
        if known[-1] == ["otto"]:
            done.set()

    if when == "before it was watched":
        store.revoke("anna", 2.0)
    else:
        now.set()
    files = [store.path, tmp_path / "keys.yaml.secret"]
    task = asyncio.create_task(follow(file, {}, now, apply, known.append, lambda: files, settings))
    async with asyncio.timeout(5):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert known == ([["anna", "otto"], ["otto"]] if when == "after it was read" else [["otto"]])


async def test_a_certificate_that_is_renewed_before_it_is_watched_is_not_forgotten(tmp_path: Path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({"tls": {"cert": "cert.pem", "key": "key.pem"}, "auth": "none"}))

    def issue() -> None:
        made = trustme.CA().issue_cert("localhost")
        made.private_key_pem.write_to_path(str(key))
        cert.write_bytes(made.cert_chain_pems[0].bytes())

    issue()
    settings = load(file, {})
    gateway = Gateway(settings)
    assert list(gateway.read) == [cert, key] and states(gateway.files()) == gateway.read
    issue()
    done = asyncio.Event()
    watch = follow(file, {}, asyncio.Event(), lambda _: done.set(), print, gateway.files, settings, gateway.read)
    task = asyncio.create_task(watch)
    async with asyncio.timeout(5):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_reload_does_not_change_the_policy_of_a_request_under_way(upstreams: Upstreams):
    """The first target fails after a reload that keeps text at home: the request goes on by what held when it came."""
    one, two = await upstreams(2, kind="openai")
    gate = asyncio.Event()
    one.answer(Gate(gate), Json(answers.error("out of memory"), 500))
    about = {"backends": {"one": {"local": True}, "two": {"local": False}}, "timeouts": {**FAST, "first_byte": 5.0}}
    prefer = [{"match": {}, "prefer": [{"backend": "one"}]}]
    gateway = Gateway(parse(yaml.safe_dump(config(one, two, routes=prefer, **about)), {}))
    await gateway.start()
    try:
        transport = httpx2.ASGITransport(app=gateway.front)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
            under_way = asyncio.create_task(client.post(CHAT, json=ask()))
            await one.seen()
            text = yaml.safe_dump(config(one, two, routes=prefer, privacy={"text": "local"}, **about))
            gateway.reload(parse(text, {}))
            gate.set()
            got = await under_way
            assert (got.status_code, got.headers["x-gateway-attempts"]) == (200, "2")
            late = await client.post(CHAT, json=ask())
            assert (late.status_code, late.headers["x-gateway-target"].partition("/")[0]) == (502, "one")
    finally:
        await gateway.stop()
