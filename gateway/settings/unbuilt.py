"""What the file may say and this version does not do. Better no start than a false promise."""

from __future__ import annotations

from gateway.settings.model import (
    Limits,
    LogSettings,
    Settings,
)

_LIMITS = ("json_size", "json_depth", "connections", "event", "answer", "error_body")


class NotBuilt(Exception):
    """The configuration asks for something that this version does not do. `names` are the paths of the keys."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"this version does not do: {', '.join(names)}; take it out of the configuration")
        self.names = names


def refuse_unbuilt(settings: Settings) -> None:
    """Raises NotBuilt, naming every key whose value differs from the default and would have no effect."""
    usual = Limits()
    asked = {
        "log.format": settings.log.format != LogSettings().format,
        **{f"limits.{name}": getattr(settings.limits, name) != getattr(usual, name) for name in _LIMITS},
    }
    names = [name for name, is_asked in asked.items() if is_asked]
    if names:
        raise NotBuilt(names)
