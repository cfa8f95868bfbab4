import pytest

from gateway.backends import Reply
from gateway.backends.wire.listing import alive_state, cards, json_of, trouble
from tests.backends.recorded import reply


def test_lists() -> None:
    assert [c["id"] for c in cards(reply("vllm/models")) or ()] == ["tiny-gemma4", "gemma-alias"]
    assert [c["id"] for c in cards(reply("llamacpp/models")) or ()] == ["tiny-gemma4"]
    assert cards(Reply(200, body=b'{"data":[]}')) == []
    assert cards(Reply(200, body=b'{"data":[1,{"id":3},{"id":""},{"id":"a"}]}')) == [{"id": "a"}]
    for body in (b"[]", b'{"models":[]}', b"<html>", b"", b"\xff", b'"\x80"'):
        assert cards(Reply(200, body=body)) is None
    assert json_of(Reply(404, body=b"{}")) is None


@pytest.mark.parametrize(
    ("given", "state", "words"),
    [
        (Reply(0, error="nothing listens there"), "down", "nothing listens there"),
        (Reply(0), "down", "nobody answers"),
        (Reply(301, {"location": "https://x"}), "down", "redirect"),
        (reply("llamacpp/smollm2_err_401_models"), "down", "api_key_env"),
        (reply("vllm/imgonly_err_401_models"), "down", "api_key_env"),
        (
            Reply(503, body=b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'),
            "loading",
            "Loading model",
        ),
        (Reply(503, body=b"<html><body>503</body></html>"), "down", "web page"),
        (Reply(200, body=b"<!doctype html><html></html>"), "down", "web page"),
        (Reply(404, body=b'{"detail":"Not Found"}'), "down", "/v1/models"),
        (Reply(404, body=b"<html><h1>404</h1></html>"), "down", "web page"),
        (Reply(200, body=b'{"models":[]}'), "down", "not a list of models"),
        (Reply(200, body=b'{"data":[]}'), "down", "lists no models"),
        (Reply(429), "down", "rate limiting"),
        (Reply(500, body=b"broken at /srv/x/y.py"), "down", "status 500: broken at <path>"),
    ],
)
def test_trouble_says_what_was_found(given: Reply, state: str, words: str) -> None:
    found = trouble(given)
    assert (found.state, found.models) == (state, [])
    assert words in found.detail


def test_life() -> None:
    assert [alive_state(Reply(s), "loading") for s in (200, 204, 429, 503, 0, 301, 401, 404, 500)] == [
        *["ready"] * 3,
        "loading",
        *["down"] * 5,
    ]
    assert alive_state(Reply(503), "down") == "down"
