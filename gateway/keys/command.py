"""The command itself. Exit codes: 0 done, 1 there is no such key, 2 the input or a file is wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.keys.store import CantWrite, NameTaken, NoSuchKey, Store, Wanted, state_of
from gateway.report.refused import Arguments, Refused, answered
from gateway.settings import KeySettings
from gateway.settings.document import read_document
from gateway.settings.values import (
    MODALITIES,
    one_of,
    read_alias,
    read_count,
    read_moment,
    read_text,
)

DEFAULT = Path("keys.yaml")
SEARCH = ("gateway.yaml", "config/local.yaml")
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_LIMITS = ("requests_per_minute", "tokens_per_minute", "in_flight")


def main(argv: Sequence[str]) -> int:
    return answered("keys", argv, lambda: _keys(list(argv)))


def _keys(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    act = {"new": _new, "list": _list, "revoke": _revoke}[options.act]
    try:
        act(Store(options.file or _configured(options.config) or DEFAULT), options)
    except CantWrite as e:
        raise Refused(str(e)) from None
    except NoSuchKey as e:
        raise Refused(str(e), code=1) from None
    return 0


def _parser() -> argparse.ArgumentParser:
    where = Arguments(add_help=False)
    where.add_argument("--file", type=Path, help="the keys file (default: auth.keys_file of the configuration)")
    where.add_argument("--config", "-c", type=Path, help="the configuration (default: ./gateway.yaml if it is there)")
    where.add_argument("--json", action="store_true", help="as JSON")
    p = Arguments(
        prog="gateway keys",
        description="The keys of a gateway's clients (auth: {keys_file: keys.yaml}).",
        epilog="exit codes: 0 done, 1 there is no such key, 2 the input or a file is wrong",
    )
    acts = p.add_subparsers(dest="act", required=True, metavar="new|list|revoke")
    new = acts.add_parser("new", parents=[where], help="make a key; it is shown once, on standard output")
    new.add_argument("name", help="whose it is: a line of text")
    new.add_argument("--models", metavar="A,B", help="public names and aliases, * and ? are wildcards (default: all)")
    new.add_argument("--modalities", metavar="A,B", help=f"of {', '.join(MODALITIES)} (default: all)")
    new.add_argument("--requests-per-minute", metavar="N")
    new.add_argument("--tokens-per-minute", metavar="N")
    new.add_argument("--in-flight", metavar="N", help="requests under way at once")
    new.add_argument("--expires", metavar="WHEN", help="a date (2027-01-31), or how long from now (12h, 30d, 8w)")
    acts.add_parser("list", parents=[where], help="who has a key, and what it opens")
    revoke = acts.add_parser("revoke", parents=[where], help="a key opens nothing any more")
    revoke.add_argument("key", help="its id or name, as `gateway keys list` shows it")
    return p


def _configured(config: Path | None) -> Path | None:
    """`auth.keys_file` of the configuration, which need not be right otherwise: it may be its keys that are missing.
    Raises Refused for one that is named and can't be read: the keys would land in a file that no gateway reads."""
    if config is None and os.environ.get("GATEWAY_CONFIG"):
        config = Path(os.environ["GATEWAY_CONFIG"])
    config = config or next((Path(p) for p in SEARCH if Path(p).is_file()), None)
    if config is None:
        return None
    try:
        text = config.read_text("utf-8-sig")
    except OSError as e:
        raise Refused(
            f"can't read {config}: {e.strerror}; name the configuration, or the keys file with --file"
        ) from None
    except UnicodeDecodeError:
        raise Refused(f"{config} is not UTF-8 text; name the keys file with --file") from None
    auth = read_document(text, config.name).values.get("auth")
    named = auth.get("keys_file") if isinstance(auth, dict) else None
    return config.parent / Path(named).expanduser() if isinstance(named, str) else None


def _new(store: Store, options: argparse.Namespace) -> None:
    now = time.time()
    try:
        wanted = Wanted(read_text(options.name), _rights(options, now))
    except ValueError as e:
        raise Refused(str(e)) from None
    try:
        key, entry = store.create(wanted, now)
    except NameTaken:
        fix = f"take another name, or `gateway keys revoke {wanted.name}`"
        raise Refused(f"there is a key of the name {wanted.name!r}: {fix}") from None
    if options.json:
        sys.stdout.write(json.dumps({**_view(entry, now), "key": key}, indent=2) + "\n")
        return
    sys.stderr.write(f"{entry.id} ({entry.name}) stands in {store.path}. This is the key; it is not shown again:\n")
    sys.stdout.write(f"{key}\n")


def _rights(options: argparse.Namespace, now: float) -> dict[str, Any]:
    """In the words of the file. Raises ValueError that names the option."""
    readers: dict[str, Any] = {
        "models": lambda text: [read_alias(word) for word in _words(text)],
        "modalities": lambda text: [one_of(*MODALITIES)(word) for word in _words(text)],
        **{name: lambda text: read_count(int(text) if text.isdecimal() else text) for name in _LIMITS},
        "expires": lambda text: _expiry(text, now),
    }
    out = {}
    for name, read in readers.items():
        text = getattr(options, name)
        if text is not None:
            try:
                out[name] = read(text)
            except ValueError as e:
                raise ValueError(f"--{name.replace('_', '-')}: {e}") from None
    return out


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _expiry(text: str, now: float) -> str:
    amount, unit = text[:-1], text[-1:]
    if unit in _UNITS and amount.isdecimal():
        if len(amount) > 6 or now + int(amount) * _UNITS[unit] > _LATEST:
            raise ValueError("is too far away: leave it out for a key that never expires")
        moment = now + int(amount) * _UNITS[unit]
    else:
        try:
            moment = read_moment(text)
        except ValueError as e:
            raise ValueError(f"{e}, or how long from now: 12h, 30d, 8w") from None
    if moment <= now:
        raise ValueError("is over already")
    return _day(moment)


def _day(unix: float) -> str:
    return datetime.fromtimestamp(int(unix), UTC).isoformat().replace("+00:00", "Z")


def _list(store: Store, options: argparse.Namespace) -> None:
    now = time.time()
    if not store.path.exists():
        raise Refused(f"there is no {store.path}: `gateway keys new NAME` makes it, --file names another one")
    keys = store.keys()
    if options.json:
        sys.stdout.write(json.dumps({"keys": [_view(k, now) for k in keys]}, indent=2) + "\n")
        return
    rows: list[tuple[str, ...]] = [("ID", "NAME", "STATE", "CREATED", "EXPIRES", "MODELS", "MODALITIES", "LIMITS")]
    rows += [_row(key, now) for key in keys]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _row(key: KeySettings, now: float) -> tuple[str, ...]:
    limits = {"requests/min": key.requests_per_minute, "tokens/min": key.tokens_per_minute, "at once": key.in_flight}
    return (
        key.id,
        key.name,
        state_of(key, now),
        _day(key.created)[:10] if key.created is not None else "-",
        _day(key.expires)[:10] if key.expires is not None else "never",
        ",".join(key.models) if key.models is not None else "all",
        ",".join(key.modalities) if key.modalities is not None else "all",
        ", ".join(f"{n} {what}" for what, n in limits.items() if n is not None) or "-",
    )


def _revoke(store: Store, options: argparse.Namespace) -> None:
    now = time.time()
    if not store.path.exists():
        raise Refused(f"there is no {store.path}; --file names another one")
    entry = store.revoke(options.key, now)
    if options.json:
        sys.stdout.write(json.dumps(_view(entry, now), indent=2) + "\n")
    else:
        sys.stdout.write(f"{entry.id} ({entry.name}) is revoked; a running gateway knows within a second\n")


def _view(key: KeySettings, now: float) -> dict[str, Any]:
    """An entry without its digest."""
    out: dict[str, Any] = {"id": key.id, "name": key.name, "state": state_of(key, now)}
    for name in ("created", "expires", "revoked"):
        moment = getattr(key, name)
        out[name] = _day(moment) if moment is not None else None
    for name in ("models", "modalities"):
        words = getattr(key, name)
        out[name] = list(words) if words is not None else None
    return out | {name: getattr(key, name) for name in _LIMITS}
