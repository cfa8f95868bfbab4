"""`gateway doctor` in front of scripted servers: what is wrong is named by its code, and what is right is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.canonical.facts import Facts
from gateway.report.asking import built
from gateway.report.doctor import Complaint, contained, examine, exit_code, known, largest_body, mixed_names, told
from gateway.settings import parse
from tests.faults.steps import Json, Reply
from tests.faults.wire import Refused, Wire

TIMES = {"probe": 20.0, "connect": 10.0}


async def ill(backends: dict[str, Any], *, in_container: bool = False, **more: Any) -> dict[str, list[str]]:
    """backend -> the codes of what is wrong with it."""
    small = {"limits": {"body": "300KiB"}}
    settings = parse(yaml.safe_dump({"backends": backends, "timeouts": TIMES, **small, **more}), {})
    async with built(settings) as (gateway, _):
        found = await examine(gateway.fleet, gateway.prober, gateway.upstream, in_container=in_container)
    out: dict[str, list[str]] = {}
    for c in found:
        out.setdefault(c.backend, []).append(c.finding.code)
    return out


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(n_ctx=32768) as it:
        yield it


async def test_nothing(wire: Wire) -> None:
    assert await ill({"one": {"kind": "llamacpp", "url": wire.url}}) == {}


async def test_a_kind_that_nothing_tells() -> None:
    async with Wire(kind="openai") as it:
        assert "kind-guessed" in (await ill({"one": it.url}))["one"]
        assert "kind-guessed" not in (await ill({"one": {"kind": "openai", "url": it.url}})).get("one", [])


async def test_what_does_not_answer() -> None:
    gone = Refused()
    try:
        for backend in ({"kind": "vllm", "url": gone.url}, gone.url):
            assert await ill({"one": backend}) == {"one": ["unreachable"]}
    finally:
        gone.close()


@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "ollama", "tgi", "mlx_vlm", "openai", None])
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(b"<!doctype html><html><h1>Welcome</h1></html>", type="text/html"), "web-page"),
        (Reply(b"", 301, headers={"Location": "https://example.com/"}), "redirect"),
        (Json({"hello": "I am something else"}), "other-api"),
        (Json({"detail": "Not Found"}, status=404), "other-api"),
        (Json({"error": {"message": "no", "code": 401}}, status=401), "no-key"),
    ],
    ids=["html", "redirect", "other", "404", "401"],
)
async def test_what_is_no_model_server_is_named(kind: str | None, reply: Any, code: str) -> None:
    async with Wire(kind="openai") as wire:
        for path in ("/v1/models", "/api/tags", "/info", "/health", "/props"):
            wire.answer(reply, path=path)
        backend = {"url": wire.url, **({"kind": kind} if kind else {})}
        assert await ill({"one": backend}) == {"one": [code]}


async def test_a_server_of_another_kind() -> None:
    async with Wire(kind="vllm", n_ctx=32768) as wire:
        assert "wrong-kind" in (await ill({"one": {"kind": "llamacpp", "url": wire.url}}))["one"]
        assert await ill({"one": {"kind": "vllm", "url": wire.url}}) == {}
        assert "wrong-kind" in (await ill({"one": {"kind": "openai", "url": wire.url}}))["one"]
        assert "wrong-kind" not in (await ill({"one": {"kind": "nim", "url": wire.url}})).get("one", [])


async def test_modalities_and_another_model() -> None:
    async with Wire(model="gemma-4-E4B-it", modalities=("text",)) as wire:
        found = await ill({"one": {"kind": "llamacpp", "url": wire.url}})
        assert set(found["one"]) == {"no-image", "no-audio", "no-video"}
        models = {"m": {"targets": [{"backend": "one", "model": "another"}]}}
        assert "wrong-model" in (await ill({"one": {"kind": "llamacpp", "url": wire.url}}, models=models))["one"]


@pytest.mark.parametrize(("seconds", "codes"), [(-3600, ["clock-skew"]), (45, ["clock-skew"]), (10, []), (0, [])])
async def test_clocks(wire: Wire, seconds: float, codes: list[str]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    wire.answer(Json({"error": {"message": "x"}}, status=404, headers={"Date": date}), path="/v1/embeddings")
    assert (await ill({"one": {"kind": "llamacpp", "url": wire.url}})).get("one", []) == codes


async def test_a_clock_that_can_not_be_read_is_none(wire: Wire) -> None:
    wire.answer(Json({"error": {"message": "x"}}, status=404, headers={"Date": "yesterday"}), path="/v1/embeddings")
    assert await ill({"one": {"kind": "llamacpp", "url": wire.url}}) == {}


@contextlib.asynccontextmanager
async def proxy(target: Wire, limit: int) -> AsyncIterator[str]:
    """What refuses bodies over `limit` by their announced length, as nginx does, and passes the rest on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            size = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
            if size > limit:
                writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                there, to = await asyncio.open_connection("127.0.0.1", target.port)
                to.write(head + await reader.readexactly(size))
                writer.write(await there.readuntil(b"\r\n\r\n"))
                writer.write(await asyncio.wait_for(there.read(1 << 20), 1))
                to.close()
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("limit", "codes"), [(200 * 1024, ["body-limit"]), (2**20, [])])
async def test_a_proxy_that_takes_small_bodies_only(wire: Wire, limit: int, codes: list[str]) -> None:
    wire.answer(Json({"error": {"message": "bad JSON"}}, status=400), path="/v1/chat/completions")
    async with proxy(wire, limit) as url:
        assert (await ill({"one": {"kind": "llamacpp", "url": url}})).get("one", []) == codes


def test_the_largest_body() -> None:
    settings = parse("{}", {})
    text = largest_body([Facts(image=False)], settings)
    picture = largest_body([Facts(image=True)], settings)
    sound = largest_body([Facts(image=True, audio=True)], settings)
    film = largest_body([Facts(audio=True), Facts(video=True)], settings)
    assert text < picture < sound < film <= settings.limits.body


def test_names_that_lead_to_different_sizes() -> None:
    from gateway.backends import Discovery, Model
    from gateway.engine.fleet import Fleet

    fleet = Fleet()
    backends = {k: {"kind": "vllm", "url": f"http://127.0.0.1:{9 + i}"} for i, k in enumerate("ab")}
    models = {"g": {"targets": [{"backend": "a"}, {"backend": "b"}]}}
    fleet.apply(parse(yaml.safe_dump({"backends": backends, "models": models}), {}))
    for name, model in (("a", "google/gemma-4-12B-it"), ("b", "google/gemma-4-31B-it")):
        fleet.servers[name].learn(Discovery("ready", [Model(model)]))
    fleet.rename()
    [found] = mixed_names(fleet)
    assert found.code == "mixed-name" and "12b" in found.text and "31b" in found.text


def test_a_parser_that_is_missing_is_told_once() -> None:
    from gateway.backends import Discovery, Model
    from gateway.canonical.facts import Finding
    from gateway.engine.fleet import Fleet

    fleet = Fleet()
    fleet.apply(parse("backends: {a: {kind: vllm, url: 'http://127.0.0.1:9'}}", {}))
    model = Model("google/gemma-4-12B-it", facts=Facts(tools=False, context=32768))
    said = Finding("no-tool-parser", "it reads no tool calls", "start it with ...", model.id)
    fleet.servers["a"].learn(Discovery("ready", [model], findings=[said]))
    assert [f.code for f in known(fleet.servers["a"], in_container=False)] == ["no-tool-parser"]


def test_the_loopback_of_a_container_also_where_nothing_was_ever_seen() -> None:
    from gateway.engine.fleet import Fleet

    fleet = Fleet()
    fleet.apply(parse("backends: {a: 'http://localhost:8000'}", {}))
    [found] = known(fleet.servers["a"], in_container=True)
    assert found.code == "unreachable" and "host.docker.internal" in found.fix
    [found] = known(fleet.servers["a"], in_container=False)
    assert found.fix == "start it there, or correct its `url`"


def test_containers(tmp_path: Path) -> None:
    assert not contained(tmp_path, {})
    assert contained(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) and contained(tmp_path, {"container": "podman"})
    (tmp_path / ".dockerenv").touch()
    assert contained(tmp_path, {})


def test_words_and_exit_codes() -> None:
    from gateway.canonical.facts import Finding
    from gateway.engine.fleet import Fleet

    fleet = Fleet()
    fleet.apply(parse("backends: {a: {kind: vllm, url: 'http://gpu:8000'}, b: {kind: tgi, url: 'http://b:1'}}", {}))
    note = Complaint("a", Finding("loading", "it is loading its model", "", "m"))
    assert exit_code([]) == exit_code([note]) == 0
    worse = Complaint("a", Finding("no-image", "it could see", "start it with --mmproj FILE", "m"))
    assert exit_code([note, worse]) == 1
    text = told([worse, note], fleet)
    assert text.splitlines() == [
        "a  vllm  http://gpu:8000  unprobed",
        "  warning no-image [m]: it could see",
        "          fix: start it with --mmproj FILE",
        "  note    loading [m]: it is loading its model",
        "b  tgi  http://b:1  unprobed",
        "  nothing to change",
    ]
    assert json.loads(json.dumps(worse.view()))["level"] == "warning"
