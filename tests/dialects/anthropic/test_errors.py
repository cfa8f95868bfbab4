"""Errors in the words of this dialect."""

from __future__ import annotations

import pytest

from gateway.dialects.anthropic.errors import render_error
from gateway.dialects.anthropic.messages import parse_request
from gateway.errors import BadRequest, ContextTooLong, UnsupportedParameter

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_thread_is_refused_so_that_the_sdk_goes_on_without(thread: dict[str, str]):
    with pytest.raises(UnsupportedParameter) as refused:
        parse_request({**ASK, "thread": thread})
    error = render_error(refused.value)["error"]
    assert error["details"]["error_code"] == "thread_unsupported_request"
    assert (error["type"], error["param"]) == ("invalid_request_error", "thread")


def test_other_fields_are_refused_without_that():
    with pytest.raises(UnsupportedParameter) as refused:
        parse_request({**ASK, "container": "c_1"})
    assert "details" not in render_error(refused.value)["error"]


def test_the_path_stands_at_the_head():
    error = render_error(BadRequest("must be a string", param="messages[0].role"))["error"]
    assert error["message"] == "messages[0].role: must be a string"


def test_too_long_is_said_in_the_words_that_agents_know():
    assert render_error(ContextTooLong("5000 tokens"))["error"]["message"] == "prompt is too long: 5000 tokens"
