"""What is written is a compose file and a configuration, and keeps what the repository's own file keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.compose.choice import Choice, choose
from gateway.compose.document import Place, compose_text, config_text
from gateway.compose.hardware import Gpu, Hardware
from gateway.settings import parse, refuse_unbuilt
from tests.compose.schema import problems
from tests.compose.test_file import SERVICES

CHOICES = {
    "cpu": choose(Hardware(64.0)),
    "small gpu": choose(Hardware(64.0, (Gpu("RTX 3050", 8.0, (8, 6)),))),
    "gpu": choose(Hardware(64.0, (Gpu("RTX 4090", 24.0, (8, 9)),))),
    "two blackwells": choose(Hardware(64.0, (Gpu("RTX 5090", 31.8, (12, 0)),) * 2)),
    "mac": choose(Hardware(64.0, apple="Apple M3")),
}
PLACES = [Place(True, True), Place(False, False)]


def written(choice: Choice, place: Place) -> dict[str, dict[str, Any]]:
    text = compose_text(choice, place, "x.config.yaml", "# found\n")
    assert text.startswith("# found\n\nname: gemma-gateway\n")
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", list(CHOICES))
def test_it_is_a_compose_file_and_as_closed_as_the_repository_s(name: str, place: Place) -> None:
    assert problems(compose_text(CHOICES[name], place, "x.config.yaml", "")) == []
    services = written(CHOICES[name], place)
    assert ("prometheus" in services) is place.monitoring
    for service_name, service in services.items():
        assert int(service["user"].split(":")[0]) > 0
        for key in ("read_only", "cap_drop", "security_opt", "init"):
            assert service[key] == SERVICES["gateway"][key]
        published = [p for p in service.get("ports", ()) if not p.startswith("127.0.0.1:")]
        assert published == []
        assert service_name in ("gateway", "grafana") or "ports" not in service
        assert service_name == "init" or service["healthcheck"]["test"]


@pytest.mark.parametrize("name", list(CHOICES))
def test_the_configuration_knows_the_servers_beside_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("k" * 30)
    text = config_text(CHOICES[name], "# found\n").replace("/secrets/api-key", str(tmp_path / "api-key"))
    settings = parse(text, {})
    refuse_unbuilt(settings)
    services = written(CHOICES[name], PLACES[0])
    for backend in settings.backends.values():
        assert backend.url is not None
        host = backend.url.split("//")[1].split(":")[0]
        assert host in services or host == "host.docker.internal"


def test_two_blackwells_share_the_weights() -> None:
    services = written(CHOICES["two blackwells"], PLACES[0])
    command = services["vllm"]["command"]
    assert command[:3] == ["nvidia/Gemma-4-31B-IT-NVFP4", "--tensor-parallel-size", "2"]  # what `vllm serve` takes
    assert services["vllm"]["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 2
    assert '{"image": 4, "video": 1}' in command
    assert "ears" in services
    config = yaml.safe_load(config_text(CHOICES["two blackwells"], ""))
    assert config["backends"]["vllm"]["hardware"] == "blackwell"
    assert config["backends"]["vllm"]["quantization"] == "nvfp4"


def test_a_model_that_hears_is_asked_to() -> None:
    assert '{"image": 4, "video": 1, "audio": 1}' in written(CHOICES["gpu"], PLACES[0])["vllm"]["command"]


def test_the_flags_of_vllm_are_those_of_the_repository_s_file() -> None:
    assert written(CHOICES["gpu"], PLACES[0])["vllm"]["entrypoint"] == SERVICES["vllm"]["entrypoint"]
    own = {f for f in SERVICES["vllm"]["command"] if f.startswith("--")}
    assert {f for f in written(CHOICES["gpu"], PLACES[0])["vllm"]["command"] if f.startswith("--")} == own
    own = {f for f in SERVICES["vllm-blackwell"]["command"] if f.startswith("--")}
    assert {f for f in written(CHOICES["two blackwells"], PLACES[0])["vllm"]["command"] if f.startswith("--")} == own


def test_the_same_services_of_both_files_are_the_same() -> None:
    services = written(CHOICES["cpu"], PLACES[0])
    for name in ("prometheus", "grafana"):
        own = {k: v for k, v in SERVICES[name].items() if k not in ("logging", "image")}
        assert {k: v for k, v in services[name].items() if k != "image"} == own
    for key in ("healthcheck", "environment", "user", "stop_grace_period"):
        assert services["llamacpp"][key] == SERVICES["llamacpp"][key]
    assert services["gateway"]["healthcheck"] == SERVICES["gateway"]["healthcheck"]


def test_a_small_gpu_gets_the_image_that_can_use_it() -> None:
    service = written(CHOICES["small gpu"], PLACES[0])["llamacpp"]
    assert service["image"].endswith(":server-cuda")
    assert "--n-gpu-layers" in service["command"]
    assert "deploy" not in written(CHOICES["cpu"], PLACES[0])["llamacpp"]
