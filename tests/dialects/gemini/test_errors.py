"""Errors, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import errors
from gateway.canonical.events import Fault
from gateway.dialects.gemini.errors import http_status, read_error, read_fault, render_error, render_fault


def every(root: type[errors.GatewayError]) -> list[type[errors.GatewayError]]:
    return [root, *(c for kind in root.__subclasses__() for c in every(kind))]


STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@pytest.mark.parametrize("kind", sorted(every(errors.GatewayError), key=lambda k: k.__name__))
def test_every_error_has_a_status_of_google_rpc(kind: type[errors.GatewayError]) -> None:
    extra: dict[str, Any] = {}
    if kind is errors.NeedsOtherForm:
        extra["learned"] = {}
    if kind is errors.MediumRefused:
        extra["modality"] = "image"
    error = kind("words", **extra)
    inner = render_error(error)["error"]
    assert list(render_error(error)) == ["error"] and next(iter(inner)) == "code"
    assert type(inner["code"]) is int and inner["code"] == http_status(error)
    assert inner["message"].endswith("words")
    if kind is not errors.NoWebSocket:
        assert inner["status"] == STATUSES[inner["code"]]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.TooLarge("x"), 400),
        (errors.UnsupportedMedia("x"), 400),
        (errors.HeadTooLarge("x"), 400),
        (errors.RequestTimeout("x"), 504),
        (errors.UpstreamError("x"), 500),
        (errors.BadResponse("x"), 500),
        (errors.SchemaNotSatisfied("x"), 500),
        (errors.ConnectError("x"), 503),
        (errors.Truncated("x"), 503),
        (errors.NoHealthyBackend("x"), 503),
        (errors.UpstreamRateLimited("x"), 429),
        (errors.MethodNotAllowed("x"), 405),
    ],
)
def test_statuses(error: errors.GatewayError, status: int) -> None:
    assert http_status(error) == status


def test_details() -> None:
    error = errors.BadRequest("`contents` is wrong", param="contents[0]")
    error.detail = {"targets": []}
    assert render_error(error) == {
        "error": {
            "code": 400,
            "message": "`contents` is wrong",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "contents[0]", "description": "`contents` is wrong"}],
                },
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "INVALID_VALUE",
                    "domain": "gateway",
                },
            ],
            "gateway": {"targets": []},
        }
    }
    limited = render_error(errors.RateLimited("slow", retry_after=47.4344))["error"]["details"]
    assert limited[-1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "47.434s"}
    # a server's word for a field is of another dialect
    assert "details" not in render_error(errors.UpstreamRefused("x", param="max_tokens"))["error"]


def body(code: Any, status: Any, message: str = "x", **more: Any) -> dict[str, Any]:
    return {"code": code, "status": status, "message": message, **more}


KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "47.434392449s"}


@pytest.mark.parametrize(
    ("inner", "kind", "code", "wait"),
    [
        (body(400, "INVALID_ARGUMENT"), errors.UpstreamRefused, "invalid_value", None),
        (body(400, "INVALID_ARGUMENT", details=[KEY]), errors.BadCredentials, "upstream_error", None),
        (body(400, "FAILED_PRECONDITION"), errors.BadCredentials, "upstream_error", None),
        (
            body(
                400, "INVALID_ARGUMENT", "The input token count (99) exceeds the maximum number of tokens allowed (9)."
            ),
            errors.ContextTooLong,
            "context_length_exceeded",
            None,
        ),
        (body(401, "UNAUTHENTICATED"), errors.BadCredentials, "upstream_error", None),
        (body(403, "PERMISSION_DENIED"), errors.BadCredentials, "upstream_error", None),
        (body(404, "NOT_FOUND"), errors.ModelGone, "no_healthy_backend", None),
        (body(429, "RESOURCE_EXHAUSTED"), errors.UpstreamRateLimited, "rate_limit_exceeded", None),
        (
            body(429, "RESOURCE_EXHAUSTED", details=[WAIT]),
            errors.UpstreamRateLimited,
            "rate_limit_exceeded",
            47.434392449,
        ),
        (
            body(429, "RESOURCE_EXHAUSTED", details=[DAY, WAIT]),
            errors.UpstreamRateLimited,
            "insufficient_quota",
            47.434392449,
        ),
        (body(500, "INTERNAL"), errors.UpstreamError, "upstream_error", None),
        (body(503, "UNAVAILABLE"), errors.UpstreamBusy, "service_unavailable", None),
        (body(504, "DEADLINE_EXCEEDED"), errors.UpstreamTimeout, "upstream_timeout", None),
        (body(503, None), errors.UpstreamBusy, "service_unavailable", None),
        (body(418, None), errors.UpstreamRefused, "invalid_value", None),
        (body("503", "SOMETHING_NEW"), errors.UpstreamError, "upstream_error", None),
        (body(None, None, details="x"), errors.UpstreamError, "upstream_error", None),
    ],
)
def test_what_servers_say(inner: Any, kind: type, code: str, wait: float | None) -> None:
    error = read_error(inner)
    assert type(error) is kind and (error.code, error.retry_after) == (code, wait)


@pytest.mark.parametrize("value", [None, 3, {}, [], {"error": None}, {"error": {}}, {"candidates": []}, [[]]])
def test_no_error(value: Any) -> None:
    assert read_fault(value) is None


def test_faults() -> None:
    fault = read_fault([{"error": body(503, "UNAVAILABLE", "over")}])
    assert fault == Fault("service_unavailable", "over", 503, None, {"gemini": {"code": 503, "status": "UNAVAILABLE"}})
    assert render_fault(fault) == {
        "error": {
            "code": 503,
            "message": "over",
            "status": "UNAVAILABLE",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "SERVICE_UNAVAILABLE",
                    "domain": "gateway",
                }
            ],
        }
    }
    assert read_fault({"error": "oops"}) == Fault("upstream_error", "oops", 502)
