from __future__ import annotations

import pytest

from gateway.filters.json_schema.patterns import states


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("", 1, 1),
        ("abc", 3, 5),
        (r"^[A-Z]{2}\d{4}$", 8, 10),
        ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}", 26, 28),
        ("a{3,10}", 10, 12),
        ("a{3,}", 3, 5),
        ("(ab){10}", 20, 24),
        ("((a{10}){10}){10}", 1000, 1010),
        (r"[]a\]b]{5}", 5, 7),
        (r"\({3}", 3, 5),
        ("a{2", 3, 5),
        ("((", 1, 5),
        (")){3}", 1, 5),
        ("a{99999999}", 900_000, 10**8),
    ],
)
def test_states(pattern: str, least: int, most: int) -> None:
    assert least <= states(pattern) <= most
