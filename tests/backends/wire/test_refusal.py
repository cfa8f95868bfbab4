import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import errors
from gateway.backends import kinds, load
from gateway.backends.wire.refusal import LONGEST_WAIT, Signs, error_for, error_in, read, retry_after
from tests.backends.recorded import exchange

RECORDED = [
    ("llamacpp", "err_404", errors.ModelGone),
    ("llamacpp", "err_405", errors.ModelGone),
    ("llamacpp", "err_bad_arguments", errors.UpstreamRefused),
    ("llamacpp", "err_bad_audio", errors.MediumRefused),
    ("llamacpp", "err_bad_grammar", errors.UpstreamRefused),
    ("llamacpp", "err_bad_image", errors.MediumRefused),
    ("llamacpp", "err_bad_ref", errors.UpstreamRefused),
    ("llamacpp", "err_bad_schema", errors.UpstreamRefused),
    ("llamacpp", "err_bad_video", errors.MediumRefused),
    ("llamacpp", "err_context_too_long", errors.ContextTooLong),
    ("llamacpp", "err_empty_messages", errors.UpstreamRefused),
    ("llamacpp", "err_image_file_url", errors.UpstreamRefused),
    ("llamacpp", "err_image_http_loopback", errors.UpstreamRefused),
    ("llamacpp", "err_invalid_json", errors.UpstreamRefused),
    ("llamacpp", "err_logprobs_tools_stream", errors.UpstreamRefused),
    ("llamacpp", "err_n_too_big", errors.UpstreamRefused),
    ("llamacpp", "err_stream_context_too_long", errors.ContextTooLong),
    ("llamacpp", "err_two_prompts", errors.UpstreamRefused),
    ("llamacpp", "err_unknown_part", errors.UpstreamRefused),
    ("llamacpp", "audio_url", errors.UpstreamRefused),
    ("llamacpp", "video_frames_jpeg_dataurl", errors.MediumRefused),
    ("llamacpp", "noffmpeg_video", errors.MediumRefused),
    ("llamacpp", "embeddings", errors.ModelGone),
    ("llamacpp", "smollm2_err_audio_text_only", errors.WrongModality),
    ("llamacpp", "smollm2_err_image_text_only", errors.WrongModality),
    ("llamacpp", "smollm2_err_video_text_only", errors.WrongModality),
    ("llamacpp", "smollm2_err_401", errors.BadCredentials),
    ("llamacpp", "smollm2_err_401_badkey", errors.BadCredentials),
    ("llamacpp", "smollm2_err_401_models", errors.BadCredentials),
    ("llamacpp", "router_err_nomodel", errors.ModelGone),
    ("llamacpp", "router_err_unknown", errors.ModelGone),
    ("vllm", "err_404", errors.ModelGone),
    ("vllm", "err_405", errors.ModelGone),
    ("vllm", "err_bad_audio", errors.UpstreamRefused),
    ("vllm", "err_bad_image", errors.UpstreamRefused),
    ("vllm", "err_bad_schema", errors.UpstreamRefused),
    ("vllm", "err_bad_video", errors.UpstreamRefused),
    ("vllm", "err_context_too_long", errors.ContextTooLong),
    ("vllm", "err_empty_messages", errors.UpstreamRefused),
    ("vllm", "err_image_file_url", errors.UpstreamError),
    ("vllm", "err_image_http_loopback", errors.UpstreamError),
    ("vllm", "err_invalid_json", errors.UpstreamRefused),
    ("vllm", "err_max_tokens_too_big", errors.UpstreamRefused),
    ("vllm", "err_stream_context_too_long", errors.ContextTooLong),
    ("vllm", "err_temp_range", errors.UpstreamRefused),
    ("vllm", "err_temp_string", errors.UpstreamRefused),
    ("vllm", "err_too_many_images", errors.UpstreamRefused),
    ("vllm", "err_two_audio", errors.UpstreamRefused),
    ("vllm", "err_unknown_model", errors.ModelGone),
    ("vllm", "err_unknown_part", errors.UpstreamRefused),
    ("vllm", "embeddings", errors.ModelGone),
    ("vllm", "mm_processor_kwargs", errors.UpstreamRefused),
    ("vllm", "tools_no_tools_named", errors.UpstreamRefused),
    ("vllm", "imgonly_err_401_models", errors.BadCredentials),
    ("vllm", "imgonly_err_401_nokey", errors.BadCredentials),
    ("vllm", "imgonly_err_audio", errors.WrongModality),
    ("vllm", "imgonly_err_video", errors.WrongModality),
    ("vllm", "imgonly_err_two_images", errors.UpstreamRefused),
    ("vllm", "imgonly_err_tools_auto_not_enabled", errors.UpstreamRefused),
    ("vllm", "imgonly_tools_named_no_parser", errors.UpstreamRefused),
    ("vllm", "imgonly_tools_required_no_parser", errors.UpstreamRefused),
]

SECRETS = ("127.0.0.1", "/etc/", "http://", "BytesIO object at")


@pytest.mark.parametrize(("kind", "name", "expected"), RECORDED, ids=lambda x: getattr(x, "__name__", x))
def test_recorded_errors(kind: str, name: str, expected: type) -> None:
    got = exchange(f"{kind}/{name}").reply
    error = load(kind).refusal(got.status, got.headers, got.body)
    assert type(error) is expected
    assert error.message
    assert not any(s in error.message for s in SECRETS)


def test_messages_and_params_are_the_servers() -> None:
    got = exchange("vllm/err_temp_range").reply
    error = load("vllm").refusal(got.status, got.headers, got.body)
    assert error.message.startswith("temperature must be non-negative")
    assert error.param == "temperature"
    got = exchange("llamacpp/err_context_too_long").reply
    assert "(4096 tokens)" in load("llamacpp").refusal(got.status, got.headers, got.body).message


def error_body(message: str, kind: str = "", code: object = None, param: object = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "code": code, "param": param}})


HTML = b"<!DOCTYPE html><html><body>nginx 10.1.2.3</body></html>"

MADE = [
    (302, b"", errors.BadResponse),
    (308, HTML, errors.BadResponse),
    (400, b"", errors.UpstreamRefused),
    (400, HTML, errors.BadResponse),
    (401, HTML, errors.BadCredentials),
    (402, b"{}", errors.UsedUp),
    (403, b'{"detail":"no"}', errors.BadCredentials),
    (404, error_body("The model `x` does not exist", param="model"), errors.ModelGone),
    (404, HTML, errors.BadResponse),
    (408, b"", errors.Overloaded),
    (413, b"too big", errors.TooLarge),
    (415, b"{}", errors.UpstreamRefused),
    (418, b'["x"]', errors.UpstreamRefused),
    (422, b'{"detail":[{"loc":["body","n"],"msg":"bad","input":"secret"}]}', errors.UpstreamRefused),
    (429, b'{"error":"slow down","error_type":"overloaded"}', errors.Overloaded),
    (429, error_body("You exceeded your quota", "insufficient_quota", "insufficient_quota"), errors.UsedUp),
    (500, b"", errors.UpstreamError),
    (500, b"Internal Server Error", errors.UpstreamError),
    (500, HTML, errors.BadResponse),
    (501, b"{}", errors.ModelGone),
    (502, HTML, errors.UpstreamUnavailable),
    (502, error_body("maximum context length"), errors.UpstreamUnavailable),
    (503, HTML, errors.Overloaded),
    (503, error_body("Loading model", "unavailable_error", 503), errors.Overloaded),
    (504, b"", errors.UpstreamUnavailable),
    (520, b"{", errors.UpstreamError),
    (200, b"ok", errors.BadResponse),
]


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize(("status", "body", "expected"), MADE)
def test_made_errors(kind: str, status: int, body: bytes, expected: type) -> None:
    error = load(kind).refusal(status, {}, body)
    assert type(error) is expected
    assert "secret" not in error.message
    assert "10.1.2.3" not in error.message


def test_words_of_one_kind() -> None:
    peg = error_body(
        "The model produced output that does not match the expected peg-gemma4 format", "server_error", 500
    )
    assert type(load("llamacpp").refusal(500, {}, peg)) is errors.UpstreamError
    assert (
        type(load("llamacpp").refusal(500, {}, error_body("Context size has been exceeded."))) is errors.ContextTooLong
    )
    dead = error_body(
        "EngineCore encountered an issue. See stack trace for the root cause.", "InternalServerError", 500
    )
    assert type(load("vllm").refusal(500, {}, dead)) is errors.UpstreamUnavailable
    deaf = error_body("Audio input was provided but the model 'X' does not have an audio tower", "BadRequestError", 400)
    assert type(load("vllm").refusal(400, {}, deaf)) is errors.WrongModality
    hosted = error_body("too many tokens", "invalid_request_error", "context_length_exceeded")
    assert type(load("openai").refusal(400, {}, hosted)) is errors.ContextTooLong
    assert type(load("openai").refusal(400, {}, error_body("maximum context length is 8"))) is errors.ContextTooLong


def test_a_medium_that_can_t_be_read_is_told_apart() -> None:
    signs = Signs(medium=re.compile("bad (?:(?P<image>picture)|(?P<audio>sound)|file)"), client=re.compile("bad"))
    for words, modality in (("bad picture", "image"), ("bad sound", "audio"), ("bad file", "")):
        for status in (400, 422, 500):
            error = error_for(status, {}, read(error_body(words)), signs)
            assert type(error) is errors.MediumRefused
            assert (error.modality, error.param, error.status, error.failover) == (modality, None, 400, "never")
    assert type(error_for(502, {}, read(error_body("bad file")), signs)) is errors.UpstreamUnavailable


def test_tracebacks_are_not_repeated() -> None:
    body = error_body('Traceback (most recent call last):\n  File "/srv/app.py", line 3, in f\nKeyError: x')
    error = load("vllm").refusal(500, {}, body)
    assert error.message == "the model server failed"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "99999"}, LONGEST_WAIT),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2027 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, LONGEST_WAIT),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 99 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "\uff17"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ],
)
def test_retry_after(headers: dict, seconds: float | None) -> None:
    assert retry_after(headers) == seconds
    assert load("vllm").refusal(503, headers, b"").retry_after == seconds


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "x", "code": 400}}, errors.UpstreamRefused),
        ({"error": {"message": "x", "code": 503, "type": "unavailable_error"}}, errors.Overloaded),
        ({"error": {"message": "x", "type": "invalid_request_error"}}, errors.UpstreamRefused),
        ({"error": {"message": "x", "code": "rate_limit_exceeded"}}, errors.Overloaded),
        ({"error": "something"}, errors.UpstreamError),
        ({"object": "error", "message": "no", "type": "NotFoundError", "code": 404}, errors.ModelGone),
        ([{"error": {"message": "x", "code": 401}}], errors.BadCredentials),
        ({"error": {"message": "maximum context length", "code": 400}}, errors.ContextTooLong),
        ({"error": None, "choices": []}, None),
        ({"choices": [{}], "error": "x"}, None),
        ({"data": [1], "object": "list"}, None),
        ({}, None),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_errors_inside_a_200(body: object, expected: type | None) -> None:
    error = load("vllm").error_in(body)  # type: ignore[attr-defined]
    assert type(error) is (expected or type(None))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "code", "param", "detail", "object"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@example(500, b'"\x80"')
@given(st.integers(300, 599), st.binary(max_size=80) | json_values.map(msgspec.json.encode))
def test_any_body_gives_an_error(status: int, body: bytes) -> None:
    error = error_for(status, {}, read(body), Signs())
    assert isinstance(error, errors.GatewayError)
    assert error.status not in (401, 500)
    assert error.message


@given(json_values)
def test_any_value_is_looked_into(body: object) -> None:
    error = error_in(body, Signs())
    assert error is None or isinstance(error, errors.GatewayError)
