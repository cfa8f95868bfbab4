"""The wait for a real server that a test has started."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx2


def wait_ready(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float) -> None:
    """Until GET `url` is 200. `log`: what the process writes."""
    end = time.monotonic() + seconds
    while True:
        assert process.poll() is None, f"it ended with {process.returncode}:\n{log.read_text()[-3000:]}"
        try:
            if httpx2.get(url, trust_env=False, timeout=2.0).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        assert time.monotonic() < end, f"not ready within {seconds} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.5)
