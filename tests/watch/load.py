"""What happens at a gateway within half a minute of a bad day: every kind of content, every kind of end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests import made
from tests.faults import answers
from tests.real.content import Json, audio, b64, chat, endless, image, text, video

EYES, EARS = "fixture-eyes", "fixture-ears"


@dataclass
class Load:
    """Requests to the gateway at `url`, again and again. `seen`: how each kind of request ended, by its name."""

    url: str
    model: str
    seen: dict[str, list[int]] = field(default_factory=dict)

    def kinds(self) -> dict[str, Json]:
        """name -> body."""
        ogg = {"type": "input_audio", "input_audio": {"data": b64(made.sound("ogg")), "format": "ogg"}}
        webp = {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{b64(made.picture('webp'))}"}}
        hears = {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{b64(made.video('mp4'))}"}}
        page = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"}}
        return {
            "text": chat(self.model, "Say something.", max_tokens=12),
            "stream": chat(self.model, "Say something.", max_tokens=12, stream=True),
            "picture": chat(EYES, [text(), image()], max_tokens=8),
            "sound": chat(EARS, [text(), audio()], max_tokens=8),
            "video": chat(EYES, [text(), video()], max_tokens=8),
            "converted sound": chat(EARS, [text(), ogg], max_tokens=8),
            "converted picture": chat(EYES, [text(), webp], max_tokens=8),
            "video with sound": chat(EYES, [text(), hears], max_tokens=8),
            "another server": chat(answers.MODEL, "Say something."),
            "unknown model": chat("none-of-this-name"),
            "nobody reads that": chat(EARS, [text(), page]),
            "nobody sees there": chat(EARS, [text(), image()]),
            "broken": chat(EARS, [text(), {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}]),
        }

    def send(self, name: str, body: Json) -> None:
        answer = httpx2.post(f"{self.url}/v1/chat/completions", json=body, trust_env=False, timeout=60.0)
        self.seen.setdefault(name, []).append(answer.status_code)

    def leave(self) -> None:
        """A client that goes away in the middle of its stream."""
        body = endless(EARS, 2_000, stream=True)
        with httpx2.stream("POST", f"{self.url}/v1/chat/completions", json=body, trust_env=False, timeout=60.0) as got:
            for _ in got.iter_raw():
                self.seen.setdefault("left", []).append(got.status_code)
                return

    def crowd(self) -> None:
        """More at once than there are places."""
        with ThreadPoolExecutor(5) as pool:
            for _ in range(5):
                pool.submit(self.send, "crowd", chat(self.model, "Say something.", max_tokens=24))

    def round(self) -> None:
        for name, body in self.kinds().items():
            self.send(name, body)
        self.leave()
        self.crowd()

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.round()

    def until(self, name: str, body: Json, holds: Callable[[], Any], within: float = 30.0) -> None:
        """That request, until something has happened."""
        end = time.monotonic() + within
        while not holds():
            assert time.monotonic() < end, f"{name}: it did not happen; so far {self.seen}"
            self.send(name, body)
            time.sleep(0.3)


_PDF = b64(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")
