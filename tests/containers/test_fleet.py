"""docker-compose.yml, profile cpu-demo: four modalities, a server that is killed, what is closed, what can't start.

The tests stand in the order of a fleet's life: the last ones kill and stop."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.containers.conftest import BASE, PROJECT, SERVICES, Fleet, run, said, until

RUNNING = [s for s in SERVICES if s != "init"]


def up(env: dict[str, str], *argv: str) -> tuple[int, str]:
    done = run(sys.executable, "-m", "gateway", "compose", "up", *argv, env=env)
    return done.returncode, done.stderr


def containers() -> list[str]:
    return said("podman", "ps", "--all", "--filter", f"name={PROJECT}_", "--format", "{{.Names}}").split()


def test_a_port_that_is_taken_is_one_line_and_nothing_starts(settings: dict[str, str]) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        code, err = up({**settings, "GATEWAY_PORT": str(port)})
    assert (code, err.count("\n")) == (2, 1), err
    assert f"port {port} of 127.0.0.1 is taken by " in err
    assert f": GATEWAY_PORT={port + 1} gateway compose up" in err
    assert containers() == []


def test_an_image_that_can_t_be_had_is_one_line_and_nothing_starts(settings: dict[str, str]) -> None:
    """An address of this machine where nobody listens: what a machine without a network sees."""
    code, err = up({**settings, "PROMETHEUS_IMAGE": "127.0.0.1:9/prometheus:v0"})
    assert (code, err.count("\n")) == (2, 1), err
    assert "the image 127.0.0.1:9/prometheus:v0 can't be had" in err
    assert "PROMETHEUS_IMAGE=IMAGE gateway compose up" in err
    assert containers() == []


def test_without_a_gpu_vllm_is_not_started(settings: dict[str, str]) -> None:
    code, err = up(settings, "--profile", "vllm")
    assert (code, err.count("\n")) == (2, 1), err
    assert "vllm needs an NVIDIA GPU" in err
    assert containers() == []


def test_four_modalities_go_through_the_published_port(fleet: Fleet) -> None:
    code, answers = fleet.calls()
    assert code == 0, answers
    assert list(answers) == ["text", "picture", "sound", "video"]
    assert "text/SmolLM2" in answers["text"]
    assert "eyes/fixture-eyes   0=text,1=video>frames:8" in answers["video"]


def test_the_traffic_s_own_calls_show_in_the_metrics(fleet: Fleet) -> None:
    """As Prometheus asks for them: by the name `gateway`, on the network `metrics`, where no model server is."""
    script = (
        "import socket, urllib.request as u\n"
        "print(u.urlopen('http://gateway:4000/metrics', timeout=5).read().decode())\n"
        "try: socket.getaddrinfo('demo-eyes', 8080); print('REACHED')\n"
        "except OSError: pass"
    )
    told = said("podman", "run", "--rm", "--network", f"{PROJECT}_metrics", BASE, "python3", "-c", script)
    assert "gateway_requests_total" in told
    assert "REACHED" not in told
    logs = run("podman", "logs", fleet.container("demo-traffic"))
    until(lambda: "video: ok" in run("podman", "logs", fleet.container("demo-traffic")).stdout, 60, logs.stdout)


def test_the_key_is_asked_for_and_its_owner_s_alone(fleet: Fleet) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{fleet.url}/v1/models", timeout=5)
    assert refused.value.code == 401
    refused.value.close()
    assert fleet.inside("gateway-demo", "stat", "-c", "%a %u", "/secrets/api-key").stdout.split() == ["600", "10001"]
    assert fleet.key not in run("podman", "logs", fleet.container("init")).stdout


def test_only_the_gateway_is_published_and_on_this_machine_only(fleet: Fleet) -> None:
    for service in RUNNING:
        (seen,) = json.loads(fleet.podman("inspect", fleet.container(service)))
        bindings = seen["HostConfig"]["PortBindings"] or {}
        bound = {(b["HostIp"], b["HostPort"]) for found in bindings.values() for b in found or ()}
        assert bound == ({("127.0.0.1", str(fleet.port))} if service == "gateway-demo" else set())


@pytest.mark.parametrize("service", RUNNING)
def test_nobody_is_root_and_no_root_can_be_written(fleet: Fleet, service: str) -> None:
    done = fleet.inside(
        service, "sh", "-c", "id -u; touch /x 2>&1; grep CapEff /proc/1/status; grep NoNewPrivs /proc/1/status"
    )
    assert "10001" in done.stdout
    assert "Read-only file system" in done.stdout
    assert "CapEff:\t0000000000000000" in done.stdout
    assert "NoNewPrivs:\t1" in done.stdout


@pytest.mark.parametrize("service", [s for s in RUNNING if s != "demo-traffic"])
def test_the_health_check_is_one(fleet: Fleet, service: str) -> None:
    assert run("podman", "healthcheck", "run", fleet.container(service)).returncode == 0


def test_servers_on_this_machine_have_a_name(fleet: Fleet) -> None:
    asked = "import socket; print(socket.gethostbyname('host.docker.internal'))"
    assert fleet.inside("gateway-demo", "python", "-c", asked).stdout.strip() == "10.89.0.1"


def test_a_server_that_is_killed_takes_nobody_along_and_comes_back(fleet: Fleet) -> None:
    fleet.podman("kill", fleet.container("demo-eyes"))
    answers: dict[str, str] = {}

    def others_go_on() -> bool:
        """Names may not be resolved for a moment: podman's name service is told of the container that is gone."""
        answers.update(fleet.calls()[1])
        return answers["text"].startswith("ok") and answers["sound"].startswith("ok")

    until(others_go_on, 60, "the other servers answer")
    for name in ("picture", "video"):  # 502 for the one that finds it out, 503 afterwards
        assert answers[name].startswith(("NOT as expected: status 502", "NOT as expected: status 503"))
    assert fleet.inside("gateway-demo", "true").returncode == 0
    fleet.podman("start", fleet.container("demo-eyes"))
    until(lambda: fleet.calls()[0] == 0, 60, "the server is used again")


def test_the_key_stays_and_a_stopped_gateway_is_back_with_it(fleet: Fleet) -> None:
    began = time.monotonic()
    fleet.podman("stop", "--time", "60", fleet.container("gateway-demo"))
    assert time.monotonic() - began < 50  # it ends by itself, nobody has to kill it
    fleet.podman("start", fleet.container("gateway-demo"))
    until(lambda: fleet.calls()[0] == 0, 60, "the same key is good")


def test_taken_down_nothing_is_left(fleet: Fleet) -> None:
    said("podman-compose", "down", "--volumes", env=fleet.env)
    assert containers() == []
    assert PROJECT not in said("podman", "volume", "ls", "--format", "{{.Name}}")
    assert PROJECT not in said("podman", "network", "ls", "--format", "{{.Name}}")
