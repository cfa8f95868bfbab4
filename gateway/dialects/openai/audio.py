"""Transcriptions and translations of sound, both ways.

A client sends a form whose fields are texts, or JSON with the sound as a data: URL in `file`. What is answered is what
the model said: times that nobody measured are not made up, so the formats that consist of them are refused, and
`verbose_json` has segments or words only from a server that tells them.

Sources: https://platform.openai.com/docs/api-reference/audio/createTranscription,
https://platform.openai.com/docs/api-reference/audio/createTranslation,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#transcriptions-api
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, cast

import msgspec

from gateway.canonical.content import Audio, Media, Segments, Text
from gateway.canonical.events import Answer, Choice, End, Event, Fault, PartDelta, PartStart, Usage
from gateway.canonical.media.headers import header_of
from gateway.canonical.requests import Sampling, Transcription
from gateway.dialects import LIMITS, Limits
from gateway.dialects.data_url import parse_base64, parse_data_url
from gateway.dialects.fields import (
    Fate,
    Json,
    items,
    lenient_boolean,
    missing,
    model_name,
    number,
    one_of,
    rest,
    shown,
    sort_out,
    text_or_none,
    wrong_type,
)
from gateway.dialects.openai.answers import TOP, USAGE, layer
from gateway.dialects.openai.errors import error_of, read_error, render_error, render_fault
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, BadResponse, GatewayError, UnsupportedParameter

FILE: Final = "file"
FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys((FILE, "model", "language", "prompt", "response_format", "temperature", "stream"), "modelled"),
    **dict.fromkeys(("timestamp_granularities", "gateway", "provider"), "modelled"),
    **dict.fromkeys(("chunking_strategy", "keywords", "languages", "user"), "dropped"),
    **dict.fromkeys(("include", "known_speaker_names", "known_speaker_references", "to_language"), "refused"),
}

_LANGUAGE = re.compile(r"[A-Za-z]{2,24}(?:[-_][A-Za-z0-9]{2,8}){0,2}")
_LONGEST_PROMPT: Final = 32_768
_TIMED: Final = ("srt", "vtt")
_FORMS: Final = ("json", "text", "verbose_json")
_encode = msgspec.json.Encoder().encode


def parse_request(
    body: Json, header_options: str | None = None, limits: Limits = LIMITS, *, translate: bool = False
) -> Transcription:
    """Raises BadRequest or ModelNotFound."""
    _, dropped = sort_out(body, FATES, lambda v: v in ("", []))
    get = body.get
    out = Transcription(
        model=model_name(get("model") or None, limits),
        sound=Audio(_sound(get(FILE)), path=FILE),
        translate=translate,
        language=_language(get("language")),
        prompt=text_or_none(get("prompt"), "prompt") or None,
        sampling=Sampling(temperature=_temperature(get("temperature"))),
        stream=get("stream") not in (None, "") and lenient_boolean(get("stream"), "stream"),
        dropped=dropped,
    )
    if out.prompt is not None and len(out.prompt) > _LONGEST_PROMPT:
        raise BadRequest(f"`prompt` is longer than {_LONGEST_PROMPT} characters", param="prompt")
    out.form = _form(get("response_format"), out.stream)
    out.timestamps = _timestamps(get("timestamp_granularities"), out.form)
    if "gateway" in body or "provider" in body or header_options is not None:
        out.options = parse_options(_object(body, "gateway"), _object(body, "provider"), header_options)
    return out


def _sound(value: object) -> Media:
    """A form's file, or a data: URL."""
    if isinstance(value, Media):
        if not value.size:
            raise BadRequest("the file is empty", param=FILE)
        return value
    if not isinstance(value, str | Segments):
        raise missing(FILE) if value is None else wrong_type(FILE, "a file, or in JSON a data: URL", value)
    head = value[:5] if isinstance(value, str) else value.head(5)
    if head.lower() == "data:":
        mime, base64 = parse_data_url(value, FILE)
        return Media(mime, base64=base64)
    return Media(base64=parse_base64(value, FILE))


def _language(value: object) -> str | None:
    name = text_or_none(value, "language")
    if name and not _LANGUAGE.fullmatch(name):
        raise BadRequest(f"`language` is {shown(name)}: write its ISO 639-1 code, such as en", param="language")
    return name or None


def _temperature(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value) if value else None
        except ValueError:
            raise wrong_type("temperature", "a number", value) from None
    return None if value is None else number(value, "temperature", 0.0, 2.0)


def _form(value: object, stream: bool) -> Literal["json", "text", "verbose_json"]:
    if value in (None, ""):
        return "json"
    if value in _TIMED:
        words = f"`response_format` {value} needs the time of every line: no model here tells it, and none is made up"
        raise UnsupportedParameter(f"{words}; ask for {', '.join(_FORMS)}", param="response_format")
    if value == "diarized_json":
        words = "`response_format` diarized_json needs to be told who speaks, which no model here tells"
        raise UnsupportedParameter(f"{words}: ask for {', '.join(_FORMS)}", param="response_format")
    form = one_of(value, "response_format", _FORMS)
    if stream and form == "verbose_json":
        raise UnsupportedParameter("`response_format` verbose_json is not streamed", param="response_format")
    return cast(Literal["json", "text", "verbose_json"], form)


def _timestamps(value: object, form: str) -> list[str]:
    if value in (None, "", []):
        return []
    path = "timestamp_granularities"
    found = items([value] if isinstance(value, str) else value, path, 2)
    found = [one_of(v, f"{path}[{i}]", ("word", "segment")) for i, v in enumerate(found)]
    if form != "verbose_json":
        raise BadRequest(f"`{path}` goes with `response_format` verbose_json only", param=path)
    return found


def _object(body: Json, path: str) -> object:
    """A field that is an object; in a form it is JSON text."""
    value = body.get(path)
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value) if value else None
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise BadRequest(f"`{path}` is not JSON", param=path) from None


def render_fields(request: Transcription, model: str) -> list[tuple[str, str]]:
    """The form's fields without the file: what a server with this route is told. It is asked for the words alone unless
    times are wanted: the verbose form is one that many models' servers refuse."""
    out = [("model", model), ("response_format", "verbose_json" if request.timestamps else "json")]
    if request.language is not None:
        out.append(("language", request.language))
    if request.prompt is not None:
        out.append(("prompt", request.prompt))
    if request.sampling.temperature is not None:
        out.append(("temperature", f"{request.sampling.temperature:g}"))
    out += [("timestamp_granularities[]", name) for name in request.timestamps]
    return out


def parse_answer(body: Any) -> Answer:
    """A server's whole answer. Raises BadResponse if it holds no text, or the error that it tells."""
    words = body.get("text") if isinstance(body, dict) else None
    if not isinstance(words, str):
        fault = read_error(body)
        raise error_of(fault) if fault else BadResponse("the server's answer holds no text")
    model = body.get("model")
    return Answer(
        model=model if isinstance(model, str) else "",
        choices=[Choice([Text(words)] if words else [], "stop")],
        usage=_parse_usage(body.get("usage")),
        extra=layer(TOP, rest(body, ("text", "usage", "model", "task"))),
    )


def _parse_usage(value: object) -> Usage | None:
    """Tokens, or seconds of sound, by which some servers count."""
    if not isinstance(value, dict):
        return None
    if value.get("type") == "duration":
        return Usage(extra={USAGE: value})
    details = value.get("input_token_details")
    audio = _count(details.get("audio_tokens")) if isinstance(details, dict) else None
    return Usage(_count(value.get("input_tokens")), _count(value.get("output_tokens")), audio=audio)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def words_of(answer: Answer) -> str:
    return "".join(p.text for c in answer.choices for p in c.parts if isinstance(p, Text))


def render_answer(answer: Answer, request: Transcription) -> Json | str:
    """The answer in the form that was asked for: an object, or a text as it stands."""
    words = words_of(answer)
    if request.form == "text":
        return words + "\n"
    out: Json = {"text": words}
    if request.form == "verbose_json":
        out = {**_known(request, (answer.extra or {}).get(TOP) or {}), **out}
    usage = render_usage(answer.usage)
    if usage is not None:
        out["usage"] = usage
    return out


def _known(request: Transcription, told: Json) -> Json:
    """What is known besides the words: by the server, the client, or the sound's own header; null where nobody does."""
    said = told.get("language") or ("english" if request.translate else request.language)
    seconds = told.get("duration")
    if seconds is None:
        length = header_of(request.sound.media, "audio").seconds
        seconds = None if length is None else round(length, 3)
    more = {k: v for k, v in told.items() if k in ("segments", "words")}
    task = "translate" if request.translate else "transcribe"
    return {"task": task, "language": said, "duration": seconds, **more}


def render_usage(usage: Usage | None) -> Json | None:
    """None where the server did not tell both numbers, or seconds."""
    if usage is None:
        return None
    told: Json | None = (usage.extra or {}).get(USAGE)
    if told is not None and told.get("type") == "duration":
        return told
    if usage.input is None or usage.output is None:
        return None
    out: Json = {"type": "tokens", "input_tokens": usage.input, "output_tokens": usage.output}
    out["total_tokens"] = usage.input + usage.output
    if usage.audio is not None:
        out["input_token_details"] = {"audio_tokens": usage.audio, "text_tokens": usage.input - usage.audio}
    return out


class TranscriptEncoder:
    """See `gateway.dialects.Encoder`. Words as they come, then all of them once more, which is the end."""

    media_type = "text/event-stream"

    def __init__(self) -> None:
        self.closing: Json = {}
        self._texts: set[int] = set()
        self._words: list[str] = []
        self._usage: Usage | None = None

    def encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for e in events:
            if isinstance(e, PartStart):
                if e.kind == "text":
                    self._texts.add(e.part)
            elif isinstance(e, PartDelta):
                if e.text and e.part in self._texts:
                    self._words.append(e.text)
                    out.append(_event({"type": "transcript.text.delta", "delta": e.text}))
            elif isinstance(e, Usage):
                self._usage = e
            elif isinstance(e, End):
                out.append(self._done())
            elif isinstance(e, Fault):
                out.append(_event(render_fault(e)))
        return b"".join(out)

    def _done(self) -> bytes:
        last: Json = {"type": "transcript.text.done", "text": "".join(self._words)}
        usage = render_usage(self._usage)
        if usage is not None:
            last["usage"] = usage
        if self.closing:
            last["gateway"] = self.closing
        return _event(last)

    def life_sign(self, done: int, total: int) -> bytes:
        """A comment: every SDK of this dialect skips it."""
        if total > 0:
            return b": prefill %d %%\n\n" % min(100, max(0, done) * 100 // total)
        return b": waiting\n\n"

    def fault(self, error: GatewayError) -> bytes:
        return _event(render_error(error))


def _event(value: Json) -> bytes:
    return b"data: %b\n\n" % _encode(value)
