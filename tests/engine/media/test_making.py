"""What is made of a request's parts; most of it is seen in test_stage, which has the means for it."""

from __future__ import annotations

from gateway.engine.media.making import stamp


def test_stamps() -> None:
    assert [stamp(s) for s in (0.0, 59.99, 60.0, 75.4, 3600.0, -1.0)] == ["00:00", "00:59", "01:00", "01:15", "60:00",
                                                                          "00:00"]  # fmt: skip
