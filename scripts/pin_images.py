"""`make pin-images`: asks the registries for the digests of the images that are named by tag, and writes these beside
the tags (`name:tag@sha256:...`), in docker-compose.yml and in what `gateway compose` writes. Needs skopeo or docker
(with buildx), and a network; without them nothing is changed.

A digest names one build for ever: what was tried is what runs. To go on to newer builds, change the tag and do it
again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = (ROOT / "docker-compose.yml", ROOT / "gateway" / "compose" / "document.py")
IMAGE = re.compile(r"(?<=[\"-])((?:ghcr\.io/)?[a-z0-9-]+/[a-z0-9._-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?(?=[\"}])")


def main() -> int:
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    images = sorted({found[1] for text in texts.values() for found in IMAGE.finditer(text)})
    digests = {}
    for image in images:
        digest = _digest(image)
        if digest is None:
            return _refuse(
                f"the digest of {image} can't be had, and nothing was changed: it takes skopeo or docker buildx, a "
                "network, and such a tag"
            )
        digests[image] = digest
        sys.stdout.write(f"{image}@{digest}\n")
    for path, text in texts.items():
        path.write_text(IMAGE.sub(lambda m: f"{m[1]}@{digests[m[1]]}", text), encoding="utf-8")
    return 0


def _digest(image: str) -> str | None:
    """Of the list for all processors, not of the image for this one; nothing is pulled."""
    if shutil.which("skopeo"):
        manifest = _said("skopeo", "inspect", "--raw", f"docker://{image}")
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}" if manifest else None
    said = _said("docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}")
    digest = (said or b"").decode().strip()
    return digest if re.fullmatch("sha256:[0-9a-f]{64}", digest) else None


def _said(*argv: str) -> bytes | None:
    try:
        return subprocess.run(argv, capture_output=True, check=True, timeout=120, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _refuse(why: str) -> int:
    sys.stderr.write(f"pin-images: {why}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
