import pytest

from gateway.canonical.facts import Facts, Target
from gateway.routing.candidate import Candidate
from gateway.routing.findings import findings

HINTS = {"image": "start it with --mmproj FILE", "tools": "give it a parser", "context": "raise -c"}
GEMMA = {"family": "gemma4", "image": True, "audio": True, "video": True, "tools": True, "context": 32768}


def candidate(state: str = "ready", allow: frozenset[str] = frozenset(), **facts) -> Candidate:
    f = Facts(**(GEMMA | {"variant": "e4b"} | facts))
    return Candidate(Target("b", "k", "m"), f, state=state, hints=HINTS, allow=allow)  # type: ignore[arg-type]


ROWS = [
    ({}, []),
    ({"image": False}, ["no-image"]),
    ({"image": None}, []),
    ({"audio": False}, ["no-audio"]),
    ({"audio": False, "variant": "31b"}, []),
    ({"video": False, "tools": False}, ["no-video", "no-tools"]),
    ({"tools": False, "operations": frozenset({"completion"})}, []),
    ({"image": False, "operations": frozenset()}, []),
    ({"family": None, "image": False}, []),
    ({"context": 4096}, ["small-context"]),
    ({"context": 4096, "fixture": True}, []),
    ({"quantization": "nvfp4"}, ["nvfp4-hardware"]),
    ({"quantization": "nvfp4", "hardware": "hopper"}, ["nvfp4-hardware"]),
    ({"quantization": "nvfp4", "hardware": "blackwell"}, []),
    ({"quantization": "mlx-nvfp4"}, []),
    ({"quantization": "w4a16", "variant": "26b-a4b", "audio": False}, ["moe-quantization"]),
    ({"quantization": "q4_k_m", "variant": "26b-a4b", "audio": False}, ["moe-quantization"]),
    ({"quantization": "q4_0", "variant": "26b-a4b", "audio": False}, []),
    ({"quantization": "q4_k_m"}, []),
]


@pytest.mark.parametrize(("facts", "codes"), ROWS)
def test_facts(facts: dict, codes: list[str]) -> None:
    found = findings(candidate(**facts))
    assert [f.code for f in found] == codes
    assert all(f.model == "m" and f.text for f in found)


def test_the_fix_is_the_flag() -> None:
    (found,) = findings(candidate(image=False))
    assert found.fix == "start it with --mmproj FILE"
    (found,) = findings(candidate(quantization="nvfp4", hardware="hopper"))
    assert "allow: [nvfp4-weight-only]" in found.fix
    (found,) = findings(candidate(quantization="nvfp4", allow=frozenset({"nvfp4-weight-only"})))
    assert found.fix == ""


@pytest.mark.parametrize(
    ("state", "codes"),
    [
        ("down", ["unreachable"]),
        ("unprobed", ["unreachable"]),
        ("mismatch", ["wrong-model"]),
        ("loading", ["loading", "no-image"]),
        ("cold", ["no-image"]),
        ("ready", ["no-image"]),
    ],
)
def test_states(state: str, codes: list[str]) -> None:
    assert [f.code for f in findings(candidate(state, image=False))] == codes


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost/x", "http://[::1]:8000", "http://127.0.0.1"]
)
def test_the_loopback_of_a_container(url: str) -> None:
    (found,) = findings(candidate("down"), url, in_container=True)
    assert "--add-host host.docker.internal:host-gateway" in found.fix
    for other, inside in ((url, False), ("http://gpu1:8000", True), ("http://127.0.0.1.example.com", True)):
        (found,) = findings(candidate("down"), other, in_container=inside)
        assert "host.docker.internal" not in found.fix and "`url`" in found.fix
