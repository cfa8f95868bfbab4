"""The images, built without a network, and the embedded fleet of docker-compose.yml in podman.

`make test` leaves this folder out: scripts/containers prepares what it needs (`make test-containers`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.fleet import free_ports

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("GATEWAY_TEST_CONTAINERS", "")
WHEELS = os.environ.get("GATEWAY_TEST_WHEELS", "")
PROJECT = "gateway-test"
IMAGES = {"gateway": "localhost/gemma-gateway:test", "demo": "localhost/gemma-gateway-demo:test"}
SERVICES = ("init", "gateway-demo", "demo-text", "demo-ears", "demo-eyes", "demo-traffic")
"""What is brought up: all of the profile but Prometheus and Grafana, whose images can't be built here."""

collect_ignore = [] if BASE else ["test_image.py", "test_fleet.py"]


def run(*argv: str, env: Mapping[str, str] | None = None, limit: float = 300.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def said(*argv: str, env: Mapping[str, str] | None = None, limit: float = 300.0) -> str:
    """What a program prints; it must not fail."""
    done = run(*argv, env=env, limit=limit)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Looks twice a second, for so long at most."""
    for _ in range(int(seconds * 2)):
        if true():
            return
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@pytest.fixture(scope="session")
def images() -> Mapping[str, str]:
    """Built from the Dockerfile with no network at all, from wheels."""
    for target, name in IMAGES.items():
        options = ["--quiet", "--format", "docker", "--network", "none", "--target", target, "--tag", name]
        options += ["--build-arg", f"BASE={BASE}", "--build-arg", "PIP_NO_INDEX=1"]
        said("podman", "build", *options, "--build-context", f"wheels={WHEELS}", ".", limit=500.0)
    return IMAGES


@dataclass
class Fleet:
    """`env` = what podman-compose and `gateway compose` are to be run with."""

    port: int
    env: Mapping[str, str]
    key: str
    key_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def podman(self, *argv: str) -> str:
        return said("podman", *argv)

    def container(self, service: str) -> str:
        return f"{PROJECT}_{service}_1"

    def inside(self, service: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return run("podman", "exec", self.container(service), *argv)

    def calls(self) -> tuple[int, dict[str, str]]:
        """One call per modality through the published port: the exit code, and what was said about each."""
        argv = ("demo", "traffic", "--url", self.url, "--key-file", str(self.key_file), "--rounds", "1")
        done = run(sys.executable, "-m", "gateway", *argv)
        return done.returncode, dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.fixture(scope="session")
def settings(images: Mapping[str, str]) -> dict[str, str]:
    (port,) = free_ports(1)
    return {
        "COMPOSE_PROFILES": "cpu-demo",
        "COMPOSE_PROJECT_NAME": PROJECT,
        "GATEWAY_IMAGE": images["gateway"],
        "GATEWAY_DEMO_IMAGE": images["demo"],
        "GATEWAY_PORT": str(port),
        "HOST_GATEWAY": "10.89.0.1",
    }


@pytest.fixture(scope="session")
def fleet(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    sys.stderr.write("containers: Prometheus and Grafana are left out: their images can't be built here\n")
    down = ("podman-compose", "down", "--volumes")
    run(*down, env=settings)  # of a run that was killed
    key_file = tmp_path_factory.mktemp("key") / "api-key"
    made = Fleet(int(settings["GATEWAY_PORT"]), settings, "", key_file)
    try:
        said("podman-compose", "up", "--detach", "--no-build", *SERVICES, env=settings)
        made.key = said("podman", "exec", made.container("gateway-demo"), "cat", "/secrets/api-key")
        key_file.write_text(made.key)
        # podman 4.3 can't wait for health (and here there is no systemd that would look): we do
        until(lambda: made.calls()[0] == 0, 60, "four modalities are answered")
        yield made
    finally:
        run(*down, env=settings)
