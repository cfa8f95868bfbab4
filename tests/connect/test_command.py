"""`gateway connect` asks a running gateway, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import yaml

from tests.conftest import GatewayFor, Upstreams
from tests.faults.process import ROOT
from tests.faults.running import KEY, PUBLIC, Running, config


async def run(home: Path, *args: str, **env: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "connect", *args),
        cwd=home,
        env={"PATH": f"{home}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(home), **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode is not None and "Traceback" not in err.decode(), err.decode()
    return child.returncode, out.decode(), err.decode()


async def served(upstreams: Upstreams, gateway_for: GatewayFor) -> Running:
    [wire] = await upstreams(kind="vllm", n_ctx=32_768)
    return await gateway_for(config(wire))


async def test_printed(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    gateway = await served(upstreams, gateway_for)
    code, out, _ = await run(tmp_path, "codex", "--url", gateway.url, "--model", PUBLIC)
    assert code == 0 and f'base_url = "{gateway.url}/v1"' in out and "model_context_window = 32768" in out
    assert list(tmp_path.iterdir()) == []


async def test_as_json(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    gateway = await served(upstreams, gateway_for)
    code, out, _ = await run(tmp_path, "claude", "--url", gateway.url, "--model", PUBLIC, "--json")
    told = json.loads(out)
    assert (code, told["gateway"], told["model"], told["start"]) == (0, gateway.url, PUBLIC, ["claude"])
    [file] = told["files"]
    assert json.loads(file["text"])["env"]["ANTHROPIC_BASE_URL"] == gateway.url
    assert list(tmp_path.iterdir()) == []


async def test_written_beside_what_is_there(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    gateway = await served(upstreams, gateway_for)
    settings = tmp_path / ".claude/settings.json"
    settings.parent.mkdir()
    settings.write_text('{"theme": "dark", "env": {"MINE": "1"}}')
    code, out, _ = await run(tmp_path, "claude", "--url", f"{gateway.url}/v1", "--model", PUBLIC, "--write")
    assert code == 0 and "before-gateway" in out
    found = json.loads(settings.read_text())
    assert (found["theme"], found["env"]["MINE"], found["env"]["ANTHROPIC_BASE_URL"]) == ("dark", "1", gateway.url)
    assert json.loads(Path(f"{settings}.before-gateway").read_text())["env"] == {"MINE": "1"}


async def test_what_cannot_be_merged_is_printed(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    gateway = await served(upstreams, gateway_for)
    path = tmp_path / ".config/opencode/opencode.json"
    path.parent.mkdir(parents=True)
    path.write_text("{} // mine")
    code, _, err = await run(tmp_path, "opencode", "--url", gateway.url, "--model", PUBLIC, "--write")
    assert code == 1 and gateway.url in err and path.read_text() == "{} // mine"


async def test_a_client_is_started(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    gateway = await served(upstreams, gateway_for)
    for name in ("copilot", "gemini"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "$COPILOT_PROVIDER_BASE_URL $GOOGLE_GEMINI_BASE_URL $@"\nexit 7\n')
        program.chmod(0o755)
    at = ("--url", gateway.url, "--model", PUBLIC)
    assert await run(tmp_path, "copilot", *at, "--", "run", "-p", "hi there") == (
        7,
        f"{gateway.url}/v1  -p hi there\n",
        "",
    )
    assert not list(tmp_path.glob("*.env"))
    code, _, err = await run(tmp_path, "gemini", *at, "--", "run")
    assert code == 2 and "--write" in err
    code, out, _ = await run(tmp_path, "gemini", *at, "--write", "--", "run", "-p", "x")
    assert code == 7 and out.endswith(f" {gateway.url} -m {PUBLIC} -p x\n")
    assert (tmp_path / ".gemini/settings.json").exists()
    code, _, err = await run(tmp_path, "claude", *at, "--", "run", PATH="/nowhere")
    assert code == 1 and "claude is not installed" in err


async def test_a_key_travels_and_is_not_printed(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    [wire] = await upstreams(kind="vllm")
    auth = {"api_key_env": "GATEWAY_API_KEY"}
    gateway = await gateway_for(config(wire, auth=auth), env={"GATEWAY_API_KEY": KEY})
    gateway.secrets.append(KEY)
    code, _, err = await run(tmp_path, "continue", "--url", gateway.url)
    assert code == 2 and "wants its key" in err
    code, out, _ = await run(tmp_path, "continue", "--url", gateway.url, GATEWAY_API_KEY=KEY)
    assert code == 0 and KEY not in out
    code, out, _ = await run(tmp_path, "continue", "--url", gateway.url, "--write", GATEWAY_API_KEY=KEY)
    assert code == 0 and KEY not in out
    written = tmp_path / ".continue/config.yaml"
    assert yaml.safe_load(written.read_text())["models"][0]["apiKey"] == KEY
    assert written.stat().st_mode & 0o077 == 0


async def test_what_is_wrong_is_said(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    gateway = await served(upstreams, gateway_for)
    code, _, err = await run(tmp_path, "codex", "--url", gateway.url, "--model", "nobody")
    assert code == 1 and PUBLIC in err
    code, _, err = await run(tmp_path, "codex", "--url", "http://127.0.0.1:9")
    assert code == 1 and "gateway serve" in err
    code, _, err = await run(tmp_path, "emacs")
    assert code == 2 and "open-webui" in err
    code, _, err = await run(tmp_path, "librechat", "--url", gateway.url, "--", "run")
    assert code == 2 and "service" in err
    code, _, err = await run(tmp_path, "codex", "--url", gateway.url, "--", "start")
    assert code == 2 and "run" in err
