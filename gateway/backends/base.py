"""What all kinds share whose servers speak the OpenAI dialect. A kind sets its facts and overrides small hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from gateway.backends import Busyness, Call, Liveness, Place, Reply
from gateway.backends.wire import refusal
from gateway.backends.wire.body import encode_body
from gateway.backends.wire.faults import FaultReader
from gateway.backends.wire.form import form_call
from gateway.backends.wire.history import without_markers, without_old_thoughts
from gateway.backends.wire.listing import alive_state
from gateway.backends.wire.media import fit_media
from gateway.backends.wire.prepare import Manner, drop_extras, prepare, prepare_sampling, words
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.stopping import Stopping
from gateway.canonical.content import Video
from gateway.canonical.events import Answer
from gateway.canonical.facts import Facts, State, Target
from gateway.canonical.media.headers import header_of
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    Embedding,
    Relayed,
    Request,
    ThinkingConfig,
    Transcription,
)
from gateway.dialects import Decoder
from gateway.dialects.openai import answers, audio, chat, completions, embeddings, relayed, stream
from gateway.errors import BadResponse, GatewayError, NotImplementedHere, UnsupportedParameter
from gateway.filters.stop import Stop

JSON = {"content-type": "application/json"}

Json = dict[str, Any]

HINTS: dict[str, str] = {
    "document": "no server of this kind reads documents: send their text, or their pages as images",
    "audio_out": "no server of this kind speaks",
    "hardware": "set `hardware:` on the backend in the configuration",
    "quantization": "serve a model of that quantization, or say it in the backend's `facts:`",
    "seed": "every server of this kind takes a seed, unless the backend's `facts:` say otherwise",
    "url": "send the medium as a data: URL",
    "file_id": "send the medium as a data: URL",
    "opaque": "send what it says as text",
    **{
        name: f"if it serves that, say so with `facts: {{operations: [{name}]}}` at its backend"
        for name in ("rerank", "speech", "images", "infill")
    },
}
"""Hints that hold for every kind."""


class OpenAIWire:
    """A server that speaks Chat Completions at `/v1`. Instances hold no state."""

    kind: ClassVar[str]
    local: ClassVar[bool] = True
    tier: ClassVar[int]
    slots: ClassVar[int] = 16
    assumed: ClassVar[Facts]
    hints: ClassVar[Mapping[str, str]] = HINTS
    manner: ClassVar[Manner] = Manner()
    signs: ClassVar[Signs] = Signs()
    reasoning_field: ClassVar[Literal["reasoning", "reasoning_content"]] = "reasoning_content"
    """The field of a past message in which the server's template looks for the model's thoughts."""
    names_itself: ClassVar[bool] = False
    """An answer's `model` is what the server serves, not what it was asked for: so another model shows at once."""
    always_streams: ClassVar[bool] = False
    """What a client wants whole is asked for as a stream as well, and the engine folds it: for servers that go on with
    a whole answer after its client has left."""
    chat_path: ClassVar[str] = "/v1/chat/completions"
    stops_itself: ClassVar[bool] = True
    """It ends an answer at the request's `stop` texts. Where not, it does not get them and the decoder ends it."""
    reads_thoughts: ClassVar[bool] = False
    """It tells its model's thoughts from the answer, also where the prompt ended inside of one."""
    parts_tenants: ClassVar[bool] = False
    """It keeps the cached prompts of several tenants apart where it is told whose a request is."""
    token_scope: ClassVar[str] = ""
    """What short-lived tokens must be good for, where it takes those instead of a lasting key."""
    loose_arguments: ClassVar[bool] = False
    """Its parser returns numbers and truth values of Gemma 4's calls as texts (vllm-project/vllm#47906)."""
    health: ClassVar[str] = "/health"
    witness: ClassVar[str] = ""
    """A path whose GET tells such servers apart where their list of models does not: it needs no key."""
    unready: ClassVar[State] = "loading"
    """What a 503 of `health` means."""

    def credentials(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def placed(self, place: Place) -> Self:
        return self

    # --- requests

    def build(self, request: Request, target: Target, facts: Facts) -> Call:
        """The call that asks `target` for `request`; raises BadRequest, with a path, for what it can't take."""
        if isinstance(request, Chat):
            return self._build_chat(request, target, facts)
        if isinstance(request, Completion):
            return self._build_completion(request, target, facts)
        if isinstance(request, Embedding):
            return self._build_embedding(request, target)
        if isinstance(request, Transcription):
            return self._build_transcription(request, target, facts)
        if isinstance(request, Relayed):
            return self._build_relayed(request, target)
        call = self.count(request, target, facts)
        if call is None:
            raise NotImplementedHere("servers of this kind can't count tokens")
        return call

    def _build_chat(self, request: Chat, target: Target, facts: Facts) -> Call:
        dropped = list(request.dropped)
        request, broken = without_markers(request, facts.family)
        body = self._rendered(request, target, facts, dropped)
        streamed = self._say_stream(body, request)
        self.adapt(body, request, facts, dropped)
        call = _call(self.chat_path, body, dropped, streamed)
        call.fates = dict.fromkeys(broken, "text>neutralised") | self.fates(request, facts)
        return call

    def _chat_body(self, request: Chat, target: Target, facts: Facts, dropped: list[str]) -> Json:
        """What the server's template sees of a chat: also what its tokens are counted by."""
        request, _ = without_markers(request, facts.family)
        return self._rendered(request, target, facts, dropped)

    def _rendered(self, request: Chat, target: Target, facts: Facts, dropped: list[str]) -> Json:
        """The rendered chat with the target's model name and thinking said outright."""
        manner = self.manner_for(facts)
        ready = prepare(without_old_thoughts(request), facts, manner, dropped)
        body = self.render(ready, manner)
        body["model"] = self.called(target)
        _strip(body)
        if not self.stops_itself:
            body.pop("stop", None)
        thinking = request.thinking
        if thinking.enabled and facts.thinking is False:
            dropped.append("thinking")
            thinking = ThinkingConfig(enabled=False)
        self.think(body, thinking, dropped)
        return body

    def _build_completion(self, request: Completion, target: Target, facts: Facts) -> Call:
        dropped = list(request.dropped)
        changed = prepare_sampling(request, facts, self.manner, dropped)
        body = completions.render_request(
            replace(request, **changed) if changed else request, extras=self.manner.extras
        )
        body["model"] = self.called(target)
        _strip(body)
        if not self.stops_itself:
            body.pop("stop", None)
        streamed = self._say_stream(body, request)
        self.adapt_completion(body, request, facts, dropped)
        return _call("/v1/completions", body, dropped, streamed)

    def _say_stream(self, body: Json, request: Chat | Completion) -> bool:
        """Asks for a stream, with its usage, or for a whole answer. True = a stream."""
        streamed = self.streams(request)
        if streamed:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        else:
            body.pop("stream", None)
            body.pop("stream_options", None)
        return streamed

    def _build_embedding(self, request: Embedding, target: Target) -> Call:
        dropped = list(request.dropped)
        drop_extras(request, self.manner, dropped)
        body = embeddings.render_request(request, extras=self.manner.extras)
        body["model"] = self.called(target)
        _strip(body)
        return _call("/v1/embeddings", body, dropped)

    def _build_transcription(self, request: Transcription, target: Target, facts: Facts) -> Call:
        """The server's own route, for a target whose facts list it. It is asked for a whole answer: what such servers
        stream differs from one to the next."""
        media = fit_media(request.sound, facts)
        call = form_call(
            "/v1/audio/translations" if request.translate else "/v1/audio/transcriptions",
            audio.render_fields(request, self.called(target)),
            media,
        )
        call.dropped = list(dict.fromkeys(request.dropped))
        return call

    def _build_relayed(self, request: Relayed, target: Target) -> Call:
        form = relayed.FORMS[request.operation]
        call = _call(form.path, relayed.render_request(request, self.called(target)), list(request.dropped))
        call.octets_out = not form.result
        return call

    # --- hooks

    def render(self, ready: Chat, manner: Manner) -> Json:
        """The body of a chat that was made ready for this manner."""
        return chat.render_request(ready, extras=manner.extras, reasoning_field=self.reasoning_field)

    def chat_decoder(self, choices: int) -> Decoder:
        """The decoder of a chat's stream."""
        return stream.ChatDecoder(choices)

    def parse_chat(self, body: Json) -> Answer:
        """A whole answer to a chat."""
        return answers.parse_answer(body)

    def manner_for(self, facts: Facts) -> Manner:
        """How this server wants its requests, where its facts matter for that."""
        return self.manner

    def called(self, target: Target) -> str:
        """What the server itself calls the model."""
        return target.model

    def fates(self, request: Chat, facts: Facts) -> dict[int, str]:
        """What becomes of the content parts that do not arrive as they came, by their number."""
        return silent_videos(request) if facts.video_sound is False else {}

    def streams(self, request: Chat | Completion) -> bool:
        """Whether the server is asked for a stream, whatever the client wants."""
        return request.stream or self.always_streams

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        """Says whether the model shall think, in the server's way. Nothing asked = off."""

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        """The kind's last word on a chat's body, which it may change. `stream` in it says whether a stream is asked
        for."""

    def adapt_completion(self, body: Json, request: Completion, facts: Facts, dropped: list[str]) -> None:
        """The same for a completion's."""

    # --- answers

    def decoder(self, request: Request) -> Decoder:
        """The decoder of a streamed reply; its faults are read with this kind's signs."""
        expected = 1
        decoder: Decoder
        if isinstance(request, Completion):
            expected = request.choices * len(request.prompt)
            decoder = FaultReader(completions.CompletionDecoder(expected), self.signs)
        else:
            expected = request.choices if isinstance(request, Chat) else 1
            decoder = FaultReader(self.chat_decoder(expected), self.signs)
        if self.stops_itself or not isinstance(request, Chat | Completion) or not request.sampling.stop:
            return decoder
        return Stopping(decoder, Stop(request.sampling.stop, expected))

    def read(self, request: Request, body: Any) -> Answer | Json:
        """A whole reply. Raises the error that stands in it, or BadResponse if it is no answer."""
        error = self.error_in(body)
        if error is not None:
            raise error
        if not isinstance(body, dict):
            raise BadResponse("the model server's answer is not a JSON object")
        if isinstance(request, CountTokens):
            return {"input_tokens": self.read_count(body)}
        if isinstance(request, Embedding):
            return embeddings.parse_answer(body)
        if isinstance(request, Transcription):
            return audio.parse_answer(body)
        if isinstance(request, Relayed):
            return relayed.parse_answer(request, body)
        return completions.parse_answer(body) if isinstance(request, Completion) else self.parse_chat(body)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """The error that a reply which is no answer means. Header names in lower case."""
        return refusal.error_for(status, headers, refusal.read(body), self.signs)

    def error_in(self, body: Any) -> GatewayError | None:
        """The error inside a reply of status 200, or None."""
        return refusal.error_in(body, self.signs)

    # --- counting

    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call | None:
        """The call that counts a prompt's tokens; None if servers of this kind can't."""
        return None

    def read_count(self, body: Any) -> int:
        """The number in the reply to `count`. Raises BadResponse if there is none."""
        raise BadResponse("the model server did not say how many tokens the prompt has")

    # --- probing

    def admits(self, reply: Reply) -> bool:
        """Is it such a server that gave this reply to GET `witness`?"""
        return False

    def busy(self, model: str) -> Busyness:
        """How busy the server is with a model: servers of this kind don't say."""
        return None
        yield

    def alive(self) -> Liveness:
        reply: Reply = yield Call("GET", self.health)
        return alive_state(reply, self.unready)


def silent_videos(request: Chat) -> dict[int, str]:
    """The fates of videos whose sound the server leaves out. What has no sound loses nothing."""
    out = {}
    for number, part in enumerate(content_parts(request)):
        if not isinstance(part, Video):
            continue
        sound = header_of(part.media, "video").sound
        if sound is False:
            continue
        out[number] = "video,sound=dropped" if sound else "video,sound=unknown"
    return out


def number_in(body: Any, key: str) -> int:
    """`body[key]` as a count of tokens. Raises BadResponse if it is not there."""
    value = body.get(key) if isinstance(body, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadResponse("the model server did not say how many tokens the prompt has")
    return value


def template_kwargs(body: Json, thinking: ThinkingConfig) -> Json:
    """`chat_template_kwargs` with `enable_thinking` said outright: a boolean, since a string counts as true on some
    servers. Of the client's own only plain values pass, and none that would steer the server's template engine."""
    asked = body.get("chat_template_kwargs")
    given = asked if isinstance(asked, dict) else {}
    out = {k: v for k, v in given.items() if k not in _ENGINE and isinstance(v, bool | int | float | str)}
    out["enable_thinking"] = bool(thinking.enabled)
    return out


_ENGINE = words(
    "chat_template tokenize tools documents messages conversation add_generation_prompt continue_final_message padding "
    "truncation max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs"
)


def think_by_template(body: Json, thinking: ThinkingConfig, dropped: list[str], *, budgets: bool = False) -> None:
    """Whether the model shall think is said to the server's template and nowhere else. `budgets`: the kind has a way of
    its own to say how long."""
    body.pop("reasoning", None)
    body.pop("reasoning_effort", None)
    body["chat_template_kwargs"] = template_kwargs(body, thinking)
    if thinking.enabled and thinking.budget is not None and not budgets:
        dropped.append("thinking_budget")


def one_text(body: Json, request: Completion, dropped: list[str], ignored: Iterable[str]) -> None:
    """For servers that complete one text a request and answer 200 to the fields that they ignore."""
    if len(request.prompt) != 1 or not isinstance(request.prompt[0], str):
        raise UnsupportedParameter("this server completes one text at a time, no token ids", param="prompt")
    body["prompt"] = request.prompt[0]
    for key in ignored:
        if body.pop(key, None):
            raise UnsupportedParameter(f"this server ignores `{key}`", param=key)
    if body.pop("best_of", None) is not None:
        dropped.append("best_of")


def keep(body: Json, *keys: str) -> Json:
    """Only these fields of a body, in its own order."""
    return {k: v for k, v in body.items() if k in keys}


def post(path: str, body: Json) -> Call:
    """A call with a JSON body."""
    return Call("POST", path, encode_body(body), dict(JSON))


def _call(path: str, body: Json, dropped: list[str], streamed: bool = False) -> Call:
    call = post(path, body)
    call.streamed = streamed
    call.dropped = list(dict.fromkeys(dropped))
    return call


def _strip(body: Json) -> None:
    """Some servers refuse an explicit null, and an empty list of tools."""
    for key in [k for k, v in body.items() if v is None]:
        del body[key]
    if not body.get("tools"):
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(key, None)
