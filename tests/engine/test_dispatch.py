"""What the engine knows of a request that a server's error does not say, and when trying is over."""

from __future__ import annotations

import pytest

from gateway.canonical.needs import MediaNeed, Needs
from gateway.engine.dispatch import MAX_ATTEMPTS, Tries, only_medium
from gateway.errors import DeadlinePassed, GatewayError, Overloaded, UpstreamError, UpstreamRefused


def needing(*modalities: str) -> Needs:
    return Needs(media=[MediaNeed(f"part[{i}]", m, "", "base64", 1) for i, m in enumerate(modalities)])


@pytest.mark.parametrize(
    ("media", "modality", "place"),
    [
        ((), "", None),
        (("image",), "", "part[0]"),
        (("image",), "image", "part[0]"),
        (("image",), "audio", None),
        (("audio", "image"), "", None),
        (("audio", "image"), "image", "part[1]"),
        (("image", "audio", "image"), "image", None),
    ],
)
def test_a_medium_is_named_where_it_can_only_be_the_one(media: tuple[str, ...], modality: str, place: str | None):
    assert only_medium(needing(*media), modality) == place


@pytest.mark.parametrize(
    ("errors", "over"),
    [
        ([None], True),
        ([UpstreamRefused("no")], True),
        ([DeadlinePassed("late")], True),
        ([Overloaded("busy")] * (MAX_ATTEMPTS - 1), False),
        ([Overloaded("busy")] * MAX_ATTEMPTS, True),
        ([UpstreamError("oh")], False),
        ([UpstreamError("oh"), UpstreamError("oh")], True),
        ([UpstreamError("oh"), Overloaded("busy")], False),
    ],
    ids=str,
)
def test_when_trying_is_over(errors: list[GatewayError | None], over: bool):
    tries = Tries(10.0)
    assert [tries.over(e, 5.0) for e in errors][-1] is over


def test_nothing_is_tried_after_the_deadline():
    assert Tries(10.0).over(Overloaded("busy"), 10.0)
