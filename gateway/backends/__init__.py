"""Kinds of model server: what each speaks, and its small print.

A kind is one file here (the YAML `kind` is the file's name) with a class `Backend`, and one test of the same name.
Nothing here waits: `build` turns a request into a `Call`, `probe` is a generator that yields calls and is sent replies,
and the engine does the rest. `base.py` holds what the OpenAI-speaking kinds share.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from gateway.canonical.content import Decoded, Segments
from gateway.canonical.events import Answer
from gateway.canonical.facts import Facts, Finding, State, Target
from gateway.canonical.requests import CountTokens, Request
from gateway.dialects import Decoder
from gateway.errors import GatewayError

Body = Sequence[bytes | Segments | Decoded]
"""A request body in pieces, in order: JSON text with the long base64 texts as they came in, or a form with a file,
which is decoded while it is sent. Never joined."""


@dataclass(slots=True)
class Call:
    """One HTTP request to a server. `path` is under the backend's URL. `body` None = no body.

    `streamed` = the reply is read as events by `decoder`, and folded for a client that wants the whole; else as one
    JSON value by `read`. `event_type` = the media type of a stream there.
    `octets_out` = the reply is no JSON: it goes to the client as it comes.
    `dropped` names the request's fields that this server does not get; `fates` tells, for content parts that did not go
    as they came, what became of each: `{part number: "audio>wav16k"}`. `carries`: the modalities inside of the media
    in the body, as they are and as they were before they were converted; None = nobody has looked.
    """

    method: str
    path: str
    body: Body | None = None
    headers: dict[str, str] = field(default_factory=dict)
    streamed: bool = False
    event_type: str = "text/event-stream"
    octets_out: bool = False
    dropped: list[str] = field(default_factory=list)
    fates: dict[int, str] = field(default_factory=dict)
    carries: frozenset[str] | None = None

    def octets(self) -> bytes:
        """The whole body in one piece: for small bodies and tests."""
        return b"".join(p if isinstance(p, bytes) else b"".join(p) for p in self.body or [])


@dataclass(slots=True)
class Reply:
    """What came back to a probe. `status` 0 = nobody answered (`error` says why). Header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""


@dataclass(slots=True)
class Model:
    """One model that a server lists. `state` only where the server tells (routers that load on demand)."""

    id: str
    aliases: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    state: State = "ready"
    root: str = ""
    """The path or hub id behind the served name, where the server tells: size and quantization are read from it."""


@dataclass(slots=True)
class Discovery:
    """What a probe found. `state` is the server's own; `models` is empty unless it is ready or cold."""

    state: State
    models: list[Model] = field(default_factory=list)
    version: str = ""
    detail: str = ""
    """For the operator: what was found that should not be, and what to do about it."""
    findings: list[Finding] = field(default_factory=list)
    """The same and more, one by one."""


@dataclass(slots=True)
class Load:
    """How busy a server says it is. None = it does not say. `running` and `waiting` count requests, whoever sent them;
    `cache` is the share of its cache for prompts and answers that is in use, from 0 to 1."""

    running: int | None = None
    waiting: int | None = None
    cache: float | None = None


Probe = Generator[Call, Reply, Discovery]
Liveness = Generator[Call, Reply, State]
Busyness = Generator[Call, Reply, Load | None]


@dataclass(slots=True, frozen=True)
class Place:
    """What the configuration says of where a backend is, and which models it names there ("" = whatever is served)."""

    url: str = ""
    project: str = ""
    location: str = ""
    endpoint: str = ""
    models: tuple[str, ...] = ()


class Backend(Protocol):
    """A kind of server. Instances hold no state and no address."""

    kind: str
    local: bool
    """True if servers of this kind run on the user's machines unless the config says otherwise."""
    tier: int
    """Readiness tier, 0 is the best."""
    slots: int
    """Requests in flight at once where neither probe nor operator says."""
    names_itself: bool
    """The `model` of an answer tells what the server serves, whatever it was asked for."""
    parts_tenants: bool
    """It keeps the cached prompts of several tenants apart where it is told whose a request is."""
    loose_arguments: bool
    """It gives numbers and truth values among a call's arguments as texts."""
    token_scope: str
    """Where it takes short-lived tokens instead of a lasting key: the scope that they must have. Else ""."""
    reads_thoughts: bool
    """It tells its model's thoughts from the answer, also where the prompt ended inside of one."""
    witness: str
    """A path whose GET tells a server of this kind apart where its list of models does not; "" = there is none."""
    assumed: Facts
    """What every server of this kind does unless a better source says otherwise."""
    hints: Mapping[str, str]
    """need -> the flag or action that would give it: `{"image": "start llama-server with --mmproj FILE"}`."""

    def credentials(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""
        ...

    def placed(self, place: Place) -> Backend:
        """The same kind for one backend of the configuration: another object where paths depend on the place."""
        ...

    def build(self, request: Request, target: Target, facts: Facts) -> Call: ...
    def decoder(self, request: Request) -> Decoder: ...
    def read(self, request: Request, body: Any) -> Answer | dict[str, Any]: ...
    def error_in(self, body: Any) -> GatewayError | None:
        """The error inside a body that came with status 200, None if it holds none."""
        ...

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError: ...
    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call | None: ...
    def read_count(self, body: Any) -> int: ...
    def claims(self, models: Reply) -> bool:
        """Is it a server of this kind that gave this reply to GET /v1/models?"""
        ...

    def admits(self, reply: Reply) -> bool:
        """Is it a server of this kind that gave this reply to GET `witness`?"""
        ...

    def alive(self) -> Liveness: ...
    def probe(self) -> Probe: ...
    def busy(self, model: str) -> Busyness:
        """How busy the server is with that model of its, which it has loaded; None if servers of this kind don't say.
        Cheap, and it loads nothing."""
        ...


def kinds() -> list[str]:
    """The names of all kinds, in alphabetical order."""
    here = Path(__file__).parent
    return sorted(p.stem for p in here.glob("*.py") if p.stem not in ("__init__", "base"))


def load(kind: str) -> Backend:
    """The kind of that name. Raises KeyError with the choices if there is none."""
    if kind not in kinds():
        raise KeyError(f"unknown kind {kind!r} (choices: {', '.join(kinds())})")
    backend: Backend = import_module(f"gateway.backends.{kind}").Backend()
    return backend


def kinds_of_environment() -> dict[str, tuple[str, str]]:
    """The backends that there are, where no file says otherwise, if a variable with their key is set: name -> (kind,
    variable). A kind's file says so in `ENVIRONMENT`."""
    out: dict[str, tuple[str, str]] = {}
    for kind in kinds():
        told: tuple[str, str] | None = getattr(import_module(f"gateway.backends.{kind}"), "ENVIRONMENT", None)
        if told is not None:
            out[told[0]] = (kind, told[1])
    return out


def provider(kind: str) -> str:
    """OpenTelemetry's `gen_ai.provider.name` for a backend of that kind: what the kind's file says in `PROVIDER`, else
    the kind."""
    name: str = getattr(import_module(f"gateway.backends.{kind}"), "PROVIDER", kind)
    return name


def missing(kind: str) -> str:
    """What has to be installed before backends of that kind can be used, as words with the command to type; "" if
    nothing. A kind's file says so in `REQUIRES`: module -> extra of this package."""
    requires: Mapping[str, str] = getattr(import_module(f"gateway.backends.{kind}"), "REQUIRES", {})
    for module, extra in requires.items():
        if not _is_there(module):
            return f"the kind {kind} needs {module}, which is not installed: pip install 'gemma-gateway[{extra}]'"
    return ""


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def run_probe(probe: Generator[Call, Reply, Any], replies: Iterator[Reply]) -> Any:
    """Drives a probe with replies that are already known: for tests over recorded bytes."""
    try:
        next(probe)
        while True:
            probe.send(next(replies))
    except StopIteration as stop:
        return stop.value
