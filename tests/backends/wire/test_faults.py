import msgspec

from gateway.backends import load
from gateway.canonical.content import Message, Text
from gateway.canonical.events import Fault, PartDelta
from gateway.canonical.requests import Chat

CHAT = Chat("m", [Message("user", [Text("x")])], stream=True)
FIRST = b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n'


def events(kind: str, *pieces: bytes) -> list:
    decoder = load(kind).decoder(CHAT)
    return [e for p in pieces for e in decoder.feed(p)] + decoder.end()


def chunk(error: object) -> bytes:
    return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"


def test_faults_are_fit_to_be_seen() -> None:
    told = {"message": "can't reach 10.0.0.3:8000", "type": "InternalServerError", "code": 500}
    found = events("vllm", FIRST, chunk(told))
    fault = found[-1]
    assert fault == Fault("upstream_error", "can't reach <address>", 502, None, {"openai": {"code": 500}})
    assert any(isinstance(e, PartDelta) for e in found)


def test_faults_mean_what_the_kind_means() -> None:
    full = {"message": "Context size has been exceeded.", "type": "server_error", "code": 500}
    assert events("llamacpp", FIRST, chunk(full))[-1].code == "context_length_exceeded"
    busy = {"message": "x", "type": "unavailable_error", "code": 503}
    assert events("llamacpp", chunk(busy))[-1].code == "server_is_overloaded"
    dead = {"message": "EngineCore encountered an issue", "type": "InternalServerError", "code": 500}
    assert events("vllm", chunk(dead))[-1].message == "the model server's engine has died"
    plain = events("openai", chunk("text /srv/a/b"))[-1]
    assert (plain.code, plain.message) == ("upstream_error", "text <path>")


def test_own_faults_are_kept() -> None:
    assert events("vllm", FIRST)[-1].code == "upstream_truncated"
    assert events("vllm", FIRST, b"data: {\n\n")[-1].code == "upstream_protocol_error"
