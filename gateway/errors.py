"""Every way a request can fail. One class = one status = one code = one decision about trying elsewhere.

    GatewayError
    ├── BadRequest 400 ── InvalidJson, MissingParameter, UnsupportedParameter, PartRefused,
    │                     ContextTooLong, NoTargetFits, UpstreamRefused (MediumRefused, NeedsOtherForm),
    │                     WrongModality
    ├── InvalidKey 401   ModelNotAllowed 403   ModalityNotAllowed 403   PrivacyRail 403   FromElsewhere 403
    ├── ModelNotFound 404   NotFound 404   MethodNotAllowed 405   RequestTimeout 408
    ├── TooLarge 413   UnsupportedMedia 415   NoWebSocket 426   RateLimited 429   HeadTooLarge 431
    ├── Internal 500 (a bug, by definition)   NotImplementedHere 501
    ├── UpstreamError 502 ── UpstreamUnavailable, ConnectError, Reset, Truncated, ProtocolFault, BadResponse,
    │                        BadCredentials, ToolChoiceNotSatisfied, SchemaNotSatisfied,
    │                        TranscriptIncomplete
    ├── Overloaded 503 ── NoHealthyBackend, UsedUp, ModelGone, ShuttingDown, UpstreamBusy, UpstreamRateLimited 429
    └── UpstreamTimeout 504 ── DeadlinePassed

`failover` says what another target is worth: "never" (the fault is the client's, or would repeat), "once" (it may be
this request that breaks servers), "next" (this target is the problem). `verdict` is what the failure says about the
target's health: "fault", "neutral" (busy is not broken) or "fine".
Messages are for clients: no address, key, path of a machine or traceback is ever put in one.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Failover = Literal["never", "once", "next"]
Verdict = Literal["fine", "neutral", "fault"]


class GatewayError(Exception):
    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    failover: ClassVar[Failover] = "never"
    verdict: ClassVar[Verdict] = "fine"
    should_retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        code: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """`param` is the JSON path of the field at fault, `retry_after` in seconds, `detail` goes into the body's
        `gateway` field (per-target reasons). `code` refines the class's code and never changes its fate."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.detail = detail
        if code is not None:
            self.code = code  # type: ignore[misc]


class BadRequest(GatewayError):
    status, type, code = 400, "invalid_request_error", "invalid_value"


class InvalidJson(BadRequest):
    code = "invalid_json"


class MissingParameter(BadRequest):
    code = "missing_required_parameter"


class UnsupportedParameter(BadRequest):
    code = "unsupported_parameter"


class PartRefused(BadRequest):
    """A content part that no way leads on from here; `param` is its path."""

    code = "unsupported_content"


class ContextTooLong(BadRequest):
    """The prompt is too long for this target; another may have more room."""

    code = "context_length_exceeded"
    failover: ClassVar[Failover] = "next"


class NoTargetFits(BadRequest):
    code = "no_target_fits"


class UpstreamRefused(BadRequest):
    """The server called the request wrong (its 400 or 422): its words, in our shape."""

    code = "invalid_value"


class MediumRefused(UpstreamRefused):
    """The server could not read a medium. `modality` = of which kind, "" if it does not say: servers name no place, the
    engine looks for it in the request."""

    def __init__(self, message: str, *, modality: str = "", **more: Any) -> None:
        super().__init__(message, **more)
        self.modality = modality


class NeedsOtherForm(UpstreamRefused):
    """The server wants the same request written in another form. `learned`: facts that make the next call right."""

    failover: ClassVar[Failover] = "next"
    verdict: ClassVar[Verdict] = "neutral"

    def __init__(self, message: str, *, learned: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.learned = learned or {}


class InvalidKey(GatewayError):
    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class ModelNotAllowed(GatewayError):
    status, type, code = 403, "permission_error", "model_not_allowed"


class ModalityNotAllowed(GatewayError):
    status, type, code = 403, "permission_error", "modality_not_allowed"


class FromElsewhere(GatewayError):
    """Where nobody needs a key: a page of another origin, or a name that is not this machine's, leads here."""

    status, type, code = 403, "permission_error", "origin_not_allowed"


class PrivacyRail(GatewayError):
    status, type, code = 403, "permission_error", "privacy_rail"


class ModelNotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "model_not_found"


class NotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(GatewayError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestTimeout(GatewayError):
    status, type, code = 408, "invalid_request_error", "request_timeout"
    should_retry = True


class TooLarge(GatewayError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class UnsupportedMedia(GatewayError):
    status, type, code = 415, "invalid_request_error", "unsupported_media_type"


class NoWebSocket(GatewayError):
    """A client that asks for a WebSocket: it falls back to POST at once when it is told this, and only this."""

    status, type, code = 426, "invalid_request_error", "websocket_not_supported"


class RateLimited(GatewayError):
    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"
    should_retry = True


class HeadTooLarge(GatewayError):
    status, type, code = 431, "invalid_request_error", "request_head_too_large"


class Internal(GatewayError):
    """A bug in the gateway. The message never says more than the request id."""


class NotImplementedHere(GatewayError):
    status, type, code = 501, "server_error", "not_implemented"


class UpstreamError(GatewayError):
    """The server failed (its 500). It may be this very request that breaks it, so one other target is tried."""

    status, type, code = 502, "server_error", "upstream_error"
    failover: ClassVar[Failover] = "once"
    verdict: ClassVar[Verdict] = "fault"


class UpstreamUnavailable(UpstreamError):
    """502 or 504 of a proxy in front of the server."""

    failover: ClassVar[Failover] = "next"


class ConnectError(UpstreamError):
    code = "upstream_connect_error"
    failover: ClassVar[Failover] = "next"


class Reset(UpstreamError):
    code = "upstream_reset"
    failover: ClassVar[Failover] = "next"


class Truncated(UpstreamError):
    code = "upstream_truncated"
    failover: ClassVar[Failover] = "next"


class ProtocolFault(UpstreamError):
    code = "upstream_protocol_error"
    failover: ClassVar[Failover] = "next"


class BadResponse(UpstreamError):
    code = "upstream_bad_response"


class BadCredentials(UpstreamError):
    """The server does not take *our* key: the client's key has nothing to do with it."""

    failover: ClassVar[Failover] = "next"


class WrongModality(BadRequest):
    """The server refuses a modality that its facts promised: probe it again, try the next target."""

    code = "unsupported_modality"
    failover: ClassVar[Failover] = "next"
    verdict: ClassVar[Verdict] = "neutral"


class ToolChoiceNotSatisfied(UpstreamError):
    code = "tool_choice_not_satisfied"
    failover: ClassVar[Failover] = "never"
    verdict: ClassVar[Verdict] = "fine"


class SchemaNotSatisfied(UpstreamError):
    code = "schema_not_satisfied"
    failover: ClassVar[Failover] = "never"
    verdict: ClassVar[Verdict] = "fine"


class TranscriptIncomplete(UpstreamError):
    """The model did not write down all that is said: half a transcript can't be told from a whole one."""

    code = "transcript_incomplete"
    verdict: ClassVar[Verdict] = "fine"


class Overloaded(GatewayError):
    status, type, code = 503, "service_unavailable_error", "server_is_overloaded"
    failover: ClassVar[Failover] = "next"
    verdict: ClassVar[Verdict] = "neutral"
    should_retry = True
    rest: ClassVar[float] = 0.0
    """Seconds for which the server need not be asked again while another one is there."""


class NoHealthyBackend(Overloaded):
    code = "no_healthy_backend"


class UsedUp(NoHealthyBackend):
    """The account at the server has nothing left, which no moment of waiting changes."""

    rest: ClassVar[float] = 300.0


class ModelGone(NoHealthyBackend):
    """The server no longer has the model that it listed, or has another one in its place."""


class ShuttingDown(Overloaded):
    code = "server_shutting_down"


class UpstreamBusy(Overloaded):
    """A hosted server says that it is overloaded."""

    type, code = "server_error", "service_unavailable"


class UpstreamRateLimited(Overloaded):
    """A hosted server's limit for the gateway's key: another target may have room. The client is told which it is."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class UpstreamTimeout(GatewayError):
    status, type, code = 504, "server_error", "upstream_timeout"
    failover: ClassVar[Failover] = "once"
    verdict: ClassVar[Verdict] = "fault"


class DeadlinePassed(UpstreamTimeout):
    """A request took longer than any may take. It says nothing about the server: some answers never end."""

    failover: ClassVar[Failover] = "never"
    verdict: ClassVar[Verdict] = "neutral"


class ClientGone(GatewayError):
    """The client left: nobody reads this; it is what log and metrics say."""

    status, code = 499, "client_disconnected"


def by_code(code: str) -> type[GatewayError]:
    """The class that a fault's code stands for, of several with one code the most general; UpstreamError for a code
    that is none of ours."""
    return _BY_CODE.get(code, UpstreamError)


def _codes(root: type[GatewayError], into: dict[str, type[GatewayError]]) -> dict[str, type[GatewayError]]:
    into.setdefault(root.code, root)
    for kind in root.__subclasses__():
        _codes(kind, into)
    return into


# in a fault these are a server's words on the request and on its limits, not ours
_BY_CODE = _codes(GatewayError, {UpstreamRefused.code: UpstreamRefused, UpstreamRateLimited.code: UpstreamRateLimited})
