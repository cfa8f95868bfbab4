"""The parts of the file that are about who may come in, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.settings.address import Address, read_address
from gateway.settings.check import Check
from gateway.settings.keyfile import read_keys
from gateway.settings.model import AdminSettings, AuthSettings, CorsSettings
from gateway.settings.problems import ConfigErrors, Where, quoted


def _addresses(check: Check, where: Where, raw: Any) -> tuple[Address, ...]:
    """The addresses there, or the default one. One alone needs no list."""
    if raw is None:
        return (Address("127.0.0.1", 4000),)
    items = list(check.listed(where, raw)) if isinstance(raw, list) else [(where, raw)]
    found: list[Address] = []
    for place, item in items:
        address = check.value(place, item, read_address)
        if address is not None and address in found and address.port:
            check.problem(place, f"{address} stands twice")
        if address is not None:
            found.append(address)
    if raw == []:
        check.problem(where, "must have at least one address")
    return tuple(found)


def read_listen(check: Check, raw: Any) -> tuple[Address, ...]:
    """GATEWAY_LISTEN takes the place of `listen` (several: with commas); PORT then changes the port, and only that."""
    listen = _addresses(check, ("listen",), raw)
    text = check.env.get("GATEWAY_LISTEN", "").strip()
    if text:
        try:
            listen = tuple(map(read_address, text.split(",")))
        except ValueError as error:
            check.env_problem("GATEWAY_LISTEN", str(error))
    port = check.env.get("PORT", "").strip()
    if not port:
        return listen
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        check.env_problem("PORT", "must be a port number from 0 to 65535")
        return listen
    return tuple(dict.fromkeys(Address(a.host, int(port)) for a in listen))


def read_admin(check: Check, raw: Any, listen: tuple[Address, ...]) -> AdminSettings:
    admin = check.mapping(("admin",), raw, AdminSettings.key_names())
    for key in admin.keys() - set(AdminSettings.key_names()):
        check.unknown_key(("admin", key), key, AdminSettings)
    if admin.get("listen") is None:
        return AdminSettings()
    where = ("admin", "listen")
    addresses = _addresses(check, where, admin["listen"])
    for address in addresses:
        if address in listen and address.port:
            check.problem(where, f"{address} is the main address already: choose another port, or leave admin out")
    return AdminSettings(listen=addresses)


def read_auth(check: Check, raw: Any, addresses: tuple[Address, ...]) -> AuthSettings:
    """Absent = none on loopback. `none` anywhere else, or nothing said there, is a problem."""
    where = ("auth",)
    auth = AuthSettings(mode="none")
    if isinstance(raw, dict):
        return _key_auth(check, where, raw) or auth
    if raw is not None and (not isinstance(raw, str) or raw.lower() != "none"):
        # The value is not shown: it may be a key that does not belong here.
        check.problem(where, "must be none, or {api_key_env: NAME}, {api_key_file: PATH} or {keys_file: PATH}")
        return auth
    exposed = [str(a) for a in addresses if not a.loopback]
    if exposed:
        check.problem(
            where if raw is not None else ("listen",),
            f"{'auth: none' if raw is not None else 'no auth'} is only for loopback, and {', '.join(exposed)} can be "
            "reached from elsewhere: write auth: {api_key_env: GATEWAY_API_KEY} (a variable that holds the key), or "
            "listen: 127.0.0.1:4000",
        )
    return auth


def read_cors(check: Check, top: Mapping[str, Any]) -> CorsSettings:
    """`*` where nobody needs a key would be a gateway that every page on the net may use."""
    cors = check.section(("cors",), CorsSettings, top.get("cors", {})) or CorsSettings()
    if "*" in cors.origins and not isinstance(top.get("auth"), dict):
        check.problem(
            ("cors", "origins"),
            '"*" with auth: none lets every web page that is open on this machine use the gateway: list the origins, '
            "or write auth: {api_key_env: GATEWAY_API_KEY}",
        )
    return cors


def _key_auth(check: Check, where: Where, raw: dict[str, Any]) -> AuthSettings | None:
    ways = [k for k in ("api_key_env", "api_key_file", "keys_file") if raw.get(k) is not None]
    mode = "keys_file" if ways == ["keys_file"] else "api_key"
    section = check.section(where, AuthSettings, raw, mode=mode)
    if section is None:
        return None
    if len(ways) != 1:
        check.problem(where, "must have exactly one of api_key_env, api_key_file, keys_file")
        return None
    if section.keys_file is not None:
        return _with_keys(check, (*where, "keys_file"), section, section.keys_file)
    key = check.secret(where, section.api_key_env, section.api_key_file)
    file = check.path(section.api_key_file) if section.api_key_file is not None else None
    return section.model_copy(update={"api_key": key, "api_key_file": file})


def _with_keys(check: Check, where: Where, section: AuthSettings, file: Path) -> AuthSettings:
    """What is wrong in that file is told with its own lines."""
    path = check.path(file)
    if not path.exists():
        check.problem(
            where, f"can't read {quoted(str(file))}: no such file; `gateway keys new NAME --file {path}` makes it"
        )
        return section
    try:
        keys, secret = read_keys(path)
    except ConfigErrors as error:
        check.problems.extend(error.problems)
        return section
    return section.model_copy(update={"keys_file": path, "keys": keys, "secret": secret})
