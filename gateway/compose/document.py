"""The two files: what to run, and the gateway's configuration for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.compose.choice import HEARS, SHARE, Choice, Gguf, OnLlamaCpp, OnMac, OnVllm

IMAGES = {
    "gateway": "gemma-gateway:local",
    "vllm": "vllm/vllm-openai:v0.33.0",
    "llamacpp": "ghcr.io/ggml-org/llama.cpp:server",
    "llamacpp-cuda": "ghcr.io/ggml-org/llama.cpp:server-cuda",
    "prometheus": "prom/prometheus:v3.5.0",
    "grafana": "grafana/grafana:12.0.2",
}
"""llama.cpp's project publishes a build a day under one name; numbered ones come and go. The gateway's is built."""

OWN_USER = "10001:10001"
CONTEXT = 32_768
"""Tokens of one conversation on vLLM."""


@dataclass(slots=True, frozen=True)
class Place:
    """What lies beside the files that are written: the gateway's sources, and what Prometheus and Grafana need."""

    sources: bool
    monitoring: bool


def compose_text(choice: Choice, place: Place, config_name: str, header: str) -> str:
    """`config_name` = the gateway's configuration, a file beside this one. `header` = comment lines."""
    services = {"init": _init(place), "gateway": _gateway(place, config_name), **_servers(choice)}
    volumes: dict[str, Any] = {"secrets": {}, "state": {}, "models": {}}
    networks: dict[str, Any] = {"fleet": {}}
    if place.monitoring:
        services |= {"prometheus": _prometheus(), "grafana": _grafana()}
        volumes |= {"prometheus": {}, "grafana": {}}
        networks["metrics"] = {}
    content = {"name": "gemma-gateway", "services": services, "networks": networks, "volumes": volumes}
    return header + "\n" + yaml.dump(content, Dumper=_Plain, sort_keys=False, width=120)


def config_text(choice: Choice, header: str) -> str:
    """The gateway's configuration: whose shape is config/gateway.yaml's."""
    content = {
        "listen": "0.0.0.0:4000",
        "auth": {"api_key_file": "/secrets/api-key"},
        "backends": _backends(choice),
        "state": {"dir": "/var/lib/gateway"},
    }
    return header + "\n" + yaml.dump(content, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    """Writes what stands at several places as often as it does, without YAML's references."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _backends(choice: Choice) -> dict[str, Any]:
    match choice:
        case OnVllm():
            vllm: dict[str, Any] = {"kind": "vllm", "url": "http://vllm:8000"}
            if choice.gpu.blackwell:
                vllm["hardware"] = "blackwell"
            if choice.checkpoint.quantization:
                vllm["quantization"] = choice.checkpoint.quantization
            ears = {"ears": {"kind": "llamacpp", "url": "http://ears:8080"}} if choice.ears else {}
            return {"vllm": vllm, **ears}
        case OnLlamaCpp():
            return {"llamacpp": {"kind": "llamacpp", "url": "http://llamacpp:8080"}}
        case OnMac():
            return {"mac": {"kind": "mlx_vlm", "url": "http://host.docker.internal:8080"}}


def _servers(choice: Choice) -> dict[str, Any]:
    match choice:
        case OnVllm():
            return {"vllm": _vllm(choice)} | ({"ears": _llamacpp(choice.ears)} if choice.ears else {})
        case OnLlamaCpp():
            return {"llamacpp": _llamacpp(choice.gguf, cuda=choice.gpu is not None)}
        case OnMac():
            return {}


def _hardened(image: str, user: str, **more: Any) -> dict[str, Any]:
    return {
        "image": image,
        "user": user,
        "init": True,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        **more,
    }


def _built(place: Place) -> dict[str, Any]:
    return {"build": {"context": ".", "target": "gateway"}} if place.sources else {}


_AFTER_INIT = {"init": {"condition": "service_completed_successfully"}}


def _init(place: Place) -> dict[str, Any]:
    return _hardened(
        IMAGES["gateway"],
        OWN_USER,
        **_built(place),
        network_mode="none",
        command=["compose", "key", "/secrets/api-key"],
        volumes=["secrets:/secrets", "state:/var/lib/gateway", "models:/models"],
    ) | {"restart": "no"}


def _gateway(place: Place, config_name: str) -> dict[str, Any]:
    return _hardened(
        IMAGES["gateway"],
        OWN_USER,
        **_built(place),
        ports=["127.0.0.1:${GATEWAY_PORT:-4000}:4000"],
        extra_hosts=["host.docker.internal:${HOST_GATEWAY:-host-gateway}"],
        volumes=[f"./{config_name}:/etc/gateway/gateway.yaml:ro", "secrets:/secrets:ro", "state:/var/lib/gateway"],
        networks=["fleet", "metrics"] if place.monitoring else ["fleet"],
        depends_on=_AFTER_INIT,
        stop_grace_period="5m15s",
        healthcheck=_health("python", 4000, "/healthz", "30s"),
    )


def _vllm(choice: OnVllm) -> dict[str, Any]:
    checkpoint = choice.checkpoint
    command = [checkpoint.model, "--tensor-parallel-size", str(choice.parallel), *checkpoint.flags]
    command += ["--max-model-len", str(CONTEXT), "--gpu-memory-utilization", f"{SHARE:.2f}"]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "gemma4", "--reasoning-parser", "gemma4"]
    sounds = ', "audio": 1' if checkpoint.size in HEARS else ""
    command += ["--limit-mm-per-prompt", f'{{"image": 4, "video": 1{sounds}}}']
    command += ["--allowed-media-domains", "nothing.invalid"]  # the gateway sends media along
    command += ["--enable-prompt-tokens-details", "--enable-server-load-tracking"]
    device = {"driver": "nvidia", "count": choice.parallel, "capabilities": ["gpu"]}
    return _hardened(
        IMAGES["vllm"],
        OWN_USER,
        entrypoint=["vllm", "serve"],
        command=command,
        environment={
            "HF_HOME": "/models/huggingface",
            "HF_TOKEN": "${HF_TOKEN:-}",
            "HOME": "/models/home",
            "USER": "gateway",
            "LOGNAME": "gateway",
        },
        shm_size="8gb",
        volumes=["models:/models"],
        networks=["fleet"],
        depends_on=_AFTER_INIT,
        stop_grace_period="1m",
        deploy={"resources": {"reservations": {"devices": [device]}}},
        healthcheck=_health("python3", 8000, "/health", "60m"),
    ) | {"tmpfs": ["/tmp:exec"]}


def _llamacpp(gguf: Gguf, *, cuda: bool = False) -> dict[str, Any]:
    command = ["--hf-repo", gguf.model, "--host", "0.0.0.0", "--port", "8080", "--ctx-size", "16384"]
    command += ["--parallel", "2", "--metrics"] + (["--n-gpu-layers", "999"] if cuda else [])
    device = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    more = {"deploy": {"resources": {"reservations": {"devices": [device]}}}} if cuda else {}
    return _hardened(
        IMAGES["llamacpp-cuda" if cuda else "llamacpp"],
        OWN_USER,
        command=command,
        environment={
            "LLAMA_CACHE": "/models/llama.cpp",
            "HF_HOME": "/models/huggingface",
            "HOME": "/tmp",
            "HF_TOKEN": "${HF_TOKEN:-}",
        },
        volumes=["models:/models"],
        networks=["fleet"],
        depends_on=_AFTER_INIT,
        stop_grace_period="30s",
        **more,
        healthcheck=_checked(["CMD", "curl", "--fail", "--silent", "http://127.0.0.1:8080/health"], "60m"),
    )


def _prometheus() -> dict[str, Any]:
    return _hardened(
        IMAGES["prometheus"],
        "65534:65534",
        command=[
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=15d",
            "--storage.tsdb.retention.size=2GB",
        ],
        volumes=["./config/prometheus:/etc/prometheus:ro", "prometheus:/prometheus"],
        networks=["metrics"],
        stop_grace_period="1m",
        healthcheck=_checked(["CMD", "wget", "--quiet", "--spider", "http://127.0.0.1:9090/-/healthy"], "30s"),
    )


def _grafana() -> dict[str, Any]:
    """Dashboards to look at, and nobody to log in as."""
    return _hardened(
        IMAGES["grafana"],
        "472:0",
        ports=["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
        environment={
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_AUTH_BASIC_ENABLED": "false",
            "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
            "GF_SERVER_DOMAIN": "localhost",
            "GF_SERVER_ENFORCE_DOMAIN": "true",
            "GF_SERVER_ROOT_URL": "http://localhost:${GRAFANA_PORT:-3000}/",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
        },
        volumes=[
            "./config/grafana/provisioning:/etc/grafana/provisioning:ro",
            "./config/grafana/dashboards:/etc/grafana/dashboards:ro",
            "grafana:/var/lib/grafana",
        ],
        networks=["metrics"],
        depends_on={"prometheus": {"condition": "service_healthy"}},
        stop_grace_period="30s",
        healthcheck=_checked(["CMD", "wget", "--quiet", "--spider", "http://localhost:3000/api/health"], "60s"),
    )


def _health(python: str, port: int, path: str, start: str) -> Mapping[str, Any]:
    asked = f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}, timeout=4); c.request('GET', '{path}')"
    return _checked(["CMD", python, "-c", f"{asked}; raise SystemExit(c.getresponse().status != 200)"], start)


def _checked(test: list[str], start: str) -> Mapping[str, Any]:
    """`start` = how long it may take until it is up: servers download and read weights in that time."""
    return {"test": test, "interval": "10s", "timeout": "5s", "start_period": start}
