"""Makes gateway/report/videos.py: `python -m tests.report.videos`. Needs ffmpeg with x264."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from pathlib import Path

from gateway.report.fixtures import BLANK, FONT, FRAMES, frame

HEAD = '''"""Videos of one digit each, base64 of MP4 (H.264 baseline, 128 x 128, two frames a second): made with ffmpeg
from the frames of gateway/report/fixtures.py: `python -m tests.report.videos`."""

VIDEOS: dict[str, str] = {
'''


def encoded(digit: str) -> bytes:
    raw = frame("") * BLANK + frame(digit) * (FRAMES - BLANK)
    into = ["-c:v", "libx264", "-preset", "veryslow", "-crf", "30", "-profile:v", "baseline", "-pix_fmt", "yuv420p"]
    # without the encoder's own words (SEI), which are longer than the pictures
    into += ["-bsf:v", "filter_units=remove_types=6", "-movflags", "+faststart", "-map_metadata", "-1"]
    into += ["-fflags", "+bitexact", "-flags:v", "+bitexact"]
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "128x128", "-r", "2", "-i", "-"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "digit.mp4"
        subprocess.run(["ffmpeg", "-v", "error", *source, *into, "-y", str(out)], input=raw, check=True)
        return out.read_bytes()


def main() -> None:
    lines = [HEAD]
    for digit in FONT:
        text = base64.b64encode(encoded(digit)).decode("ascii")
        rows = "\n".join(f'        "{text[i : i + 108]}"' for i in range(0, len(text), 108))
        lines.append(f'    "{digit}": (\n{rows}\n    ),\n')
    lines.append("}\n")
    (Path(__file__).parents[2] / "gateway" / "report" / "videos.py").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
