"""`gateway compose up`: what usually goes wrong is one line, and then nothing was started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.compose.command import main
from gateway.compose.up import active, filled
from tests.compose.programs import Programs

FILE = """
services:
  init: {image: "own:local", build: .}
  gateway: {image: "own:local", build: ., ports: ["127.0.0.1:${GATEWAY_PORT:-PORT}:4000"], profiles: [cpu]}
  llamacpp: {image: "${LLAMACPP_IMAGE:-llama:server}", profiles: [cpu]}
  vllm:
    image: "vllm:1"
    profiles: [gpu]
    deploy: {resources: {reservations: {devices: [{driver: nvidia, capabilities: [gpu]}]}}}
"""


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """An engine that has nothing yet and can do everything."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("docker-compose.yml").write_text(FILE.replace("PORT}", "0}"))
    Path(".env").write_text("# the usual\nCOMPOSE_PROFILES='cpu'\n")
    made = Programs(tmp_path, monkeypatch)
    made.add("docker", 'case "$*" in "image inspect"*) exit 1;; esac')
    return made


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["up", *argv]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_images_first_and_then_all_of_it(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up"]) == 0
    doing = [c for c in programs.calls() if " pull " in c or " up " in c or " down" in c]
    assert doing == ["docker pull --quiet llama:server", "docker compose -f docker-compose.yml up -d"]
    said = capsys.readouterr().out
    assert (
        "docker compose -f docker-compose.yml down" in said
        and "\ngateway compose up: gateway: http://127.0.0.1:0\n" in said
    )
    assert "exec" not in said  # nothing here has a key


def test_where_it_is_and_how_to_read_the_key(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    volumes = "[cpu], volumes: ['secrets:/secrets:ro']}"
    Path("docker-compose.yml").write_text(FILE.replace("PORT}", "0}").replace("[cpu]}", volumes, 1))
    assert main(["up"]) == 0
    said = capsys.readouterr().out
    assert "gateway compose up: gateway: http://127.0.0.1:0\n" in said
    assert "its key:  docker compose -f docker-compose.yml exec -T gateway cat /secrets/api-key\n" in said


def test_a_port_that_is_taken(programs: Programs, capsys: pytest.CaptureFixture[str], port: int) -> None:
    Path("docker-compose.yml").write_text(FILE.replace("PORT}", f"{port}}}"))
    err = refused(capsys)
    assert err.startswith(f"gateway compose up: port {port} of 127.0.0.1 is taken by ")
    assert err.endswith(f": GATEWAY_PORT={port + 1} gateway compose up\n")
    assert not [c for c in programs.calls() if " up " in c or " pull " in c]


def test_what_runs_already_has_its_own_port(programs: Programs, port: int) -> None:
    Path("docker-compose.yml").write_text(FILE.replace("PORT}", f"{port}}}"))
    programs.add("docker", 'case "$*" in *"ps -q") echo 1234;; esac')
    assert main(["up"]) == 0


def test_an_image_that_can_t_be_had(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.add("docker", 'case "$*" in "image inspect"*|pull*) echo "no route to host" >&2; exit 1;; esac')
    assert refused(capsys) == (
        "gateway compose up: the image llama:server can't be had (no route to host); another one: "
        "LLAMACPP_IMAGE=IMAGE gateway compose up\n"
    )
    assert not [c for c in programs.calls() if " up " in c]


def test_the_gateway_s_own_image_is_to_be_built(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    """What `gateway compose` writes away from the sources names it, and no registry has it."""
    Path("docker-compose.yml").write_text("services: {gateway: {image: 'gemma-gateway:local'}}")
    programs.add("docker", 'case "$*" in "image inspect"*|pull*) echo "denied" >&2; exit 1;; esac')
    assert refused(capsys).endswith("(denied); build it: docker build -t gemma-gateway:local PATH-OF-ITS-SOURCES\n")


def test_no_gpu(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--profile", "gpu") == (
        "gateway compose up: vllm needs an NVIDIA GPU and nvidia-smi shows none: take the profile of another server, "
        "such as --profile cpu\n"
    )
    Path("own.yml").write_text(FILE[FILE.index("  vllm:") :].replace("  vllm:", "services:\n  vllm:"))
    assert refused(capsys, "-f", "own.yml", "--profile", "gpu").endswith(": gateway compose --for cpu\n")
    programs.add("nvidia-smi")
    assert main(["up", "--profile", "gpu"]) == 0


def test_what_does_not_come_up_is_taken_down_again(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.add("docker", 'case "$*" in *"up -d") exit 1;; esac')
    assert "was taken down again" in refused(capsys)
    assert programs.calls()[-1] == "docker compose -f docker-compose.yml down"


def test_what_ran_before_stays(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.add("docker", 'case "$*" in *"up -d") exit 1;; *"ps -q") echo 1234;; esac')
    refused(capsys)
    assert not [c for c in programs.calls() if c.endswith("down")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't read docker-compose.yml: No such file"),
        ("services: [", "is no YAML"),
        ("hello", "is no compose file"),
        ("services: {}", "has no service for the profile cpu"),
    ],
)
def test_a_file_that_is_none(
    programs: Programs, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    Path("docker-compose.yml").unlink()
    if text is not None:
        Path("docker-compose.yml").write_text(text)
    assert words in refused(capsys)


def test_a_profile_that_is_none(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no service for the profile gpus (choices: cpu, gpu): set it with" in refused(
        capsys, "--profile", "gpus"
    )


def test_without_an_engine(tmp_path: Path, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.add("docker", "exit 1")  # the command without the compose plugin, or no command at all
    assert "there is no `docker compose` here" in refused(capsys)
    programs.add("docker", 'case "$*" in info) exit 1;; esac')
    assert "does not answer" in refused(capsys)


def test_podman_does_as_well(programs: Programs) -> None:
    programs.add("docker", "exit 1")
    programs.add("podman")
    programs.add("podman-compose")
    assert main(["up"]) == 0
    assert programs.calls()[-1] == "podman-compose -f docker-compose.yml up -d"


def test_the_profile_reaches_the_engine(programs: Programs, tmp_path: Path) -> None:
    programs.add("docker", f'echo "$COMPOSE_PROFILES" >>"{tmp_path}/profiles"')
    programs.add("nvidia-smi")
    assert main(["up", "--profile", "gpu"]) == 0
    assert set((tmp_path / "profiles").read_text().split()) - {"cpu"} == {"gpu"}


def test_variables_and_profiles() -> None:
    assert filled("${A:-1}:${B}:${C-2}", {"A": "7"}) == "7::2"
    services = {"a": {}, "b": {"profiles": ["x"]}, "c": {"profiles": ["y"]}}
    assert set(active({"services": services}, "x")) == {"a", "b"}
    assert set(active({"services": services}, "x, y")) == {"a", "b", "c"}
    assert set(active({"services": services}, "*")) == {"a", "b", "c"}
    assert active({"services": services}, "") == {}
    assert set(active({"services": {"a": {}}}, "")) == {"a"}
