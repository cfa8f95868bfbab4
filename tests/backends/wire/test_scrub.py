import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.wire.scrub import LONGEST, scrub

SECRETS = [
    ("cannot GET http://10.0.0.7:8000/v1/models?x=1 now", "10.0.0.7"),
    ("Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed ('127.0.0.1', 9)]", "127.0.0.1"),
    ("no route to gpu1:8000", "gpu1"),
    ("no route to gpu1.cluster.local", "gpu1"),
    ("no route to node-3.example.com:443 today", "example"),
    ("localhost:8081 refused", "localhost"),
    ("peer [fe80::1%eth0]:8000 left", "fe80"),
    ("peer 2001:db8:0:0:0:0:0:1 left", "2001"),
    ("peer ::1 left", "::1"),
    ("can't open /srv/models/gemma/config.json", "srv"),
    ("can't open ~/models/x.gguf", "models"),
    (r"can't open C:\models\x.gguf", "models"),
    ("file:///etc/hostname is not allowed", "hostname"),
    ("Incorrect API key provided: sk-proj-abc123def456", "abc123"),
    ("Authorization: Bearer abcdef.ghij", "abcdef"),
    ("bad api_key=topsecretvalue here", "topsecret"),
    ("token hf_abcdefghijkl is bad", "hf_abc"),
    ("key AIzaSyA1234567890abcdefgh", "AIza"),
    ("got data:image/png;base64,iVBORw0KGgoAAAANSUhEUg== instead", "iVBOR"),
    ("cannot identify <_io.BytesIO object at 0x7f816ff6b330>", "0x7f"),
    ("input " + "A" * 5000, "AAAA"),
]

KEPT = [
    "This model's maximum context length is 2048 tokens. However, your prompt contains 100065 characters.",
    "request (100015 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "At most 2 image(s) may be provided in one prompt. (parameter=image)",
    "max_tokens=1000000 cannot be greater than max_model_len=2048. (parameter=max_tokens, value=1000000)",
    "JSON schema error at #: unrecognized type nonsense",
    "cannot resolve $ref #/definitions/nope",
    "[json.exception.parse_error.101] parse error at line 1, column 16: syntax error",
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    "Unsupported chat content part type: 'hologram'. Supported types: audio_url, image_url",
    "POST /v1/chat/completions: use text/plain or image/png and/or none",
    "The model `google/gemma-4-12B-it` does not exist.",
    "wait until 12:30:45",
    "no </s> here",
]


@pytest.mark.parametrize(("said", "secret"), SECRETS)
def test_secrets_go(said: str, secret: str) -> None:
    assert secret not in scrub(said)


@pytest.mark.parametrize("said", KEPT)
def test_words_stay(said: str) -> None:
    assert scrub(said) == said


@given(st.text(max_size=300))
def test_any_text(said: str) -> None:
    out = scrub(said)
    assert len(out.encode()) <= LONGEST
    assert all(c.isprintable() or c in "\n\t" for c in out)


@given(st.ip_addresses(v=4).map(str), st.integers(1, 65535), st.sampled_from(["", " ", "'", "(", "=", "@"]))
def test_no_ipv4_address_is_left(address: str, port: int, before: str) -> None:
    assert address not in scrub(f"failed at {before}{address}:{port} now")
    assert address not in scrub(f"failed at {before}{address}")


@given(st.ip_addresses(v=6).map(str))
def test_no_ipv6_address_is_left(address: str) -> None:
    assert address not in scrub(f"failed at {address} now")
    assert address not in scrub(f"failed at [{address}]:8000 now")


def test_length_is_cut_between_characters() -> None:
    out = scrub("é b " * 3000)
    assert len(out.encode()) <= LONGEST
    assert out.endswith("...")
