"""The settings: one frozen class per mapping of the file, its attributes named as the YAML keys."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretBytes, SecretStr, model_validator

from gateway.canonical.facts import Facts
from gateway.canonical.requests import ThinkingConfig
from gateway.routing.policy import Policy
from gateway.routing.rules import DEFAULT_RULES, Match, Rule, Selector
from gateway.settings.address import Address, read_url
from gateway.settings.values import (
    Count,
    Digest,
    FilePath,
    Flag,
    KeyId,
    Line,
    MediaHosts,
    Modalities,
    Moment,
    Origins,
    Positive,
    Seconds,
    Size,
    Variable,
    Whole,
    Word,
    between,
    one_of,
    read_alias,
    read_entries,
    read_list,
)

KIB, MIB = 1024, 1024 * 1024


class Section(BaseModel):
    """One mapping of the file. A key without a value is a key that is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    derived: ClassVar[frozenset[str]] = frozenset()
    """Attributes that the loader works out: no keys of the file."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys that the file may have here."""
        return sorted(set(cls.model_fields) - cls.derived)


class Limits(Section):
    """What one request may be, in sizes (octets) and counts; `in_flight`, `memory`, `queue` and `connections` are
    about the whole gateway."""

    body: Size = 64 * MIB
    json_size: Size = 4 * MIB
    json_depth: Count = 64
    messages: Count = 4096
    parts: Count = 256
    images: Count = 32
    image: Size = 20 * MIB
    audio: Size = 25 * MIB
    video: Size = 44 * MIB
    tools: Count = 128
    stop: Count = 16
    choices: Count = 16
    top_logprobs: Count = 20
    model_name: Count = 256
    in_flight: Count = 1024
    memory: Size = 256 * MIB
    queue: Whole = 100
    connections: Count = 4096
    event: Size = 1 * MIB
    answer: Size = 64 * MIB
    error_body: Size = 64 * KIB

    def most_octets(self, modality: str) -> int:
        """Of one medium of this modality."""
        return {"audio": self.audio, "video": self.video}.get(modality, self.image)


class BackendTimeouts(Section):
    """Seconds that a server is given. `None` in a backend's own `timeouts` = as at the top level."""

    connect: Seconds = 3.0
    first_byte: Seconds = 120.0
    first_byte_unknown: Seconds = 600.0
    idle: Seconds = 60.0
    total: Seconds = 1800.0
    queue: Seconds = 8.0
    probe: Seconds = 2.0
    liveness: Seconds = 5.0
    facts: Seconds = 30.0


class Timeouts(BackendTimeouts):
    """Seconds. The first nine may be set per backend; the rest is about clients and the gateway itself. `queue` is
    always below `life_sign`: overload is said before a stream commits its 200."""

    life_sign: Seconds = 10.0
    drain: Seconds = 300.0
    client_body: Seconds = 30.0
    send_stall: Seconds = 60.0


class KeySettings(Section):
    """One key of a keys file. `id` is what the log and all that is kept go by; `digest` is of the key and the secret
    beside the file (settings/keyfile). What is None is not limited, or as `quotas` says. `expires`, `revoked`,
    `created`: Unix seconds."""

    id: KeyId
    name: Line
    digest: Digest
    created: Moment | None = None
    expires: Moment | None = None
    revoked: Moment | None = None
    models: Annotated[tuple[Annotated[str, BeforeValidator(read_alias)], ...], BeforeValidator(read_list)] | None = None
    modalities: Modalities | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    in_flight: Count | None = None


class AuthSettings(Section):
    """Who may come in. `mode`: none | api_key (the one in `api_key`) | keys_file (those in `keys`, whose digests were
    made with `secret`)."""

    derived = frozenset({"mode", "api_key", "keys", "secret"})

    mode: Literal["none", "api_key", "keys_file"]
    api_key_env: Variable | None = None
    api_key_file: FilePath | None = None
    keys_file: FilePath | None = None
    api_key: SecretStr | None = None
    keys: tuple[KeySettings, ...] = ()
    secret: SecretBytes = SecretBytes(b"")


class BackendSettings(Section):
    """One server. `kind` None = to be detected. `local` = on the user's own machines. `facts` is what the operator
    says, `hardware`, `variant` and `quantization` included. `timeouts` is complete: its own over the top level's."""

    derived = frozenset({"name", "api_key"})

    name: str
    kind: str | None = None
    url: Annotated[str, BeforeValidator(read_url)] | None = None
    local: Flag = True
    facts: Facts = Field(default_factory=Facts)
    hardware: Word | None = None
    variant: Word | None = None
    quantization: Word | None = None
    max_in_flight: Count | None = None
    timeouts: BackendTimeouts = BackendTimeouts()
    allow: frozenset[str] = frozenset()
    project: Line | None = None
    location: Line | None = None
    endpoint: Line | None = None
    api_key_env: Variable | None = None
    api_key_file: FilePath | None = None
    api_key: SecretStr | None = None
    run: dict[str, Any] | None = None


class TargetSettings(Section):
    """`model` None = the one that the backend serves when it is first seen."""

    backend: Line
    model: Line | None = None
    weight: Positive = 1.0


class ModelSettings(Section):
    """A public name. `aliases` may hold patterns with * and ?. `thinking` is what holds when a request asks nothing
    about it; `defaults` are request fields that hold when a request does not set them."""

    derived = frozenset({"name"})

    name: str
    aliases: Annotated[tuple[Annotated[str, BeforeValidator(read_alias)], ...], BeforeValidator(read_list)] = ()
    targets: Annotated[tuple[TargetSettings, ...], BeforeValidator(read_entries), Field(min_length=1)]
    thinking: ThinkingConfig | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)


class CorsSettings(Section):
    origins: Origins = ()


class MediaSettings(Section):
    """Fetching of media by URL. `remote`: guarded (public https only) | off | allow (only the hosts in `allow`)."""

    derived = frozenset({"allow"})

    remote: Annotated[Literal["guarded", "off", "allow"], BeforeValidator(one_of("guarded", "off", "allow"))] = (
        "guarded"
    )
    allow: MediaHosts = ()


class AutoSettings(Section):
    """The model name `auto`. `hosted`: may it leave the house when no local target fits."""

    hosted: Flag = False
    prefer: tuple[Selector, ...] = ()


class StateSettings(Section):
    """What outlives a request: uploaded files, answers that later requests go on from, thoughts of running turns. `dir`
    None = in memory only. `files` and `answers`: octets, None = what suits the place. `ttl`: seconds after the upload
    of a file, and after the last use of an answer."""

    dir: FilePath | None = None
    files: Size | None = None
    answers: Size | None = None
    ttl: Seconds = 48 * 3600.0

    @property
    def room_for_files(self) -> int:
        return self.files or (4096 if self.dir is not None else 128) * MIB

    @property
    def room_for_answers(self) -> int:
        return self.answers or (1024 if self.dir is not None else 64) * MIB


class AdminSettings(Section):
    """Empty = metrics and console on the main address."""

    listen: tuple[Address, ...] = ()


_LEVELS = ("debug", "info", "warning", "error")


class LogSettings(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(one_of(*_LEVELS))] = "info"
    format: Annotated[Literal["json", "text"], BeforeValidator(one_of("json", "text"))] = "json"


class OtelSettings(Section):
    """`endpoint`: the collector's OTLP/HTTP address, without `/v1/traces`. `sample`: the share of requests that are
    traced, of those whose client does not say."""

    derived = frozenset({"headers"})

    endpoint: Annotated[str, BeforeValidator(read_url)]
    headers_env: Variable | None = None
    headers: SecretStr | None = None
    """What that variable holds: `name=value,name=value`."""
    service_name: Line = "gemma-gateway"
    sample: Annotated[float, BeforeValidator(between(0, 1))] = 1.0


class TlsSettings(Section):
    cert: FilePath
    key: FilePath


class QuotaSettings(Section):
    """Per client key; None = no quota."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    in_flight: Count | None = None


class Settings(Section):
    """One validated configuration. Nothing in it changes; a reload makes another one."""

    derived = frozenset()

    listen: tuple[Address, ...] = (Address("127.0.0.1", 4000),)
    auth: AuthSettings = AuthSettings(mode="none")
    cors: CorsSettings = CorsSettings()
    backends: dict[str, BackendSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    routes: tuple[Rule, ...] = DEFAULT_RULES
    privacy: dict[str, str] = Field(default_factory=lambda: {"audio": "local"})
    media: MediaSettings = MediaSettings()
    auto: AutoSettings = AutoSettings()
    unknown_model: str = "error"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    repair: Annotated[Literal["off", "observe", "fix"], BeforeValidator(one_of("off", "observe", "fix"))] = "fix"
    runaway: Annotated[Literal["off", "observe", "stop"], BeforeValidator(one_of("off", "observe", "stop"))] = "observe"
    state: StateSettings = StateSettings()
    admin: AdminSettings = AdminSettings()
    log: LogSettings = LogSettings()
    otel: OtelSettings | None = None
    tls: TlsSettings | None = None
    quotas: QuotaSettings = QuotaSettings()

    @cached_property
    def policy(self) -> Policy:
        """What routing goes by."""
        rules = list(self.routes)
        if self.auto.prefer:
            rules.append(Rule(Match(model=("auto",)), prefer=self.auto.prefer, path="auto.prefer"))
        return Policy(rules=rules, privacy=self.privacy, auto_hosted=self.auto.hosted)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with the content, defaults filled in. Secrets are not part of it: a
        reload reads them again even where the digest stands still."""
        text = json.dumps(_plain(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """The value as JSON in one fixed order, without secrets."""
    if isinstance(value, SecretStr | SecretBytes):
        return None
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Path) else value
