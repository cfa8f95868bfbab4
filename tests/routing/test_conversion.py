from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.facts import Facts
from gateway.canonical.needs import MediaNeed
from gateway.routing.candidate import Candidate
from gateway.routing.conversion import NOTHING, Able, Way, seconds_of, ways_to
from gateway.routing.fit import likely
from gateway.routing.policy import Policy, decide
from tests.routing.fleet import asks, medium, target

ABLE = Able(sound=True, pictures=True, fetch=True)
PLAIN = frozenset({"image/png", "image/jpeg"})
SEES: dict[str, Any] = {"image": True, "image_formats": PLAIN}
HEARS: dict[str, Any] = {"audio": True, "audio_formats": frozenset({"audio/wav", "audio/mpeg"})}
FILMS: dict[str, Any] = {"video": True, "video_formats": frozenset({"video/mp4"}), "video_sound": False}


def film(sound: bool | None = True, mime: str = "video/mp4", **more: Any) -> MediaNeed:
    return replace(medium("video", mime), sound=sound, **more)


def way(m: MediaNeed, able: Able = ABLE, **facts: Any) -> Way:
    [found] = ways_to([m], Facts(**facts), able)
    return found


def test_pictures() -> None:
    assert way(medium("image", "image/png"), **SEES).native
    assert way(medium("image", "image/jpg"), **SEES).native
    assert way(medium("image", "image/webp"), **SEES).make == "picture"
    assert way(medium("image", "image/webp"), image=True).native, "what it takes is not known"
    assert way(medium("image", "image/heic"), **SEES).make == "picture"
    jxl = way(medium("image", "image/jxl"), **SEES).lack
    assert jxl == ("image_format", "image/jxl at messages[0].content[0] can't be converted: send it as PNG or JPEG")
    assert way(medium("image", "image/svg+xml"), **SEES).lack
    lack = way(medium("image", "image/webp"), NOTHING, **SEES).lack
    assert lack is not None and "gemma-gateway[media]" in lack[1]


def test_sounds() -> None:
    assert way(medium("audio", "audio/mp3"), **HEARS).native
    for mime in ("audio/ogg", "audio/webm", "audio/mp4", "audio/flac", "audio/opus"):
        assert way(medium("audio", mime), **HEARS).make == "sound"
    assert way(medium("audio", "audio/midi"), **HEARS).lack
    assert way(replace(medium("audio", "audio/wav"), cut=True), **HEARS).make == "sound"
    assert way(replace(medium("audio", "audio/wav"), cut=True), cuts=True, **HEARS).native
    assert way(replace(medium("audio", "audio/ogg"), seconds=5000.0), **HEARS).lack


def test_long_sounds_are_cut_for_models_that_hear_thirty_seconds() -> None:
    long = replace(medium("audio", "audio/wav"), seconds=70.0)
    assert way(long, **HEARS).native
    assert way(long, family="gemma4", **HEARS).make == "sound"
    assert way(long, family="gemma4", splits_sound=True, **HEARS).native
    assert way(replace(long, seconds=30.2), family="gemma4", **HEARS).native
    assert way(long, NOTHING, family="gemma4", **HEARS).native
    hours = replace(long, seconds=1638.0)
    lack = way(hours, family="gemma4", **HEARS).lack
    assert lack is not None and "1638 s long" in lack[1], "told from its header, before anything is decoded"


def test_a_wav_that_is_fine_is_not_touched() -> None:
    """Also where nothing is known of the server: only a model that hears less at once makes a difference."""
    fine = replace(medium("audio", "audio/wav"), seconds=29.0)
    assert way(fine, audio=True).native and way(fine, audio=True, family="gemma4").native
    assert way(replace(fine, seconds=1638.0), audio=True).native, "a model of which nothing is known"
    assert way(replace(fine, seconds=1638.0), audio=True, family="gemma4", splits_sound=True).native
    assert way(replace(fine, seconds=70.0), audio=True, family="gemma4").make == "sound"


def test_videos_and_their_sound() -> None:
    whole = way(film(), **FILMS, **HEARS)
    assert (whole.make, whole.track) == ("", "clip")
    assert way(film(), **FILMS).track == "dropped"
    assert way(film(sound=False), **FILMS).native
    assert way(film(sound=None), **FILMS).track == "unknown"
    assert way(film(), **{**FILMS, "video_sound": None}).native
    frames = way(film(), **SEES, **HEARS)
    assert (frames.make, frames.frames, frames.track) == ("frames", 32, "clip")
    assert way(film(frames=7), **SEES).frames == 7
    assert way(film(mime="video/webm"), **FILMS, **SEES).make == "frames"
    assert way(film(mime="video/webm"), **FILMS).lack == (
        "video_format",
        "video/webm at messages[0].content[0] is not among the videos it takes",
    )
    assert way(film(), audio=True).native, "what it takes of videos is not known, and said elsewhere"
    nothing = way(film(), NOTHING, **SEES)
    assert nothing.lack is not None and nothing.lack[0] == "video"


def test_limits() -> None:
    two = [medium("image", "image/png", at=0), replace(film(), path="b"), replace(film(), path="c")]
    ways = ways_to(two, Facts(image_limit=9, **SEES), ABLE)
    assert [w.frames for w in ways] == [0, 4, 4]
    ways = ways_to(two, Facts(image_limit=2, **SEES), ABLE)
    assert [w.lack and w.lack[0] for w in ways] == [None, "image_limit", "image_limit"]
    heard = [medium("audio", "audio/wav"), replace(film(), path="b")]
    ways = ways_to(heard, Facts(audio_limit=1, **FILMS, **HEARS), ABLE)
    assert [w.track for w in ways] == ["", "dropped"]
    long = film(seconds=70.0)
    for limit, track in ((2, "dropped"), (3, "clip")):
        [one] = ways_to([long], Facts(family="gemma4", audio_limit=limit, **FILMS, **HEARS), ABLE)
        assert one.track == track, "its sound is three clips"
    assert way(film(seconds=1300.0), family="gemma4", **FILMS, **HEARS).track == "dropped", "longer than is converted"


def test_what_is_elsewhere() -> None:
    url = replace(medium("image", "image/png", "url"), url="https://h/a.png")
    assert way(url, **SEES).fetch
    assert way(replace(url, mime=""), **SEES).lack is None
    off = way(url, replace(ABLE, fetch=False), **SEES).lack
    assert off is not None and off[0] == "url"
    tube = replace(film(mime="video/mp4"), form="url", url="https://www.youtube.com/watch?v=1")
    assert way(tube, replace(ABLE, fetch=False), own_uris=frozenset({"https://www.youtube.com/"}), video=True).native


def test_words_and_times() -> None:
    ways = [way(medium("audio", "audio/ogg"), **HEARS), way(film(seconds=60.0), **SEES, **HEARS)]
    assert [w.words() for w in ways] == ["wav16k", "frames:32,sound=wav16k"]
    assert way(film(), **FILMS).words() == "sound=dropped"
    assert 1.0 < seconds_of(ways) < 30.0
    assert seconds_of([way(film(), **FILMS)]) == 0.0
    needs = asks(film(seconds=60.0))
    assert likely(needs, [way(needs.media[0], **SEES)]) < likely(needs)


# ---- which target ----------------------------------------------------------------------------------------------------


def chosen(needs: Any, *fleet: Candidate, able: Able = ABLE, auto: bool = False) -> list[str]:
    found = decide(needs, fleet, model="m", auto=auto, dialect="openai", policy=Policy(), now=0.0, able=able)
    return [c.target.backend for c in found.order]


def test_native_before_converted() -> None:
    webp = asks(medium("image", "image/webp"))
    takes = target("takes", image=True, image_formats=PLAIN | {"image/webp"}, in_flight=2)
    assert chosen(webp, target("converts", **SEES), takes) == ["takes", "converts"]
    assert chosen(webp, target("converts", **SEES), takes, able=NOTHING) == ["takes"]
    large = target("large", size=31.0, tier=0, **SEES)
    assert chosen(webp, large, replace(takes, tier=3), auto=True) == ["takes", "large"]


def test_a_video_goes_where_least_is_lost() -> None:
    deaf = target("deaf", "vllm", variant="31b", size=31.0, tier=0, **FILMS)
    hears = target("hears", "vllm", variant="e4b", size=8.0, tier=0, **FILMS, **HEARS)
    frames = target("frames", "ollama", **SEES, **HEARS)
    blind = target("blind", "mlx_lm")
    assert chosen(asks(film()), deaf, hears, frames, blind, auto=True) == ["hears", "deaf", "frames"]
    assert chosen(asks(film(sound=False)), hears, deaf, auto=True) == ["deaf", "hears"]
    assert chosen(asks(film()), frames, blind) == ["frames"]
    other = target("other", "keras", **FILMS)
    assert chosen(asks(film(sound=False)), frames, other) == ["other", "frames"]


def test_rules_go_before_conversions() -> None:
    ogg = asks(medium("audio", "audio/ogg"))
    native = target("native", "openai", audio=True, audio_formats=frozenset({"audio/ogg"}))
    assert chosen(ogg, native, target("llama", "llamacpp", **HEARS)) == ["llama", "native"]


media_needs = st.builds(
    lambda modality, mime, form, sound, seconds, cut: replace(
        medium(modality, mime, form), sound=sound, seconds=seconds, cut=cut, url="https://h/x" if form == "url" else ""
    ),
    st.sampled_from(["image", "audio", "video", "document"]),
    st.sampled_from(["", "image/png", "image/webp", "image/heic", "audio/wav", "audio/ogg", "video/mp4", "video/webm"]),
    st.sampled_from(["base64", "url", "file_id"]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, 1.0, 100.0, 10_000.0]),
    st.booleans(),
)
maybe = st.sampled_from([None, True, False])
some = st.builds(
    Facts,
    image=maybe,
    audio=maybe,
    video=maybe,
    video_sound=maybe,
    image_formats=st.sampled_from([None, PLAIN]),
    audio_formats=st.sampled_from([None, HEARS["audio_formats"]]),
    video_formats=st.sampled_from([None, FILMS["video_formats"]]),
    image_limit=st.sampled_from([None, 0, 1, 40]),
    audio_limit=st.sampled_from([None, 0, 1]),
    family=st.sampled_from([None, "gemma4"]),
)
ables = st.builds(Able, sound=st.booleans(), pictures=st.booleans(), fetch=st.booleans())


@given(st.lists(media_needs, max_size=5), some, ables)
def test_one_way_each_and_no_promise_that_cannot_be_kept(media: list[MediaNeed], facts: Facts, able: Able) -> None:
    ways = ways_to(media, facts, able)
    assert [w.medium for w in ways] == media
    for w in ways:
        if w.make == "sound" or w.track == "clip":
            assert able.sound and facts.audio
        if w.make == "picture":
            assert able.pictures and facts.image
        if w.make == "frames" and not w.lack:
            assert able.sound and facts.image and 1 <= w.frames <= 32
        if w.medium.modality == "video" and w.medium.sound and w.make == "frames":
            assert w.track in ("clip", "dropped"), "the sound is never left out in silence"
        assert w.loss >= 0 and w.seconds() >= 0


@pytest.mark.parametrize("limit", [1, 2])
def test_a_long_sound_counts_as_its_clips(limit: int) -> None:
    from gateway.routing.fit import lacks

    needs = asks(replace(medium("audio", "audio/wav"), seconds=50.0))
    c = target("a", family="gemma4", audio_limit=limit, **HEARS)
    assert bool(lacks(needs, c, ways_to(needs.media, c.facts, ABLE))) is (limit == 1)
