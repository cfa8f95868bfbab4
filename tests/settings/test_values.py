# ruff: noqa: E501 (tables)
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import values
from gateway.settings.values import one_of, read_flag, read_list, read_seconds, read_size


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(30, 30), (0.5, 0.5), ("30", 30), ("30s", 30), ("2m", 120), ("2 min", 120), ("1.5h", 5400), ("7d", 604800), ("20ms", 0.02)],
)  # fmt: skip
def test_times(given: object, seconds: float) -> None:
    assert read_seconds(given) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "0s", "-1s", float("inf"), float("nan"), "inf", "never", "off", "8d", 1e300, True, False, None, "", "s",
     "30 apples", [30], {"s": 30}, "1e3"],
)  # fmt: skip
def test_nothing_waits_without_end_or_not_at_all(value: object) -> None:
    with pytest.raises(ValueError):
        read_seconds(value)


@given(st.integers(1, 604800))
def test_a_number_of_seconds_is_the_same_in_every_spelling(n: int) -> None:
    assert read_seconds(n) == read_seconds(str(n)) == read_seconds(f"{n}s") == float(n)


@pytest.mark.parametrize(
    ("given", "octets"),
    [(1, 1), (65536, 65536), ("65536", 65536), ("64KiB", 65536), ("64 kib", 65536), ("64k", 65536), ("64kB", 64000),
     ("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("10MB", 10_000_000), ("10M", 10 << 20), ("512B", 512)],
)  # fmt: skip
def test_sizes(given: object, octets: int) -> None:
    assert read_size(given) == octets


@pytest.mark.parametrize(
    "value", [0, -5, "0", "0KiB", "-1", True, None, "", "many", "64 TiB", "9999999GiB", float("inf"), float("nan"), [1]]
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError):
        read_size(value)


@pytest.mark.parametrize(
    ("given", "flag"), [(True, True), (False, False), ("on", True), ("Yes", True), ("off", False), ("no", False)]
)
def test_flags(given: object, flag: bool) -> None:
    assert read_flag(given) is flag


BAD: list[tuple[Callable[[object], object], list[object]]] = [
    (read_flag, [1, 0, "true", "", None, []]),
    (values.read_count, [0, -1, 1.0, True, "3", None, 10**10]),
    (values.read_whole, [-1, 1.0, False, "0", None, 10**10]),
    (values.read_positive, [0, -0.1, True, "1", None, float("inf"), float("nan")]),
    (values.read_text, ["", " a", "a\nb", 5, True, None, []]),
    (values.read_public_name, ["", "a b", "a*", "x" * 257, "ü", 5, "a\r\nX: y", "a?b", "#"]),
    (values.read_alias, ["", "a b", "x" * 257, 5]),
    (values.read_backend_name, ["", "-a", "a/b", "a b", "x" * 65, "ü", 5]),
    (values.read_mime, ["wav", "audio/", "/wav", "a b/c", 5]),
    (values.read_variable, ["", "1A", "sk-123", "A B", "$KEY", 5, None]),
    (values.read_origin, ["example.com", "https://a/path", "https://", "https://u@a", 5]),
    (values.read_media_host, ["https://a", "a/b", "a:b", "", 5]),
    (values.read_path, ["", 5, None, "a\0b"]),
    (read_list, [{"a": 1}]),
    (one_of("a", "b"), ["c", "", 5, None, False]),
]


@pytest.mark.parametrize(("read", "value"), [(read, value) for read, bad in BAD for value in bad])
def test_what_is_refused(read: Callable[[object], object], value: object) -> None:
    with pytest.raises(ValueError):
        read(value)


def test_what_is_taken() -> None:
    assert values.read_public_name("google/gemma-3-27b-it:free") == "google/gemma-3-27b-it:free"
    assert values.read_alias("claude-*[1m]") == "claude-*[1m]"
    assert values.read_mime("Audio/WAV") == "audio/wav"
    assert values.read_origin("https://Chat.example.com:8443") == "https://chat.example.com:8443"
    assert values.read_origin("*") == "*"
    assert values.read_media_host("[fd00::1]:80") == "[fd00::1]:80"
    assert values.read_whole(0) == 0
    assert one_of("off", "fix")("OFF") == "off"
    assert read_list("a") == ("a",)
    assert read_list(["a", "b"]) == ("a", "b")


def test_what_looks_like_a_secret_is_not_shown() -> None:
    with pytest.raises(ValueError) as caught:
        values.read_variable("sk-very-secret")
    assert "very" not in str(caught.value)


def test_a_choice_suggests_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"unknown value 'obserf' \(choices: fix, observe, off; did you mean observe\?\)"
    ):
        one_of("off", "observe", "fix")("obserf")
