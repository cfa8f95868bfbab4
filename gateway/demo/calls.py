"""The four calls that the demo shows: what they send, and what comes back."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.demo import media
from gateway.demo.fleet import Fleet


@dataclass(slots=True, frozen=True)
class DemoCall:
    """`body` is a chat completion request. `targets` = the backends one of which must take it, `parts` = the header
    `x-gateway-parts` of the answer, `says` = how its text begins."""

    name: str
    title: str
    body: Mapping[str, Any]
    targets: Sequence[str]
    parts: str
    says: str = ""

    def curl(self, url: str, folder: Path) -> str:
        """What to paste into a shell: the body is a file, since `base64` and the length of a line differ by system."""
        at = shlex.quote(f"@{folder / self.name}.json")
        return f"curl -si {url}/v1/chat/completions -H 'content-type: application/json' -d {at}"

    def problem(self, status: int, headers: Mapping[str, str], text: str) -> str | None:
        """What is wrong with the answer; None if it is as it should be."""
        target = headers.get("x-gateway-target", "")
        if status != 200:
            return f"status {status}"
        if target.partition("/")[0] not in self.targets:
            return f"it went to {target or 'nobody'}, not to {' or '.join(self.targets)}"
        if headers.get("x-gateway-parts") != self.parts:
            return f"x-gateway-parts is {headers.get('x-gateway-parts')}, not {self.parts}"
        if not text.strip() or not text.startswith(self.says):
            return f"it does not say {self.says or 'anything'}"
        return None


def demo_calls(fleet: Fleet) -> list[DemoCall]:
    """The calls that this fleet can answer: four, or three where there is no ffmpeg."""
    real = any(s.name == "text" for s in fleet.servers)
    calls = [text_call(real), picture_call(), sound_call()]
    if fleet.video:
        calls.append(video_call(media.mp4(), "An MP4, to the server that sees", "0=text,1=video"))
    return calls


def text_call(real: bool) -> DemoCall:
    """`real` = there is a language model for it."""
    return DemoCall(
        "text",
        "Text, answered by a real small language model" if real else "Text, to a fixture: there is no text model",
        _chat("What is the capital of France? Answer in one short sentence."),
        ["text"] if real else ["ears", "eyes"],
        "0=text",
        "" if real else "[fixture]",
    )


def picture_call() -> DemoCall:
    picture = {"type": "image_url", "image_url": {"url": _data_url("image/png", media.png())}}
    question = _chat("What is this?", picture)
    return DemoCall("picture", "A PNG, to the server that sees", question, ["eyes"], "0=text,1=image", "[fixture]")


def sound_call() -> DemoCall:
    sound = {"type": "input_audio", "input_audio": {"data": _base64(media.wav()), "format": "wav"}}
    question = _chat("What is this?", sound)
    return DemoCall("sound", "A WAV, to the server that hears", question, ["ears"], "0=text,1=audio", "[fixture]")


def video_call(mp4: bytes, title: str, parts: str) -> DemoCall:
    video = {"type": "video_url", "video_url": {"url": _data_url("video/mp4", mp4)}}
    return DemoCall("video", title, _chat("What is this?", video), ["eyes"], parts, "[fixture]")


def write_bodies(calls: Sequence[DemoCall], folder: Path) -> None:
    """One file a call, `<name>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for call in calls:
        (folder / f"{call.name}.json").write_text(json.dumps(call.body), encoding="utf-8")


def _chat(question: str, *media_parts: Mapping[str, Any]) -> dict[str, Any]:
    content = [{"type": "text", "text": question}, *media_parts] if media_parts else question
    return {
        "model": "auto",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 64,
        "temperature": 0,
    }


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _data_url(mime: str, octets: bytes) -> str:
    return f"data:{mime};base64,{_base64(octets)}"
