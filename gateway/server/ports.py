"""Who holds a port."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

_LISTENING = "0A"
_SECRET = re.compile(r"(?i)(--?[\w-]*(?:key|token|secret|password)[\w-]*[ =])\S+")
"""A program's secret among its words."""


def is_free(host: str, port: int) -> bool:
    """True if this process could listen there and nobody answers there now: where only another address of the port is
    taken, some systems let both listen and then clients reach whichever is the closer match."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(0.5)
        if s.connect_ex((host, port)) == 0:
            return False
    with socket.socket(family) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def next_free(host: str, port: int) -> int | None:
    """The first free port of the ten above; None if all are taken."""
    return next((p for p in range(port + 1, min(port + 11, 65_536)) if is_free(host, p)), None)


def holder(port: int) -> str:
    """Who listens on that port, for a person: `process 4711: python3 -m http.server 4000`. `another process` where the
    system does not tell."""
    if Path("/proc/net/tcp").exists():
        inodes = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            inodes |= listening_inodes(_lines(Path(table)), port)
        for process in _processes():
            if not inodes.isdisjoint(_sockets(process)):
                return f"process {process.name}: {_command(process)}"
    elif shutil.which("lsof"):  # macOS has it, and no /proc
        ask = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
        try:
            asked = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=5)
        except (OSError, subprocess.SubprocessError):
            return "another process"
        found = {line[0]: line[1:] for line in asked.stdout.splitlines() if line}
        if "p" in found:
            return f"process {found['p']}: {found.get('c', '?')}"
    return "another process"


def listening_inodes(lines: Iterable[str], port: int) -> set[str]:
    """The sockets that listen on a port, in the kernel's table `/proc/net/tcp` (proc(5))."""
    rows = (line.split() for line in lines)
    return {r[9] for r in rows if len(r) > 9 and r[3] == _LISTENING and r[1].endswith(f":{port:04X}")}


def _processes() -> list[Path]:
    try:
        return sorted(Path("/proc").glob("[0-9]*"))
    except OSError:  # one ended while the list was read
        return []


def _sockets(process: Path) -> set[str]:
    found = set()
    try:
        for fd in (process / "fd").iterdir():
            target = str(fd.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:  # it ended, or belongs to somebody else
        pass
    return found


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "which has just ended"
    text = _SECRET.sub(r"\1...", " ".join(w for w in words if w))
    return text if len(text) <= 120 else text[:117] + "..."


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
