import base64
import json
import wave
from io import BytesIO

from bench.scenarios import chat_body, sound_body
from bench.upstream import FOLDED, WHOLE, read_order
from gateway.backends import load
from gateway.canonical.events import fold
from gateway.canonical.requests import Chat


def test_the_order_is_read_from_where_the_body_puts_it() -> None:
    order = read_order(chat_body("paced", 12, 20, "leaver-1"))
    assert order is not None
    assert (order.mode, order.events, order.seconds, order.tag) == ("paced", 12, 0.02, "leaver-1")
    assert read_order(b'{"messages": []}') is None


def test_a_relay_that_asks_for_a_stream_gets_one() -> None:
    body = chat_body("whole")
    for said in (b'"stream":true,"stream_options":{"include_usage":true}', b'"stream":false', b'"n":1'):
        order = read_order(body[:-1] + b"," + said + b"}")
        assert order is not None
        assert order.streamed == (b"true" in said)


def test_the_stream_of_a_whole_answer_says_the_same() -> None:
    kind = load("llamacpp")
    request = Chat("m", [])
    head, _, body = WHOLE.partition(b"\r\n\r\n")
    whole = kind.read(request, json.loads(body))
    assert len(body) == int(head.rpartition(b":")[2])
    head, _, chunks = FOLDED.partition(b"\r\n\r\n")
    data = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        data += rest[: int(size, 16)]
        chunks = rest[int(size, 16) + 2 :]
    assert fold(kind.decoder(request).feed(data)) == whole


def test_only_streams_ask_for_a_stream() -> None:
    for mode, streamed in (("whole", False), ("slow", False), ("stream", True), ("late", True), ("flood", True)):
        assert json.loads(chat_body(mode)).get("stream", False) is streamed


def test_a_small_body_is_small() -> None:
    assert 750 < len(chat_body("whole")) < 950


def test_the_large_body_is_valid_sound_of_about_that_size() -> None:
    body = sound_body(100_000)
    assert 99_000 < len(body) <= 100_000
    parts = json.loads(body)["messages"][0]["content"]
    octets = base64.b64decode(parts[1]["input_audio"]["data"], validate=True)
    with wave.open(BytesIO(octets)) as sound:
        assert sound.getframerate() == 16000
        assert sound.getnframes() * 2 == len(octets) - 44
    assert read_order(body[:8192]) is not None
