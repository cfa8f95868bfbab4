import pytest

from bench.upstream import END, FIRST, STREAM_HEAD, TOKEN, TRAILING, WHOLE, answer
from bench.wire import AnswerReader, RequestReader, request

BODY = b'{"messages": [{"role": "user", "content": "@bench whole 0 0 -@"}]}'
CHUNKED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
)
STREAM = STREAM_HEAD + FIRST + TOKEN * 3 + END


@pytest.mark.parametrize("whole", [request("POST", "/v1/chat/completions", "x", BODY, "k"), CHUNKED])
def test_a_request_cut_anywhere_is_complete_at_its_last_byte(whole: bytes) -> None:
    for cut in range(1, len(whole)):
        reader = RequestReader()
        assert reader.feed(whole[:cut]) is False
        assert reader.feed(whole[cut:]) is True
        assert (reader.method, reader.path) == ("POST", "/v1/chat/completions")
        assert b"@bench whole 0 0 -@" in reader.start
        assert reader.last == reader.start


def test_a_request_without_a_body_ends_with_its_head() -> None:
    assert RequestReader().feed(request("GET", "/props", "x"))


def test_of_a_large_body_only_the_start_is_kept() -> None:
    reader = RequestReader()
    body = BODY + b"A" * 100_000
    assert reader.feed(request("POST", "/", "x", body))
    assert reader.size == len(body)
    assert reader.start == body[:8192]


def test_a_stream_cut_anywhere_keeps_its_events() -> None:
    for cut in range(1, len(STREAM)):
        reader = AnswerReader()
        assert reader.feed(STREAM[:cut]) is False
        assert reader.feed(STREAM[cut:]) is True
        assert reader.status == 200
        assert reader.events == 4 + TRAILING


def test_a_stream_byte_by_byte() -> None:
    reader = AnswerReader()
    assert [reader.feed(STREAM[n : n + 1]) for n in range(len(STREAM))].count(True) == 1
    assert reader.events == 4 + TRAILING


def test_a_whole_answer_ends_after_its_length() -> None:
    for cut in range(1, len(WHOLE)):
        reader = AnswerReader()
        assert reader.feed(WHOLE[:cut]) is False
        assert reader.feed(WHOLE[cut:]) is True
    assert AnswerReader().feed(answer("", "204 No Content"))


def test_an_empty_chunked_answer() -> None:
    assert AnswerReader().feed(STREAM_HEAD + b"0\r\n\r\n")


def test_an_answer_of_no_stated_length_has_no_end_of_its_own() -> None:
    assert not AnswerReader().feed(b"HTTP/1.1 200 OK\r\n\r\ndata: x\n\n")
