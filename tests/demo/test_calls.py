from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path

import pytest

from gateway.demo.calls import DemoCall, demo_calls, write_bodies
from gateway.demo.fleet import Fleet, Server

CALL = DemoCall("sound", "A WAV", {"model": "auto"}, ["ears"], "0=text,1=audio", "[fixture]")
GOOD = {"x-gateway-target": "ears/fixture-ears", "x-gateway-parts": "0=text,1=audio"}


def fleet(*names: str, video: bool = False) -> Fleet:
    return Fleet(tuple(Server(n, Path(n), n, 1) for n in names), (), video)


def test_what_can_be_pasted_survives_a_folder_with_blanks_and_quotes() -> None:
    words = shlex.split(CALL.curl("http://127.0.0.1:4000", Path("/home/o'neil/my cache")))
    assert words[:3] == ["curl", "-si", "http://127.0.0.1:4000/v1/chat/completions"]
    assert words[-2:] == ["-d", "@/home/o'neil/my cache/sound.json"]


@pytest.mark.parametrize(
    ("status", "headers", "text", "words"),
    [
        (200, GOOD, "[fixture] I heard", None),
        (503, GOOD, "", "status 503"),
        (200, GOOD | {"x-gateway-target": "eyes/x"}, "[fixture]", "it went to eyes/x, not to ears"),
        (200, {}, "[fixture]", "it went to nobody"),
        (200, GOOD | {"x-gateway-parts": "0=text"}, "[fixture]", "x-gateway-parts is 0=text, not 0=text,1=audio"),
        (200, GOOD, "Hello", "it does not say [fixture]"),
    ],
)
def test_an_answer_is_as_expected_or_the_difference_is_said(
    status: int, headers: dict[str, str], text: str, words: str | None
) -> None:
    problem = CALL.problem(status, headers, text)
    assert problem is None if words is None else words in (problem or "")


def test_without_the_text_model_text_goes_to_a_fixture() -> None:
    real, stand_in = demo_calls(fleet("text", "ears", "eyes"))[0], demo_calls(fleet("ears", "eyes"))[0]
    assert real.targets == ["text"]
    assert (stand_in.targets, stand_in.says) == (["ears", "eyes"], "[fixture]")


def test_without_ffmpeg_there_is_no_video_call() -> None:
    assert [c.name for c in demo_calls(fleet("ears", "eyes"))] == ["text", "picture", "sound"]


@pytest.mark.real
def test_the_files_hold_the_bodies(tmp_path: Path, needs_ffmpeg: None) -> None:
    calls = demo_calls(fleet("text", "ears", "eyes", video=True))
    write_bodies(calls, tmp_path)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["picture", "sound", "text", "video"]
    bodies = {p.stem: json.loads(p.read_text()) for p in tmp_path.iterdir()}
    assert all(b["model"] == "auto" for b in bodies.values())
    video = bodies["video"]["messages"][0]["content"][1]["video_url"]["url"]
    assert base64.b64decode(video.removeprefix("data:video/mp4;base64,"))[4:8] == b"ftyp"
