"""A recording to be written down or translated, asked of a model that only converses: one message with what to do, and
the sound behind it, where newer models expect it."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from gateway.canonical.content import Message, Refusal, Text
from gateway.canonical.events import Answer
from gateway.canonical.media.headers import header_of
from gateway.canonical.requests import Chat, ThinkingConfig, Transcription
from gateway.errors import TranscriptIncomplete

_WRITE = "Write down every word that is said in this recording, in the language in which it is said."
_TRANSLATE = "Translate what is said in this recording into English."
_ALONE = "Answer with {} alone: no introduction, no comment, no quotation marks."
_LEAST, _A_SECOND = 256, 20
"""Tokens of an answer, and as many more for each second: twice what fast speech has. A model that repeats itself ends
there."""
_SLOWEST = 750
"""Octets a second of the most tightly coded speech (6 kbit/s), where a recording does not tell its length."""


def in_words(request: Transcription) -> Chat:
    """The same as a chat. Its temperature is 0 unless the client says otherwise: that is this operation's default."""
    what = "the translation" if request.translate else "these words"
    words = [_TRANSLATE if request.translate else _WRITE, _ALONE.format(what)]
    if request.language is not None:
        words.append(f"The language that is spoken: {request.language}.")
    if request.prompt is not None:
        words.append(f"What was said before, or names as they are to be written: {request.prompt}")
    sampling = request.sampling
    sampling = replace(sampling, temperature=sampling.temperature or 0.0, max_tokens=_most(request))
    return Chat(
        request.model,
        [Message("user", [Text("\n".join(words)), request.sound])],
        sampling=sampling,
        thinking=ThinkingConfig(enabled=False, include=False),
        stream=request.stream,
        options=request.options,
        dropped=request.dropped,
    )


def _most(request: Transcription) -> int:
    media = request.sound.media
    seconds = header_of(media, "audio").seconds
    return _LEAST + ceil(_A_SECOND * (media.size / _SLOWEST if seconds is None else seconds))


def check_transcript(answer: Answer) -> TranscriptIncomplete | None:
    """What is wrong with the answer as a transcript, None if nothing: half of one can't be told from the whole."""
    [choice] = answer.choices if len(answer.choices) == 1 else [None]
    if choice is None or any(isinstance(p, Refusal) for p in choice.parts):
        return TranscriptIncomplete("the model refused to write down what is said")
    if choice.finish == "stop":
        return None
    if choice.finish == "length":
        return TranscriptIncomplete("the model's answer reached its limit before the recording's end")
    return TranscriptIncomplete(f"the model did not write down all that is said (it ended with {choice.finish})")
