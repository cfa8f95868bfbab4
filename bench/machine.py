"""What the operating system tells about a process: CPU time, memory, and where it may run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

PROC = Path("/proc")
LIBRARIES = ("uvicorn", "uvloop", "httptools", "fastapi", "aiohttp", "msgspec")


def linux() -> bool:
    return sys.platform.startswith("linux")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    if linux():
        return parse_stat(PROC.joinpath(str(pid), "stat").read_text(), os.sysconf("SC_CLK_TCK"))
    return parse_ps_time(_ps(pid, "time"))


def parse_stat(text: str, ticks: int) -> float:
    """Seconds out of /proc/PID/stat. The process's name may hold anything, so count from its closing bracket."""
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks


def parse_ps_time(text: str) -> float:
    """Seconds out of ps's `[[days-]hours:]minutes:seconds`."""
    days, _, clock = text.strip().rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86400 * int(days or 0)


def rss_bytes(pid: int) -> int:
    """Resident memory now."""
    return _status(pid, "VmRSS") if linux() else int(_ps(pid, "rss")) * 1024


def peak_bytes(pid: int) -> int:
    """The most resident memory since `reset_peak`. Where the system does not keep it: the resident memory now, so
    that whoever polls often enough still finds the peak."""
    return _status(pid, "VmHWM") if linux() else rss_bytes(pid)


def reset_peak(pid: int) -> bool:
    """Forgets the peak (man 5 proc, clear_refs). False where that is not possible."""
    try:
        PROC.joinpath(str(pid), "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(pid: int, name: str) -> int:
    text = PROC.joinpath(str(pid), "status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _ps(pid: int, column: str) -> str:
    out = subprocess.run(["ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return out.stdout


def busy_seconds() -> float | None:
    """CPU seconds that the whole machine has spent on anything, or None where nobody tells."""
    if not linux():
        return None
    fields = [int(f) for f in PROC.joinpath("stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def processors() -> tuple[int, int] | None:
    """The two CPUs to use: (what is measured, what measures). None where there is no pinning or only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    free = sorted(os.sched_getaffinity(0))
    return (free[0], free[1]) if len(free) > 1 else None


def pin(pid: int, cpu: int | None) -> None:
    """Keeps a process on one CPU; `pid` 0 is this one, `cpu` None leaves it where it is."""
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, {cpu})


def describe() -> str:
    """One line: the processor, the system, Python and the libraries that the numbers depend on."""
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}, {python}, {versions}"


def _processor() -> str:
    try:
        text = PROC.joinpath("cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
