"""What every layer may know about the request at hand, besides the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.canonical.requests import Options

Snapshot = TypeVar("Snapshot")


@dataclass(slots=True, frozen=True)
class Context(Generic[Snapshot]):
    """Built once, after authentication. `deadline` in seconds of the monotonic clock. `snapshot` is the configuration
    that was in force when the request came: rules, privacy, and what clients are given stay as they were under a
    running request. Which servers there are, and what they are given, is not the request's: that is the fleet as it
    is."""

    request_id: str
    dialect: str
    key_id: str
    snapshot: Snapshot
    started: float
    deadline: float
    priority: int = 0
    options: Options = field(default_factory=Options)
