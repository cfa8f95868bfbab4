"""What the engine knows of a request that a server's error does not say, and when trying is over."""

from __future__ import annotations

import pytest

from gateway.canonical.needs import MediaNeed, Needs
from gateway.engine.dispatch import MAX_ATTEMPTS, Tries, heaviest, only_medium, refused_with
from gateway.errors import (
    BadRequest,
    DeadlinePassed,
    GatewayError,
    NoTargetFits,
    Overloaded,
    PartRefused,
    UpstreamError,
    UpstreamRefused,
)


def needing(*modalities: str) -> Needs:
    media = [MediaNeed(f"part[{i}]", m, "", "base64", 1) for i, m in enumerate(modalities)]
    return Needs(media=media, modalities=frozenset(modalities))


@pytest.mark.parametrize(
    ("media", "heavy"),
    [((), "text"), (("image",), "image"), (("audio", "image"), "audio"), (("image", "video", "audio"), "video"),
     (("document", "image"), "document")],
)  # fmt: skip
def test_a_request_counts_as_the_heaviest_that_is_in_it(media: tuple[str, ...], heavy: str):
    assert heaviest(needing(*media)) == heavy


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (PartRefused("no", param="part[1]"), ("audio",)),
        (BadRequest("broken", param="part[0]"), ("image",)),
        (NoTargetFits("none"), ("image", "audio")),
        (BadRequest("n is too large", param="n"), ()),
        (Overloaded("busy"), ()),
    ],
)
def test_media_are_refused_by_name_or_all_of_them(error: GatewayError, refused: tuple[str, ...]):
    assert refused_with(needing("image", "audio"), error) == refused
    assert refused_with(Needs(), error) == ()


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
