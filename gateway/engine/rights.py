"""Which models a key may use, and is shown."""

from __future__ import annotations

from dataclasses import replace

from gateway.canonical.context import EVERYTHING, Rights, is_like
from gateway.canonical.needs import Needs
from gateway.engine.fleet import Fleet, Name, is_pattern, not_found
from gateway.errors import ModalityNotAllowed, ModelNotAllowed, ModelNotFound


def permitted(fleet: Fleet, model: str, rights: Rights) -> Name:
    """What `model` leads to for a key with these rights: of `auto` the targets whose own names they cover. Raises
    ModelNotFound or ModelNotAllowed, and names only what the key may use."""
    if rights.models is None:
        return fleet.resolve(model)
    try:
        name = fleet.resolve(model)
    except ModelNotFound:
        raise ModelNotFound(not_found(model, _own(fleet, rights)), param="model") from None
    allowed = _within(fleet, name, rights)
    if allowed is not None:
        return allowed
    # what stands in for an unknown name is not what was allowed under that name
    if any(is_like(model, alias) for alias in name.aliases) and rights.covers(model):
        return name
    told = repr(model) if len(model) <= 60 and model.isprintable() else "of that name"
    own = ", ".join(_own(fleet, rights)[:20]) or "none that is here"
    raise ModelNotAllowed(f"this key may not use the model {told}; it may use: {own}", param="model")


def shown(fleet: Fleet, rights: Rights = EVERYTHING) -> list[tuple[Name, str]]:
    """Every name that a key may use and that can be shown (no patterns), with what it leads to."""
    out: list[tuple[Name, str]] = []
    for name in fleet.names():
        allowed = _within(fleet, name, rights)
        if allowed is not None:
            out.append((allowed, name.public))
        plain = [alias for alias in name.aliases if not is_pattern(alias)]
        out += [(allowed or name, alias) for alias in plain if allowed is not None or rights.covers(alias)]
    return out


def check_modalities(needs: Needs, rights: Rights) -> None:
    """Raises ModalityNotAllowed with the place of the first medium that the key may not send."""
    lacks = rights.lacks(needs.modalities)
    if lacks:
        place = next((m.path for m in needs.media if m.modality in lacks), None)
        own = ", ".join(["text", *sorted((rights.modalities or frozenset()) - {"text"})])
        raise ModalityNotAllowed(f"this key may not send {' or '.join(lacks)}; it may send: {own}", param=place)


def _own(fleet: Fleet, rights: Rights) -> list[str]:
    return sorted({name for _, name in shown(fleet, rights)})


def _within(fleet: Fleet, name: Name, rights: Rights) -> Name | None:
    """The name as far as the rights go; None = not at all."""
    if rights.models is None:
        return name
    if not name.auto:
        return name if rights.covers(name.public) else None
    own = [d for d in name.deployments if rights.covers(fleet.public_name(d))]
    return replace(name, deployments=own) if own else None
