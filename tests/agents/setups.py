"""How each agent is pointed at the gateway without a terminal: its files, environment and command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass
class Setup:
    """`files`: path below the home folder -> content. `before` = commands that run first."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    before: list[list[str]] = field(default_factory=list)

    def lay(self, home: Path) -> None:
        for name, content in self.files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


@dataclass(frozen=True)
class Where:
    """The gateway's address, a model there, and the task."""

    url: str
    model: str
    task: str
    home: Path


def codex(at: Where, *, more: str = "") -> Setup:
    config = f"""
model = "{at.model}"
model_provider = "local"
check_for_update_on_startup = false
approval_policy = "never"
sandbox_mode = "danger-full-access"
[analytics]
enabled = false
[model_providers.local]
name = "local"
base_url = "{at.url}/v1"
env_key = "LOCAL_KEY"
wire_api = "responses"
{more}"""
    argv = ["codex", "exec", "--skip-git-repo-check", at.task]
    return Setup(argv, {"LOCAL_KEY": "none"}, {".codex/config.toml": config})


def codex_builtin(at: Where) -> Setup:
    """Its own provider at another address: it tries a WebSocket first."""
    config = f"""
model = "{at.model}"
openai_base_url = "{at.url}/v1"
check_for_update_on_startup = false
approval_policy = "never"
sandbox_mode = "danger-full-access"
[analytics]
enabled = false
"""
    argv = ["codex", "exec", "--skip-git-repo-check", at.task]
    return Setup(argv, {"CODEX_API_KEY": "none"}, {".codex/config.toml": config})


def opencode(at: Where, package: str, path: str) -> Setup:
    limit = {"context": 65_536, "output": 4096}
    provider = {
        "npm": package,
        "name": "Local",
        "options": {"baseURL": at.url + path, "apiKey": "none"},
        "models": {at.model: {"name": at.model, "limit": limit, "tool_call": True}},
    }
    config = {"$schema": "https://opencode.ai/config.json", "provider": {"local": provider}, "autoupdate": False}
    env = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    argv = ["opencode", "run", "-m", f"local/{at.model}", at.task]
    return Setup(argv, env, {".config/opencode/opencode.json": json.dumps(config)})


def cline(at: Where, provider: str) -> Setup:
    auth = ["cline", "auth", "-p", provider, "-k", "none", "-m", at.model, "-b", f"{at.url}/v1"]
    return Setup(["cline", "-P", provider, "-m", at.model, at.task], before=[auth])


def gemini(at: Where) -> Setup:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    }
    env = {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": at.url}
    argv = ["gemini", "--skip-trust", "-y", "-m", at.model, "-p", at.task]
    return Setup(argv, env, {".gemini/settings.json": json.dumps(settings)})


def qwen(at: Where, auth: str) -> Setup:
    family, path = ("OPENAI", "/v1") if auth == "openai" else ("ANTHROPIC", "")
    env = {f"{family}_API_KEY": "none", f"{family}_BASE_URL": at.url + path, f"{family}_MODEL": at.model}
    settings = {"privacy": {"usageStatisticsEnabled": False}, "general": {"disableAutoUpdate": True}}
    argv = ["qwen", "--auth-type", auth, "-y", "-m", at.model, "-p", at.task]
    return Setup(argv, env, {".qwen/settings.json": json.dumps(settings)})


def continue_(at: Where, provider: str) -> Setup:
    model = {
        "name": "local",
        "provider": provider,
        "model": at.model,
        "apiBase": f"{at.url}/v1",
        "apiKey": "none",
        "roles": ["chat"],
        "capabilities": ["tool_use"],
    }
    config = {"name": "local", "version": "1.0.0", "schema": "v1", "models": [model]}  # JSON is YAML
    argv = ["cn", "-p", "--auto", "--config", str(at.home / "config.yaml"), at.task]
    return Setup(argv, {"CONTINUE_TELEMETRY_ENABLED": "0"}, {"config.yaml": json.dumps(config)})


def pi(at: Where, api: str, path: str) -> Setup:
    model = {"id": at.model, "name": at.model, "contextWindow": 65_536, "maxTokens": 4096, "input": ["text"]}
    provider = {"baseUrl": at.url + path, "api": api, "apiKey": "none", "models": [model]}
    files = {".pi/agent/models.json": json.dumps({"providers": {"local": provider}})}
    argv = ["pi", "--offline", "-p", "--provider", "local", "--model", at.model, at.task]
    return Setup(argv, {}, files)


SETUPS: dict[str, Callable[[Where], Setup]] = {
    "codex-responses": codex,
    "codex-builtin-responses": codex_builtin,
    "codex-custom-tools": lambda at: codex(replace(at, model="gpt-5.5")),
    "codex-javascript": lambda at: codex(replace(at, model="gpt-6-astra")),
    "opencode-chat": lambda at: opencode(at, "@ai-sdk/openai-compatible", "/v1"),
    "opencode-responses": lambda at: opencode(at, "@ai-sdk/openai", "/v1"),
    "opencode-messages": lambda at: opencode(at, "@ai-sdk/anthropic", "/v1"),
    "opencode-gemini": lambda at: opencode(at, "@ai-sdk/google", "/v1beta"),
    "cline-chat": lambda at: cline(at, "openai"),
    "cline-responses": lambda at: cline(at, "openai-native"),
    "gemini-cli-gemini": gemini,
    "qwen-chat": lambda at: qwen(at, "openai"),
    "qwen-messages": lambda at: qwen(at, "anthropic"),
    "continue-chat": lambda at: continue_(at, "openai"),
    "continue-messages": lambda at: continue_(at, "anthropic"),
    "pi-chat": lambda at: pi(at, "openai-completions", "/v1"),
    "pi-responses": lambda at: pi(at, "openai-responses", "/v1"),
    "pi-messages": lambda at: pi(at, "anthropic-messages", ""),
    "pi-gemini": lambda at: pi(at, "google-generative-ai", "/v1beta"),
}
"""`<agent>-<api>`: every API that each of them speaks. By a model's name codex chooses among three forms of Responses:
functions, a custom tool for patches, and one custom tool for JavaScript."""
