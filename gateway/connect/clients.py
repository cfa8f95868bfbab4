"""One function per client: what it needs to use a fleet.

Sources are each client's own documentation, named with it. What is set is the least that works: its address, its key,
its model, and how much that model takes, which no client asks a server for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.connect.files import File
from gateway.connect.fleet import Fleet, Model

NAME: Final = "gateway"
"""What the fleet is called inside of a client's configuration."""


@dataclass(slots=True, frozen=True)
class Connection:
    """`env` and `files` are both needed. `argv` starts the client (empty = no program that can be started here);
    `run_env` is added then, and makes `files` needless where `alone` is true. `notes` are for the person."""

    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    argv: tuple[str, ...] = ()
    run_env: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    notes: tuple[str, ...] = ()


def claude(fleet: Fleet) -> Connection:
    """https://code.claude.com/docs/en/llm-gateway: the `env` of its settings overrides the shell's."""
    model = fleet.model.name
    env = {
        "ANTHROPIC_BASE_URL": fleet.url,
        "ANTHROPIC_AUTH_TOKEN": fleet.key,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(fleet.model.output),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    note = "ANTHROPIC_API_KEY must not be set beside this: both would be sent."
    settings = File("~/.claude/settings.json", "json", {"env": env}, secret=bool(fleet.key_env))
    return Connection(files=(settings,), argv=("claude",), run_env=env, alone=True, notes=(note,))


def codex(fleet: Fleet) -> Connection:
    """https://github.com/openai/codex/blob/main/docs/config.md. Only Responses; without a key none is sent."""
    provider: dict[str, Any] = {"name": NAME, "base_url": f"{fleet.url}/v1", "wire_api": "responses"}
    if fleet.key_env:
        provider["env_key"] = fleet.key_env
    config = {
        "model": fleet.model.name,
        "model_provider": NAME,
        "model_context_window": fleet.model.context,
        "model_providers": {NAME: provider},
    }
    flags = [f"model_provider={json.dumps(NAME)}", f"model_context_window={fleet.model.context}"]
    flags += [f"model_providers.{NAME}.{key}={json.dumps(value)}" for key, value in provider.items()]
    argv = ("codex", "-m", fleet.model.name, *(word for flag in flags for word in ("-c", flag)))
    env = {fleet.key_env: fleet.key} if fleet.key_env else {}
    notes: tuple[str, ...] = ()
    if fleet.model.name.startswith("gpt-"):
        notes = ("By a name of its own catalogue Codex speaks in other forms; one that it does not know is simpler.",)
    file = File("~/.codex/config.toml", "toml", config)
    return Connection(env=env, files=(file,), argv=argv, run_env=env, alone=True, notes=notes)


def gemini(fleet: Fleet) -> Connection:
    """https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/configuration.md: `~/.gemini/.env` is read. By the
    variables alone it would choose a way to log in that it then calls invalid (0.61): it needs its settings, too."""
    env = {"GEMINI_API_KEY": fleet.key, "GOOGLE_GEMINI_BASE_URL": fleet.url, "GEMINI_MODEL": fleet.model.name}
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}}
    files = (
        File("~/.gemini/.env", "env", env, secret=bool(fleet.key_env)),
        File("~/.gemini/settings.json", "json", settings),
    )
    return Connection(files=files, argv=("gemini", "-m", fleet.model.name), run_env=env)


def opencode(fleet: Fleet) -> Connection:
    """https://opencode.ai/docs/providers and /docs/config (`{env:NAME}`, OPENCODE_CONFIG_CONTENT)."""
    key = f"{{env:{fleet.key_env}}}" if fleet.key_env else fleet.key
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": NAME,
        "options": {"baseURL": f"{fleet.url}/v1", "apiKey": key},
        "models": {m.name: _opencode_model(m) for m in fleet.models},
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {NAME: provider},
        "model": f"{NAME}/{fleet.model.name}",
        "small_model": f"{NAME}/{fleet.model.name}",
    }
    env = {fleet.key_env: fleet.key} if fleet.key_env else {}
    run_env = {**env, "OPENCODE_CONFIG_CONTENT": json.dumps(config)}
    file = File("~/.config/opencode/opencode.json", "json", config)
    return Connection(env=env, files=(file,), argv=("opencode",), run_env=run_env, alone=True)


def _opencode_model(model: Model) -> dict[str, Any]:
    seen = ["text", "image"] if model.image else ["text"]
    return {
        "name": model.name,
        "limit": {"context": model.context, "output": model.output},
        "tool_call": True,
        "attachment": model.image,
        "modalities": {"input": seen, "output": ["text"]},
    }


def cline(fleet: Fleet) -> Connection:
    """What `cline auth -p openai -k KEY -m MODEL -b URL` writes: https://docs.cline.bot/cline-cli/getting-started."""
    kind = "openai-compatible"
    settings = {"provider": kind, "apiKey": fleet.key, "model": fleet.model.name, "baseUrl": f"{fleet.url}/v1"}
    entry = {"settings": settings, "updatedAt": "1970-01-01T00:00:00.000Z", "tokenSource": "manual"}
    content = {"version": 1, "lastUsedProvider": kind, "providers": {kind: entry}}
    file = File("~/.cline/data/settings/providers.json", "json", content, secret=bool(fleet.key_env))
    note = "A hub of Cline's that runs keeps its old settings: `cline doctor` ends it."
    return Connection(files=(file,), argv=("cline", "-P", "openai", "-m", fleet.model.name), notes=(note,))


def continue_(fleet: Fleet) -> Connection:
    """https://docs.continue.dev/reference (config.yaml)."""
    model = {
        "name": NAME,
        "provider": "openai",
        "model": fleet.model.name,
        "apiBase": f"{fleet.url}/v1",
        "apiKey": fleet.key,
        "roles": ["chat", "edit", "apply"],
        "capabilities": ["tool_use", *(["image_input"] if fleet.model.image else [])],
        "defaultCompletionOptions": {"contextLength": fleet.model.context, "maxTokens": fleet.model.output},
    }
    content = {"name": NAME, "version": "1.0.0", "schema": "v1", "models": [model]}
    file = File("~/.continue/config.yaml", "yaml", content, secret=bool(fleet.key_env))
    return Connection(files=(file,), argv=("cn", "--config", file.path))


def qwen(fleet: Fleet) -> Connection:
    """https://qwenlm.github.io/qwen-code-docs/en/users/configuration/settings: `~/.qwen/.env` is read. The way to log
    in is asked for at the first start unless the settings or `--auth-type` say it."""
    env = {
        "OPENAI_API_KEY": fleet.key,
        "OPENAI_BASE_URL": f"{fleet.url}/v1",
        "OPENAI_MODEL": fleet.model.name,
    }
    settings = {"security": {"auth": {"selectedType": "openai"}}, "model": {"name": fleet.model.name}}
    files = (
        File("~/.qwen/.env", "env", env, secret=bool(fleet.key_env)),
        File("~/.qwen/settings.json", "json", settings),
    )
    argv = ("qwen", "--auth-type", "openai", "-m", fleet.model.name)
    return Connection(files=files, argv=argv, run_env=env, alone=True)


def pi(fleet: Fleet) -> Connection:
    """https://github.com/badlogic/pi-mono/blob/main/packages/coding-agent/docs/models.md: an `apiKey` that is the name
    of a variable stands for its value."""
    provider = {
        "baseUrl": f"{fleet.url}/v1",
        "api": "openai-completions",
        "apiKey": fleet.key_env or fleet.key,
        "models": [_pi_model(m) for m in fleet.models],
    }
    file = File("~/.pi/agent/models.json", "json", {"providers": {NAME: provider}})
    env = {fleet.key_env: fleet.key} if fleet.key_env else {}
    argv = ("pi", "--provider", NAME, "--model", fleet.model.name)
    return Connection(env=env, files=(file,), argv=argv)


def _pi_model(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "name": model.name,
        "input": ["text", "image"] if model.image else ["text"],
        "contextWindow": model.context,
        "maxTokens": model.output,
    }


def open_webui(fleet: Fleet) -> Connection:
    """https://docs.openwebui.com/reference/env-configuration. Its database keeps what it was told first, unless
    ENABLE_PERSISTENT_CONFIG is off."""
    env = {
        "OPENAI_API_BASE_URL": f"{fleet.url}/v1",
        "OPENAI_API_KEY": fleet.key,
        "DEFAULT_MODELS": fleet.model.name,
        "ENABLE_OLLAMA_API": "False",
        "ENABLE_PERSISTENT_CONFIG": "False",
    }
    note = "In a container, 127.0.0.1 is the container itself: the gateway's address there is host.docker.internal."
    file = File("open-webui.env", "env", env, secret=bool(fleet.key_env))
    return Connection(files=(file,), argv=("open-webui", "serve"), run_env=env, alone=True, notes=(note,))


def librechat(fleet: Fleet) -> Connection:
    """https://www.librechat.ai/docs/configuration/librechat_yaml/object_structure/custom_endpoint."""
    endpoint = {
        "name": NAME,
        "apiKey": f"${{{fleet.key_env}}}" if fleet.key_env else fleet.key,
        "baseURL": f"{fleet.url}/v1",
        "models": {"default": [m.name for m in fleet.models], "fetch": True},
        "titleConvo": True,
        "titleModel": fleet.model.name,
    }
    notes = ["In a container, 127.0.0.1 is the container itself: the gateway's address there is host.docker.internal."]
    notes += [f"LibreChat reads {fleet.key_env} from its own .env."] if fleet.key_env else []
    file = File("librechat.yaml", "yaml", {"version": "1.2.8", "endpoints": {"custom": [endpoint]}})
    env = {fleet.key_env: fleet.key} if fleet.key_env else {}
    return Connection(env=env, files=(file,), notes=tuple(notes))


def copilot(fleet: Fleet) -> Connection:
    """https://docs.github.com/en/copilot/how-tos/copilot-cli/customize-copilot/use-byok-models: variables only."""
    env = {
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_BASE_URL": f"{fleet.url}/v1",
        "COPILOT_PROVIDER_API_KEY": fleet.key,
        "COPILOT_MODEL": fleet.model.name,
    }
    file = File("copilot.env", "env", env, secret=bool(fleet.key_env))
    note = "These are variables of the shell that it starts in; the file is for `set -a; . ./copilot.env`."
    return Connection(files=(file,), argv=("copilot",), run_env=env, alone=True, notes=(note,))


CLIENTS: Final[Mapping[str, Callable[[Fleet], Connection]]] = {
    "claude": claude,
    "codex": codex,
    "gemini": gemini,
    "opencode": opencode,
    "cline": cline,
    "continue": continue_,
    "qwen": qwen,
    "pi": pi,
    "open-webui": open_webui,
    "librechat": librechat,
    "copilot": copilot,
}
"""By the name on the command line."""
