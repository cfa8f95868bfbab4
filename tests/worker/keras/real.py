"""What the tests on a real keras-hub share: whether it is here, media made on the spot, its own `generate`."""

from __future__ import annotations

import importlib.util
import io
from base64 import b64encode
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gateway.worker.keras.model import Gemma, Prepared

MISSING = [m for m in ("torch", "keras", "keras_hub", "PIL", "av") if importlib.util.find_spec(m) is None]
MARKS = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore"),  # what torch and keras have to say about each other is not ours
]


def need_keras() -> None:
    """Skips the module that calls it where keras-hub is not installed."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)} (`make test-keras` does it all)", allow_module_level=True)


def picture(width: int, height: int, seed: int = 0, form: str = "PNG") -> bytes:
    return as_png(np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype("uint8"), form)


def as_png(pixels: Any, form: str = "PNG") -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def sound(
    seconds: float, *, hertz: int = 440, rate: int = 8000, channels: int = 1, codec: str = "pcm_s16le", box: str = "wav"
) -> bytes:
    """A tone."""
    import av

    out = io.BytesIO()
    count = int(seconds * rate)
    tone = (np.sin(np.arange(count) * 2 * np.pi * hertz / rate) * 9000).astype("<i2")
    layout = "mono" if channels == 1 else "stereo"
    with av.open(out, "w", format=box) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, channels)[None], format="s16", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=stream.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return out.getvalue()


def film(frames: int, *, fps: int = 10, width: int = 64, height: int = 48) -> bytes:
    """Each frame is of one grey, darker first."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        for number in range(frames):
            grey = np.full((height, width, 3), int(255 * number / max(1, frames - 1)), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def part(kind: str, data: bytes, mime: str) -> dict[str, Any]:
    """A content part of a request."""
    text = b64encode(data).decode()
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": text, "format": mime.partition("/")[2]}}
    return {"type": f"{kind}_url", f"{kind}_url": {"url": f"data:{mime};base64,{text}"}}


def generate(model: Gemma, prompt: Prepared, count: int) -> list[int]:
    """What keras-hub's own `generate` says to the same tokens and features: the likeliest, one call for all."""
    from keras import ops

    lm, ids = model._lm, prompt.ids
    total = len(ids) + count
    tokens = np.zeros((1, total), "int32")
    tokens[0, : len(ids)] = ids
    given: dict[str, Any] = {"token_ids": tokens, "padding_mask": (np.arange(total) < len(ids))[None]}
    seen = [s for s in prompt.spots if not s.heard]
    heard = [s for s in prompt.spots if s.heard]

    def placed(spots: list[Any]) -> tuple[Any, Any]:
        longest = max(s.count for s in spots)
        where, mask = np.zeros((len(spots), longest), "int32"), np.zeros((1, total), bool)
        for i, spot in enumerate(spots):
            where[i, : spot.count] = np.arange(spot.start, spot.start + spot.count)
            mask[0, spot.start : spot.start + spot.count] = True
        return where.reshape(1, -1), mask

    if seen:
        given["vision_indices"], given["vision_mask"] = placed(seen)
        given["pixel_values"] = np.stack([s.features[0] for s in seen])[None]
        given["pixel_position_ids"] = np.stack([s.features[1] for s in seen])[None]
    if heard:
        given["audio_indices"], given["audio_mask"] = placed(heard)
        given["audio_mel"] = np.stack([s.features[0] for s in heard])[None]
        given["audio_mel_mask"] = np.stack([s.features[1] for s in heard])[None].astype("int32")
    lm.compile(sampler="greedy")
    out = lm.generate({k: ops.convert_to_tensor(v) for k, v in given.items()}, stop_token_ids=None)
    said: list[int] = ops.convert_to_numpy(out["token_ids"])[0][len(ids) :].tolist()
    return said
