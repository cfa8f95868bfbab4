"""What a reload can't change."""

from __future__ import annotations

from gateway.settings.model import Settings


class NeedsRestart(Exception):
    """A configuration that differs in what is fixed at the start. `names` are the paths of the keys."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{', '.join(names)} changed: that needs a restart")
        self.names = names


def check_fixed(old: Settings, new: Settings) -> None:
    """Raises NeedsRestart. Sockets stay as they were opened: settings that were judged for other ones (`auth: none` on
    loopback) must never come into force on them."""
    same = {
        "listen": set(old.listen) == set(new.listen),
        "admin": old.admin == new.admin,
        "tls": (old.tls is None) == (new.tls is None),
        "otel": old.otel == new.otel,
        "state": old.state == new.state,
        "log.format": old.log.format == new.log.format,
    }
    changed = [name for name, is_same in same.items() if not is_same]
    if changed:
        raise NeedsRestart(changed)
