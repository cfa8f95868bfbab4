"""The compose file of the repository: what it promises to whoever starts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.compose.document import IMAGES
from gateway.compose.up import active, filled
from gateway.settings import parse, refuse_unbuilt
from tests.compose.schema import problems

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONE_SHOT = {"init", "ollama-pull"}
WATCHING = {"init", "prometheus", "grafana"}

STARTS = {
    "cpu": {"gateway", "llamacpp"},
    "cpu-demo": {"gateway-demo", "demo-text", "demo-ears", "demo-eyes", "demo-traffic"},
    "vllm": {"gateway-vllm", "vllm"},
    "vllm-blackwell": {"gateway-blackwell", "vllm-blackwell", "llamacpp"},
    "ollama": {"gateway-ollama", "ollama", "ollama-pull"},
}


def test_it_is_a_compose_file() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize("profile", list(STARTS))
def test_what_a_profile_starts(profile: str) -> None:
    assert set(active({"services": SERVICES}, profile)) == STARTS[profile] | WATCHING


def test_without_a_word_it_is_the_cpu() -> None:
    assert "COMPOSE_PROFILES=cpu\n" in (ROOT / ".env").read_text(encoding="utf-8")
    assert "ggml-org/gemma-4-E2B-it-GGUF" in str(SERVICES["llamacpp"]["command"])


def test_only_the_gateway_and_grafana_are_published_and_on_this_machine_only() -> None:
    for name, service in SERVICES.items():
        ports = [filled(p, {}) for p in service.get("ports", ())]
        if name.startswith("gateway"):
            assert ports == ["127.0.0.1:4000:4000"]
        else:
            assert ports == (["127.0.0.1:3000:3000"] if name == "grafana" else [])


@pytest.mark.parametrize("name", list(SERVICES))
def test_nothing_runs_as_root_or_writes_where_it_should_not(name: str) -> None:
    service = SERVICES[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(t.startswith("/tmp") for t in service["tmpfs"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_what_stays_is_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service
    assert service["healthcheck"].get("test") or name == "demo-traffic"


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_image_has_a_name_of_its_own_to_be_set_and_a_tag(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image.startswith("${")
    _, _, tag = filled(image, {}).rpartition(":")
    assert tag
    assert tag != "latest"


def test_the_images_are_those_of_written_files() -> None:
    here = {filled(s["image"], {}) for s in SERVICES.values()}
    assert set(IMAGES.values()) - here == {IMAGES["llamacpp-cuda"]}


def test_the_model_servers_are_out_of_reach_of_prometheus_and_grafana() -> None:
    for name in ("prometheus", "grafana"):
        assert SERVICES[name]["networks"] == ["metrics"]
    for name in ("llamacpp", "vllm", "vllm-blackwell", "ollama", "demo-eyes"):
        assert SERVICES[name]["networks"] == ["fleet"]


def test_the_gateways_start_after_the_key_and_reach_this_machine() -> None:
    for name in (n for n in SERVICES if n.startswith("gateway")):
        service = SERVICES[name]
        assert service["depends_on"]["init"] == {"condition": "service_completed_successfully"}
        assert filled(service["extra_hosts"][0], {}) == "host.docker.internal:host-gateway"
        assert "secrets:/secrets:ro" in service["volumes"]
        assert "gateway" in service["networks"]["metrics"]["aliases"]


@pytest.mark.parametrize("name", [n for n in SERVICES if n.startswith("gateway")])
def test_each_gateway_s_configuration_is_good_and_knows_the_servers_of_its_profile(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    mounted = filled(service["volumes"][0], {}).split(":")[0]
    (tmp_path / "api-key").write_text("k" * 30)
    text = (ROOT / mounted).read_text(encoding="utf-8").replace("/secrets/api-key", str(tmp_path / "api-key"))
    settings = parse(text, {})
    refuse_unbuilt(settings)
    (profile,) = service["profiles"]
    beside = active({"services": SERVICES}, profile)
    for backend in settings.backends.values():
        assert backend.url is not None
        host, port = backend.url.split("//")[1].split(":")
        server = beside[host]
        listens = {"llamacpp": "8080", "ollama": "11434"}.get(host, "8000" if "vllm" in host else "8080")
        assert port.rstrip("/") == listens
        assert server["networks"] == ["fleet"]


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = filled(volume, {}).split(":")[0]
            if source.startswith("."):
                assert os.path.exists(ROOT / source), source  # noqa: PTH110
