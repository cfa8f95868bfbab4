"""What every layer may know about the request at hand, besides the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.canonical.requests import Options


@dataclass(slots=True, frozen=True)
class Context:
    """Built once, after authentication. `deadline` in seconds of the monotonic clock. `snapshot` is the configuration
    that was in force when the request came; a reload does not change it under a running request."""

    request_id: str
    dialect: str
    key_id: str
    snapshot: Any
    started: float
    deadline: float
    priority: int = 0
    options: Options = field(default_factory=Options)
