"""Pictures -> PNG or JPEG, as they are meant to be looked at, no larger than a model can see."""

from __future__ import annotations

import io
from math import sqrt
from typing import Any

from PIL import Image, ImageOps

from gateway.worker.media import heic
from gateway.worker.media.refused import Refused

MOST_PIXELS = 50_000_000
"""Of a picture that is decoded: 200 MB."""
_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIC",
}
_LOSSY = ("image/jpeg", "image/avif", "image/heic")
_QUALITY = 92

Image.MAX_IMAGE_PIXELS = None  # looked at here, before anything is decoded


def convert(data: bytes, mime: str, pixels: int, to: list[str]) -> tuple[bytes, str, int]:
    """(the picture, its media type, how many there were). `pixels` = the most that it may have; `to` = what may come
    out. Of an animation the first picture. Raises Refused."""
    form = _FORMATS.get(mime)
    if form is None:
        raise Refused(f"{mime} is not converted here: send it as JPEG or PNG")
    try:
        if form == "HEIC":
            image, count = heic.decode(data, MOST_PIXELS), 1
        else:
            image, count = _opened(data, form, pixels)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError, IndexError, KeyError) as e:
        raise Refused("this picture can't be read: it is broken, or not what it seems; send it as JPEG or PNG") from e
    if image.width * image.height > pixels:
        image = image.resize(_fitting(image.width, image.height, pixels), Image.Resampling.LANCZOS)
    kept = image.mode in ("RGBA", "LA") or (mime not in _LOSSY and image.width * image.height <= pixels)
    if "image/png" in to and (kept or "image/jpeg" not in to):
        return encode(image, "PNG"), "image/png", count
    if image.mode in ("RGBA", "LA"):
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return encode(image, "JPEG"), "image/jpeg", count


def _opened(data: bytes, form: str, pixels: int) -> tuple[Any, int]:
    """(the first picture, how many there are)."""
    with Image.open(io.BytesIO(data), formats=[form]) as opened:
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise Refused(f"this picture has {width} x {height} pixels: at most {MOST_PIXELS:,} are converted")
        count = int(getattr(opened, "n_frames", 1))
        if form == "JPEG":
            opened.draft("RGB", _fitting(width, height, pixels))
        return _plain(ImageOps.exif_transpose(opened)), count


def _plain(image: Any) -> Any:
    """In 8 bits: grey or RGB, with transparency where there is some."""
    if image.mode in ("RGB", "L"):
        return image.copy() if "transparency" not in image.info else image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        low, _ = image.getchannel("A").getextrema()
        return image if low < 255 else image.convert("RGB")
    if image.mode.startswith("I;16"):
        return image.convert("F").point(lambda v: v * (1 / 256) + 0).convert("L")
    return _scaled(image) if image.mode in ("F", "I") else image.convert("L" if image.mode == "1" else "RGB")


def _scaled(image: Any) -> Any:
    """Numbers of no known range, from the lowest to the highest."""
    image = image.convert("F")
    low, high = image.getextrema()
    scale = 255.0 / (high - low) if high > low else 0.0
    return image.point(lambda v: v * scale + -low * scale).convert("L")


def _fitting(width: int, height: int, pixels: int) -> tuple[int, int]:
    scale = min(1.0, sqrt(pixels / max(1, width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def encode(image: Any, form: str, quality: int = _QUALITY) -> bytes:
    out = io.BytesIO()
    if form == "PNG":
        image.save(out, "PNG", compress_level=3)
    else:
        image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def small_enough(image: Any, pixels: int) -> Any:
    if image.width * image.height <= pixels:
        return image
    return image.resize(_fitting(image.width, image.height, pixels), Image.Resampling.BILINEAR)
