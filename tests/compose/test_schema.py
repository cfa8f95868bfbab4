from __future__ import annotations

import pytest

from tests.compose.schema import problems

GOOD = """
services:
  a:
    image: x:1
    read_only: true
    extra_hosts: ["host.docker.internal:${HOST_GATEWAY:-host-gateway}"]
    ports: ["127.0.0.1:${PORT:-4000}:4000"]
    command: [--size, "${SIZE:-16384}"]
    depends_on: {b: {condition: service_started}}
    networks: [inside]
    stop_grace_period: 5m15s
  b: {image: y}
networks: {inside: {}}
"""


def test_a_compose_file_passes_with_its_variables() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("read_only", "readonly", "readonly"),
        ("read_only: true", "read_only: perhaps", "boolean"),
        ("service_started", "service_up", "service_up"),
        ("5m15s", "5 parsecs", "parsecs"),
        ("networks: [inside]", "networks: [outside]", "outside"),
        ("depends_on: {b:", "depends_on: {c:", "there is no c"),
        ("b: {image: y}", "b: {image: y, profiles: [p]}", "b does not start"),
        ("services:", "services: [", "expected"),
    ],
)
def test_what_is_none_is_told(old: str, new: str, words: str) -> None:
    found = problems(GOOD.replace(old, new))
    assert found
    assert words in found[0]
