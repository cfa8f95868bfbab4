"""The image by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.containers.conftest import BASE, ROOT, run, said

CLOSED = ("--rm", "--network", "none", "--read-only", "--cap-drop", "all")


def test_it_runs_as_nobody_from_a_root_that_nobody_can_write(images: Mapping[str, str]) -> None:
    script = "id -u; touch /tmp/x && echo tmp; touch /opt/gateway/x 2>/dev/null || echo closed"
    assert said("podman", "run", *CLOSED, "--entrypoint", "sh", images["gateway"], "-c", script).split() == [
        "10001",
        "tmp",
        "closed",
    ]
    assert said("podman", "run", *CLOSED, images["gateway"], "--version")


def test_it_says_what_is_missing_and_ends(images: Mapping[str, str]) -> None:
    done = run("podman", "run", *CLOSED, images["gateway"])
    assert done.returncode == 2
    assert "auth" in done.stderr or "no backends" in done.stderr


def test_there_is_a_health_check(images: Mapping[str, str]) -> None:
    (image,) = json.loads(said("podman", "image", "inspect", images["gateway"]))
    found = image.get("Healthcheck") or image["Config"]["Healthcheck"]  # where it is depends on podman's version
    assert found["Test"][0] == "CMD"
    assert image["Config"]["User"] == "10001:10001"


def test_nothing_of_this_machine_is_in_it(images: Mapping[str, str]) -> None:
    """Neither pip and its settings nor a proxy, a certificate or a folder of wheels."""
    for name in images.values():
        (image,) = json.loads(said("podman", "image", "inspect", name))
        env = " ".join(image["Config"]["Env"]).lower()
        assert not any(word in env for word in ("proxy", "pip_", "cert", "index"))
        script = "ls /opt/gateway/bin; ls -d /wheels /pip /src 2>/dev/null; find / -xdev -name pip.conf 2>/dev/null"
        found = said("podman", "run", *CLOSED, "--entrypoint", "sh", name, "-c", f"{script}; true").split()
        assert "gateway" in found
        assert not [f for f in found if f.startswith(("/", "pip"))]


def test_it_is_small(images: Mapping[str, str]) -> None:
    """What the gateway adds to its base: a third of it is FFmpeg's libraries, which convert media."""

    def size(name: str) -> int:
        (image,) = json.loads(said("podman", "image", "inspect", name))
        return int(image["Size"])

    added = size(images["gateway"]) - size(BASE)
    assert added < 260e6, added


def test_only_what_is_named_goes_into_it() -> None:
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
