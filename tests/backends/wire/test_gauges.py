import pytest

from gateway.backends import Reply
from gateway.backends.wire.gauges import average, gauge
from tests.backends.recorded import reply


def text(body: str) -> Reply:
    return Reply(200, body=body.encode())


def test_recorded_metrics() -> None:
    assert gauge(reply("llamacpp/metrics"), "llamacpp:requests_processing") == 0
    assert gauge(reply("llamacpp/metrics"), "llamacpp:prompt_tokens_total") == 2452
    assert gauge(reply("vllm/metrics"), "vllm:prompt_tokens_total") == 3060
    assert gauge(reply("llamacpp/router_metrics"), "llamacpp:requests_processing") is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('m 1\nm{a="b"} 2\nmm 4\n# m 8\n', 3.0),
        ('m{a="x y} 9"} 2.5e0 1700000000\n', 2.5),
        ("m NaN\nm +Inf\n", None),
        ("m x\n", None),
        ("", None),
        ("new 3\nm 1\n", 3.0),
    ],
)
def test_lines(body: str, expected: float | None) -> None:
    assert gauge(text(body), "new", "m") == expected


def test_average() -> None:
    assert average(text('m{e="0"} 0.2\nm{e="1"} 0.4\nm{e="2"} NaN\n'), "m") == pytest.approx(0.3)
    assert average(text(""), "m") is None
    assert gauge(Reply(501, body=b"m 1"), "m") is None
