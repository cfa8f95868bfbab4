from __future__ import annotations

from typing import Any

import pytest

from gateway import errors
from gateway.canonical.events import Fault
from gateway.dialects.openai.errors import MAX_MESSAGE, error_of, read_error, render_error, render_fault
from tests.wire import names, recorded


def classes(base: type[errors.GatewayError]) -> list[type[errors.GatewayError]]:
    return [base, *(c for sub in base.__subclasses__() for c in classes(sub))]


@pytest.mark.parametrize("kind", classes(errors.GatewayError))
def test_every_error_has_all_four_keys(kind: type[errors.GatewayError]) -> None:
    body = render_error(kind("what went wrong", param="messages[0]"))
    assert body == {
        "error": {"message": "what went wrong", "type": kind.type, "param": "messages[0]", "code": kind.code}
    }
    assert render_error(kind("x"))["error"]["param"] is None
    assert render_error(kind("x", detail={"targets": [1]}))["error"]["gateway"] == {"targets": [1]}


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"error": {"message": "m", "type": "BadRequestError", "param": None, "code": 400}}, "invalid_value", 400),
        ({"error": {"message": "m", "type": "server_error", "code": 500}}, "upstream_error", 502),
        ({"error": {"message": "m", "code": 501}}, "upstream_error", 502),
        ({"error": {"message": "m", "code": "503"}}, "server_is_overloaded", 503),
        ({"error": {"message": "m", "code": 429}}, "server_is_overloaded", 503),
        ({"error": {"message": "m", "type": "rate_limit_error", "code": "slow_down"}}, "server_is_overloaded", 503),
        ({"error": {"message": "m", "code": 504}}, "upstream_timeout", 504),
        ({"error": {"message": "m", "code": 401}}, "upstream_error", 502),
        ({"error": {"message": "m", "code": 404}}, "upstream_error", 502),
        ({"error": {"message": "m", "type": "invalid_request_error"}}, "invalid_value", 400),
        ({"error": {"message": "m", "code": "context_length_exceeded"}}, "context_length_exceeded", 400),
        (
            {"error": {"message": "This model's maximum context length is 9", "code": 400}},
            "context_length_exceeded",
            400,
        ),
        ({"error": "Unauthorized"}, "upstream_error", 502),
        ({"error": "m", "error_type": "overloaded"}, "server_is_overloaded", 503),
        ({"error": "m", "error_type": "validation"}, "invalid_value", 400),
        ({"error": ["odd"]}, "upstream_error", 502),
        ({"error": {}}, "upstream_error", 502),
        ({"error": {"code": True}}, "upstream_error", 502),
        ({"object": "error", "message": "m", "code": 400, "type": "x"}, "invalid_value", 400),
    ],
)
def test_what_servers_say(body: Any, code: str, status: int) -> None:
    fault = read_error(body)
    assert fault is not None and (fault.code, fault.status) == (code, status)
    error = error_of(fault)
    assert (error.code, error.status, error.message) == (code, status, fault.message)


@pytest.mark.parametrize("body", [None, [], "x", {}, {"error": None}, {"error": False}, {"object": "list"}])
def test_what_is_no_error(body: Any) -> None:
    assert read_error(body) is None


def test_what_else_the_server_said_is_kept() -> None:
    fault = read_error(recorded("llamacpp/err_context_too_long").json)
    assert fault is not None and fault.code == "context_length_exceeded"
    assert fault.extra is not None and fault.extra["openai"]["n_ctx"] == 4096
    long = read_error({"error": {"message": "x" * 9999}})
    assert long is not None and len(long.message) == MAX_MESSAGE


def test_recorded_errors() -> None:
    seen = 0
    for name in names("vllm/err_*") + names("llamacpp/err_*"):
        told = recorded(name)
        wanted = {400: 400, 500: 502, 501: 502, 404: 502}.get(told.status)
        if wanted is not None and told.body.startswith(b'{"error"'):
            fault = read_error(told.json)
            assert fault is not None and fault.status == wanted, name
            seen += 1
    assert seen > 10


def test_faults_look_like_errors() -> None:
    assert render_fault(Fault("invalid_value", "m", 400, "p")) == render_error(errors.BadRequest("m", param="p"))
    assert render_fault(Fault("upstream_truncated", "m")) == render_error(errors.Truncated("m"))
    assert render_fault(Fault("server_is_overloaded", "m", 503)) == render_error(errors.Overloaded("m"))
