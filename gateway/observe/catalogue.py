"""Names that metrics, their page and their tests share."""

from __future__ import annotations

from dataclasses import dataclass

MODALITIES = ("text", "image", "document", "audio", "video")
"""Kinds of content, the heaviest last: a request counts as the heaviest that is in it."""
STATES = ("unprobed", "down", "loading", "cold", "ready", "mismatch")
OUTCOMES = ("ok", "refused", "failed", "left")
FATES = ("delivered", "transformed", "dropped", "refused")
PHASES = ("queued", "before_first_byte", "streaming")
MADE = ("picture", "sound", "frames")
RESULTS = ("ok", "refused", "failed")
USUAL = (
    "ok",
    "cancelled",
    "upstream_bad_response",
    "upstream_connect_error",
    "upstream_error",
    "upstream_reset",
    "upstream_timeout",
    "upstream_truncated",
)
"""What comes of calls to servers, but for what is rare."""


def outcome_of(status: int) -> str:
    """An HTTP status in one word: ok, refused (the request's own fault, or not for here), left (by its client), failed
    (a server's fault, or the gateway's)."""
    if status < 400:
        return "ok"
    if status == 499:
        return "left"
    return "failed" if status >= 500 and status != 501 else "refused"


def result_of(status: int) -> str:
    """The same for a step of a request that nobody leaves."""
    outcome = outcome_of(status)
    return outcome if outcome in RESULTS else "failed"


@dataclass(slots=True, frozen=True)
class Entry:
    """One metric: its name as it is exposed, its type, its labels, and what it tells."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


def _gauge(name: str, about: str, *labels: str) -> Entry:
    return Entry(name, "gauge", labels, about)


FLEET = (
    _gauge(
        "gateway_backend_up",
        "1 if the server answers and has a model to offer, 0 if it is down, loading or was never reached.",
        "backend",
    ),
    _gauge(
        "gateway_target_state",
        "Targets (models of a server) in a state. mismatch = the server has another model than the configuration says;"
        " cold = it loads when it is asked.",
        "backend",
        "state",
    ),
    _gauge("gateway_in_flight", "Requests at a server now.", "backend"),
    _gauge("gateway_in_flight_limit", "How many may be there at once.", "backend"),
    _gauge("gateway_queued", "Requests that wait for a place at a server now.", "backend"),
    _gauge("gateway_ejected", "Targets of a server that are left alone after failures.", "backend"),
    _gauge("gateway_others", "Requests of others at a server's busiest target, as it told last.", "backend"),
    _gauge(
        "gateway_cache_used_ratio",
        "Share of a server's KV cache that is in use, 0 to 1, as it told last; absent where it does not tell.",
        "backend",
    ),
)
"""What is read from the fleet when it is asked for."""
PROCESS = (
    Entry("gateway_process_cpu_seconds_total", "counter", (), "CPU time of the gateway's process. Linux only."),
    _gauge("gateway_process_resident_memory_bytes", "Its memory. Linux only."),
    _gauge("gateway_process_virtual_memory_bytes", "Its address space. Linux only."),
    _gauge("gateway_process_open_fds", "Its open files and sockets. Linux only."),
    _gauge("gateway_process_max_fds", "How many it may have open. Linux only."),
    _gauge("gateway_process_start_time_seconds", "When it started, in Unix time. Linux only."),
)
"""What the metrics library reads from the system."""
