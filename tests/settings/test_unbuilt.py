"""What is not done is refused by name, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import NotBuilt, Settings, load, parse, refuse_unbuilt
from tests.settings.test_examples import CONFIG, ENV, placed


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("limits: {json_size: 1MiB}", "limits.json_size"),
        ("limits: {json_depth: 63}", "limits.json_depth"),
        ("limits: {connections: 1}", "limits.connections"),
        ("limits: {event: 2MiB}", "limits.event"),
        ("limits: {event: 1MiB, answer: 10}", "limits.answer"),
        ("limits: {error_body: 1KiB}", "limits.error_body"),
        ("log: {format: text}", "log.format"),
    ],
)
def test_every_key_that_would_have_no_effect_is_named(text: str, name: str) -> None:
    with pytest.raises(NotBuilt, match=name) as caught:
        refuse_unbuilt(parse(text, {}))
    assert caught.value.names == [name]


def test_all_are_named_at_once() -> None:
    text = "log: {format: text}\nlimits: {event: 2MiB, connections: 1}\nrepair: off\n"
    with pytest.raises(NotBuilt) as caught:
        refuse_unbuilt(parse(text, {}))
    assert caught.value.names == ["log.format", "limits.connections", "limits.event"]


@pytest.mark.parametrize(
    "text",
    [
        "limits: {body: 1MiB, messages: 1, parts: 1, images: 1, tools: 1, stop: 1, choices: 1, top_logprobs: 1}",
        "limits: {model_name: 10, in_flight: 1, memory: 1MiB, queue: 0, answer: 64MiB}",
        "repair: off",
        "runaway: stop",
        "log: {level: error, format: json}",
        "media: {remote: off}",
        "quotas: {in_flight: 1}",
        "otel: {endpoint: 'http://c:1'}",
        "admin: {listen: '127.0.0.1:4001'}",
        "cors: {origins: 'https://a.example'}",
        "state: {dir: /tmp/zz, files: 1GiB, answers: 10MiB, ttl: 1h}",
        "backends: {a: {url: 'http://a', run: {cmd: x}}}",
    ],
)
def test_what_is_done_is_not_refused(text: str) -> None:
    refuse_unbuilt(parse(text, {}))


def test_neither_are_the_defaults_and_the_examples(tmp_path: Path) -> None:
    refuse_unbuilt(Settings())
    for file in (CONFIG / "examples").glob("*.yaml"):
        refuse_unbuilt(load(placed(file, tmp_path), ENV))
