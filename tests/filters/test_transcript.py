from __future__ import annotations

import pytest

from gateway.canonical.content import Audio, Media, Refusal, Text
from gateway.canonical.events import Answer, Choice, Finish
from gateway.canonical.requests import Options, Sampling, Transcription
from gateway.demo.media import wav
from gateway.filters.transcript import check_transcript, in_words

SOUND = Audio(Media("audio/wav", octets=wav(2.0)), path="file")


def test_one_message_with_the_sound_last() -> None:
    asked = Transcription("m", SOUND, stream=True, options=Options(strict_parts=True), dropped=["zz"])
    chat = in_words(asked)
    [message] = chat.messages
    told, sound = message.parts
    assert message.role == "user" and sound is SOUND and isinstance(told, Text)
    assert "every word that is said" in told.text and "English" not in told.text
    assert chat.stream and chat.options is asked.options and chat.dropped == ["zz"]
    assert chat.thinking.enabled is False and not chat.thinking.include
    assert chat.sampling == Sampling(temperature=0.0, max_tokens=256 + 40)


def test_what_the_client_says_of_it() -> None:
    asked = Transcription("m", SOUND, True, "de", "Names: Jörg", Sampling(temperature=0.5))
    told = in_words(asked).messages[0].parts[0]
    assert isinstance(told, Text)
    assert "English" in told.text and "spoken: de." in told.text and told.text.endswith("Names: Jörg")
    assert in_words(asked).sampling.temperature == 0.5
    assert asked.sampling.max_tokens is None, "what came in is not changed"


def test_the_beginning_is_the_same_for_any_sound() -> None:
    other = Transcription("m", Audio(Media("audio/ogg", octets=b"OggS")))
    assert in_words(other).messages[0].parts[0] == in_words(Transcription("m", SOUND)).messages[0].parts[0]


def test_a_sound_of_unknown_length_gets_room_by_its_size() -> None:
    webm = Transcription("m", Audio(Media("audio/webm", octets=bytes(75_000))))
    assert in_words(webm).sampling.max_tokens == 256 + 2000


@pytest.mark.parametrize(
    ("finish", "words"),
    [("length", "reached its limit"), ("content_filter", "ended with"), ("tool_calls", "ended with")],
)
def test_half_a_transcript_is_none(finish: Finish, words: str) -> None:
    error = check_transcript(Answer(choices=[Choice([Text("Hel")], finish)]))
    assert error is not None and words in error.message
    assert (error.status, error.code, error.verdict) == (502, "transcript_incomplete", "fine")


def test_whole_ones() -> None:
    assert check_transcript(Answer(choices=[Choice([Text("Hello.")], "stop")])) is None
    assert check_transcript(Answer(choices=[Choice([], "stop")])) is None, "nobody said anything"
    assert check_transcript(Answer(choices=[Choice([Refusal("no")], "stop")])) is not None
    assert check_transcript(Answer()) is not None
