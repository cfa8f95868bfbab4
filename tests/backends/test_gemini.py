"""Hosted models by their native API. What stands here is written as the API's documentation and reports have it: no
live endpoint was recorded."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest

from gateway import errors
from gateway.backends import Backend as Seam
from gateway.backends import Reply, kinds, load, run_probe
from gateway.backends.wire.samples import PNG, WAV
from gateway.backends.wire.stopping import Stopping
from gateway.canonical.content import (
    Audio,
    Image,
    Media,
    Message,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.events import End, Fault, fold
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.needs import needs_of
from gateway.canonical.requests import (
    Bound,
    Chat,
    Completion,
    CountTokens,
    Embedding,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)
from gateway.dialects.gemini.models import name_facts
from gateway.families import identify
from gateway.routing.candidate import Candidate
from gateway.routing.fit import lacks
from tests.backends.recorded import body_of

BACKEND = load("gemini")
GEMMA, FLASH, PRO = "gemma-4-31b-it", "gemini-2.5-flash", "gemini-3-pro-preview"
USER = Message("user", [Text("x")])
CONTENTS = [{"role": "user", "parts": [{"text": "x"}]}]


def facts_of(model: str, probed: Facts | None = None) -> Facts:
    told = probed or name_facts(model)
    return layer(("probed", told), ("family", identify(model)), ("assumed", BACKEND.assumed))


def built(request: Any, model: str = GEMMA, facts: Facts | None = None) -> Any:
    before = deepcopy(request)
    call = BACKEND.build(request, Target("google", "gemini", model), facts or facts_of(model))
    assert request == before  # the next attempt starts from it again
    return call


def chat(*messages: Message, **fields: Any) -> Chat:
    return Chat("public", list(messages) or [USER], **fields)


def test_where_it_goes() -> None:
    assert built(chat()).path == "/v1beta/models/gemma-4-31b-it:generateContent"
    streamed = built(chat(stream=True))
    assert (streamed.path, streamed.streamed) == ("/v1beta/models/gemma-4-31b-it:streamGenerateContent?alt=sse", True)
    assert built(chat(), "tunedModels/my one").path == "/v1beta/tunedModels/my%20one:generateContent"
    assert BACKEND.credentials("K") == {"x-goog-api-key": "K"}
    assert "key" not in streamed.path and not BACKEND.local
    assert "model" not in body_of(streamed)


@pytest.mark.parametrize(
    ("model", "asked", "config"),
    [
        (GEMMA, ThinkingConfig(), {"thinkingLevel": "MINIMAL"}),
        (GEMMA, ThinkingConfig(False), {"thinkingLevel": "MINIMAL"}),
        (GEMMA, ThinkingConfig(True, "medium"), {"thinkingLevel": "HIGH"}),
        (GEMMA, ThinkingConfig(True, "low", 500), {"thinkingLevel": "MINIMAL"}),
        ("gemma-4-26b-a4b-it", ThinkingConfig(True), {"thinkingLevel": "HIGH"}),
        ("gemma-3-27b-it", ThinkingConfig(), None),
        ("gemma-3-27b-it", ThinkingConfig(True), None),
        (FLASH, ThinkingConfig(), {"thinkingBudget": 0}),
        (FLASH, ThinkingConfig(True, "low", 500), {"includeThoughts": True, "thinkingBudget": 500}),
        ("gemini-2.5-pro", ThinkingConfig(include=False), None),
        (PRO, ThinkingConfig(), {"thinkingLevel": "LOW"}),
        (
            "gemini-3-flash-preview",
            ThinkingConfig(True, "medium"),
            {"includeThoughts": True, "thinkingLevel": "MEDIUM"},
        ),
        ("gemini-flash-latest", ThinkingConfig(False), {"thinkingLevel": "MINIMAL"}),
        ("unknown", ThinkingConfig(True), None),
    ],
)
def test_thinking_is_said_outright(model: str, asked: ThinkingConfig, config: Any) -> None:
    call = built(chat(thinking=asked), model)
    assert body_of(call).get("generationConfig", {}).get("thinkingConfig") == config
    assert ("thinking" in call.dropped) == (config is None and bool(asked.enabled))


def test_facts_of_the_operator_win() -> None:
    facts = facts_of(GEMMA)
    facts.thinking_levels, facts.thinking_budget, facts.call_ids = frozenset(), True, True
    facts.schema_form, facts.call_signatures = "openapi", True
    tools = [Tool("f", parameters={"type": "object", "properties": {"a": {"const": "x"}}})]
    turn = Message("assistant", [ToolCall("a", "f", "{}")])
    body = body_of(built(chat(USER, turn, tools=tools, thinking=ThinkingConfig(True, "high")), facts=facts))
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 24576}
    assert body["contents"][1]["parts"][0]["functionCall"]["id"] == "a"
    assert body["contents"][1]["parts"][0]["thoughtSignature"]
    assert body["tools"][0]["functionDeclarations"][0]["parameters"]["properties"]["a"]["enum"] == ["x"]


def test_sound_does_not_leave_for_a_model_that_does_not_hear() -> None:
    sound = chat(Message("user", [Audio(Media("audio/wav", base64=WAV), path="messages[0].content[0]")]))
    for model in (GEMMA, "gemma-4-26b-a4b-it"):
        facts = facts_of(model)
        assert facts.audio is False and facts.video is False and facts.image is True
        hosted = Candidate(Target("google", "gemini", model), facts, hints=BACKEND.hints, state="ready")
        found = lacks(needs_of(sound), hosted)
        assert [x.need for x in found] == ["audio"] and "local server" in found[0].hint
        with pytest.raises(errors.PartRefused) as caught:
            built(sound, model)
        assert caught.value.param == "messages[0].content[0]"
    assert "inlineData" in str(body_of(built(sound, FLASH)))


def test_media() -> None:
    picture = chat(Message("user", [Image(Media("", base64=PNG, detail="high"), path="p"), Text("?")]))
    inline = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    assert body_of(built(picture))["contents"][0]["parts"][0] == inline
    level = {"mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}
    assert body_of(built(picture, FLASH))["contents"][0]["parts"][0] == {**inline, **level}
    for part in (Video(Media("video/mp4", base64="AAAA")), Image(Media("image/bmp", base64="Qk0AAAAA"))):
        with pytest.raises(errors.PartRefused):
            built(chat(Message("user", [part])))
    result = ToolResult("a", [Text("see"), Image(Media("image/png", base64=PNG))])
    turns = [USER, Message("assistant", [ToolCall("a", "f", "")]), Message("tool", [result])]
    assert [len(c["parts"]) for c in body_of(built(chat(*turns)))["contents"][2:]] == [1, 1]
    assert "parts" in body_of(built(chat(*turns), PRO))["contents"][2]["parts"][0]["functionResponse"]


def test_what_it_does_not_get_is_named() -> None:
    request = chat(
        Message("assistant", [Thinking("hm"), Text("a"), Refusal("no")]),
        sampling=Sampling(min_p=0.1, logit_bias={"1": 1}, top_k=3, repetition_penalty=1.1),
        tools=[Tool("f", strict=True)],
        parallel_tool_calls=False,
        bound=[Bound("gemini", "googleSearch", {}, True, path="tools[1].googleSearch")],
        extra={"openai": {"cache_salt": "x"}, "gemini": {"safetySettings": [1], "serviceTier": "flex"}},
        dropped=["user"],
    )
    call = built(request)
    assert sorted(call.dropped) == [
        "cache_salt",
        "logit_bias",
        "min_p",
        "parallel_tool_calls",
        "repetition_penalty",
        "serviceTier",
        "thinking of earlier turns",
        "tools[1].googleSearch",
        "user",
    ]
    body = body_of(call)
    assert body["safetySettings"] == [1] and "serviceTier" not in body and "toolConfig" not in body
    assert body["contents"] == [{"role": "model", "parts": [{"text": "a"}, {"text": "no"}]}]
    assert body["generationConfig"]["topK"] == 3
    whole = body_of(built(request, FLASH))
    assert whole["serviceTier"] == "flex" and whole["tools"][1] == {"googleSearch": {}}
    assert whole["toolConfig"]["functionCallingConfig"]["mode"] == "VALIDATED"


SCHEMA = OutputFormat("json_schema", "n", {"type": "object", "properties": {"a": {"type": "string"}}})


@pytest.mark.parametrize(
    ("request_", "model"),
    [
        (chat(tools=[Tool("f")], output=SCHEMA), GEMMA),
        (chat(extra={"openai": {"guided_regex": "a"}}), FLASH),
        (chat(bound=[Bound("gemini", "cachedContent", "c", path="cachedContent")]), GEMMA),
        (chat(bound=[Bound("anthropic", "web_search", {}, path="tools[0]")]), FLASH),
        (chat(Message("user", [Opaque("anthropic", "x", {})])), FLASH),
    ],
)
def test_what_changes_the_answer_is_refused(request_: Chat, model: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        built(request_, model)
    assert isinstance(caught.value, errors.UnsupportedParameter | errors.PartRefused)


def test_more_stop_texts_than_it_takes() -> None:
    request = chat(sampling=Sampling(stop=list("abcdefg")))
    call = built(request, FLASH)
    assert call.streamed and call.path.endswith(":streamGenerateContent?alt=sse")
    assert body_of(call)["generationConfig"]["stopSequences"] == list("abcde")
    decoder = BACKEND.decoder(request)
    events = []
    for words in ("xy", "zg more", "lost"):
        piece = {"candidates": [{"content": {"parts": [{"text": words}]}, "index": 0}]}
        events += decoder.feed(b"data: " + msgspec.json.encode(piece) + b"\r\n\r\n")
    choice = fold(events).choices[0]
    assert (choice.parts, choice.finish, choice.stop_sequence) == ([Text("xyz")], "stop", "g")
    five = chat(sampling=Sampling(stop=list("abcde")))
    assert not built(five, FLASH).streamed and not isinstance(BACKEND.decoder(five), Stopping)


def test_tools_that_take_free_text() -> None:
    call = ToolCall("c", "patch", "*** Begin", "custom")
    request = chat(USER, Message("assistant", [call]), Message("tool", [ToolResult("c", [Text("ok")])]))
    request.tools = [Tool("patch", "Edits.", kind="custom")]
    body = body_of(built(request, FLASH))
    [declared] = body["tools"][0]["functionDeclarations"]
    assert declared["name"] == "patch" and "input" in str(declared)
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": "*** Begin"}
    assert call.kind == "custom"


def test_tools_and_a_format_where_they_go_together() -> None:
    assert "tools" in body_of(built(chat(tools=[Tool("f")], output=SCHEMA), FLASH))
    assert "tools" in body_of(built(chat(tools=[Tool("f")], tool_choice=ToolChoice("none"), output=SCHEMA)))


def test_instructions_where_there_is_no_system_role() -> None:
    request = chat(Message("system", [Text("S")]), Message("developer", [Text("D")]), USER)
    assert body_of(built(request))["systemInstruction"] == {"parts": [{"text": "S"}, {"text": "D"}]}
    older = body_of(built(request, "gemma-3-27b-it"))
    assert "systemInstruction" not in older
    assert older["contents"] == [{"role": "user", "parts": [{"text": "S\nD\n\n"}, {"text": "x"}]}]
    alone = body_of(built(chat(Message("system", [Text("S")])), "gemma-3-27b-it"))
    assert alone["contents"] == [{"role": "user", "parts": [{"text": "S\n\n"}]}]


def test_counting_and_embedding() -> None:
    call = built(CountTokens(chat()))
    assert call.path == "/v1beta/models/gemma-4-31b-it:countTokens"
    inner = body_of(call)["generateContentRequest"]
    assert (inner["model"], inner["contents"]) == ("models/gemma-4-31b-it", CONTENTS)
    assert BACKEND.read(CountTokens(chat()), {"totalTokens": 7}) == {"input_tokens": 7}
    with pytest.raises(errors.BadResponse):
        BACKEND.read_count({})
    request = Embedding("public", ["a"], extra={"openai": {"normalize": True}})
    call = built(request, "gemini-embedding-001")
    assert (call.path, call.dropped) == ("/v1beta/models/gemini-embedding-001:batchEmbedContents", ["normalize"])
    assert body_of(call)["requests"][0]["model"] == "models/gemini-embedding-001"
    assert BACKEND.read(request, {"embeddings": [{"values": [1]}]})["data"][0]["embedding"] == [1]
    with pytest.raises(errors.NotImplementedHere):
        built(Completion("m", ["x"]))


def error(code: int, status: str, message: str = "x", **more: Any) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message, "status": status, **more}})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error(400, "INVALID_ARGUMENT", "bad"), errors.UpstreamRefused),
        (
            400,
            error(400, "INVALID_ARGUMENT", "API key not valid", details=[{"reason": "API_KEY_INVALID"}]),
            errors.BadCredentials,
        ),
        (400, error(400, "FAILED_PRECONDITION", "User location is not supported"), errors.BadCredentials),
        (403, error(403, "PERMISSION_DENIED"), errors.BadCredentials),
        (404, error(404, "NOT_FOUND"), errors.ModelGone),
        (429, error(429, "RESOURCE_EXHAUSTED"), errors.UpstreamRateLimited),
        (500, error(500, "INTERNAL"), errors.UpstreamError),
        (503, error(503, "UNAVAILABLE"), errors.UpstreamBusy),
        (503, b"[" + error(503, "UNAVAILABLE") + b"]", errors.UpstreamBusy),
        (502, b"<html>bad</html>", errors.UpstreamUnavailable),
        (500, b"\xff", errors.UpstreamError),
        (302, error(400, "INVALID_ARGUMENT"), errors.BadResponse),
    ],
)
def test_refusals(status: int, body: bytes, kind: type) -> None:
    assert type(BACKEND.refusal(status, {}, body)) is kind


def test_words_are_fit_for_clients() -> None:
    told = BACKEND.refusal(400, {}, error(400, "INVALID_ARGUMENT", "see https://x.y/z and 10.1.2.3:99"))
    assert "10.1.2.3" not in told.message and "https" not in told.message and str(told) == told.message
    assert "AIza" not in BACKEND.refusal(403, {}, error(403, "PERMISSION_DENIED", "AIzaSyA-0123456789abcdef0")).message
    assert BACKEND.refusal(503, {"retry-after": "7"}, error(503, "UNAVAILABLE")).retry_after == 7.0


@pytest.mark.parametrize(
    ("message", "learned"),
    [
        (
            "Invalid JSON payload. Unknown name \"id\" at 'contents[1].parts[0].function_call': Cannot find field.",
            {"call_ids": False},
        ),
        ("Unknown name \"id\" at 'contents[2].parts[0].functionResponse'", {"call_ids": False}),
        (
            "Unknown name \"parametersJsonSchema\" at 'tools[0].function_declarations[0]': Cannot find field.",
            {"schema_form": "openapi"},
        ),
        ("Unknown name \"response_json_schema\" at 'generation_config'", {"schema_form": "openapi"}),
        ("Function call is missing a thought_signature in functionCall parts.", {"call_signatures": True}),
        ("Thinking level is not supported for this model.", {"thinking_levels": frozenset()}),
        ("Thinking budget is not supported for this model.", {"thinking_budget": False}),
    ],
)
def test_the_form_that_it_wants_is_learned(message: str, learned: Any) -> None:
    told = BACKEND.refusal(400, {}, error(400, "INVALID_ARGUMENT", message))
    assert isinstance(told, errors.NeedsOtherForm) and told.learned == learned
    assert (told.failover, told.verdict, told.status) == ("next", "neutral", 400)
    facts = facts_of(PRO)
    for name, value in learned.items():
        setattr(facts, name, value)
    built(chat(tools=[Tool("f")]), PRO, facts)


def test_a_400_about_something_else_teaches_nothing() -> None:
    told = BACKEND.refusal(400, {}, error(400, "INVALID_ARGUMENT", "Unknown name \"ide\" at 'contents[0]'"))
    assert type(told) is errors.UpstreamRefused


def test_answers_and_streams() -> None:
    request = chat(tools=[Tool("f")])
    call = {"functionCall": {"name": "default_api:f", "args": {}}}
    body = {"candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}]}
    answer = BACKEND.read(request, body)
    assert answer.choices[0].parts[0].name == "f" and answer.choices[0].finish == "tool_calls"
    decoder = BACKEND.decoder(request)
    events = decoder.feed(b"data: " + msgspec.json.encode(body) + b"\r\n\r\n") + decoder.end()
    assert type(events[-1]) is End and fold(events) == answer
    broken = BACKEND.decoder(request).feed(b"data: " + error(503, "UNAVAILABLE") + b"\n\n")
    assert isinstance(broken[-1], Fault) and broken[-1].code == "service_unavailable"
    with pytest.raises(errors.UpstreamBusy):
        BACKEND.read(request, msgspec.json.decode(error(503, "UNAVAILABLE")))
    assert BACKEND.error_in(body) is None


def card(name: str, *methods: str, **more: Any) -> dict[str, Any]:
    return {"name": f"models/{name}", "supportedGenerationMethods": list(methods), "inputTokenLimit": 262144, **more}


def listing(*cards: Any, **more: Any) -> Reply:
    return Reply(200, body=msgspec.json.encode({"models": list(cards), **more}))


def test_probe() -> None:
    first = listing(
        card(GEMMA, "generateContent", "countTokens", version="001"),
        card("text-embedding-004", "embedContent"),
        card("imagen", "predict"),
        nextPageToken="a/b",
    )
    steps = BACKEND.probe()
    asked = [next(steps).path, steps.send(first).path]
    assert asked == ["/v1beta/models?pageSize=1000", "/v1beta/models?pageSize=1000&pageToken=a%2Fb"]
    found = run_probe(BACKEND.probe(), iter([first, listing(card(FLASH, "generateContent", thinking=True))]))
    assert (found.state, [m.id for m in found.models]) == ("ready", [GEMMA, "text-embedding-004", FLASH])
    gemma, embedding, flash = (m.facts for m in found.models)
    assert (gemma.context, gemma.audio, gemma.version, gemma.operations) == (
        262144,
        False,
        "001",
        frozenset({"chat", "count_tokens"}),
    )
    assert embedding.operations == frozenset({"embedding"})
    assert flash.audio is True and flash.thinking is True


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(0, error="nobody"), "nobody"),
        (Reply(400, body=error(400, "INVALID_ARGUMENT", "API key not valid.")), "api_key_env"),
        (Reply(403, body=error(403, "PERMISSION_DENIED")), "api_key_env"),
        (Reply(429), "limits"),
        (Reply(404, body=b"<html>"), "404"),
        (Reply(200, body=b'{"data": []}'), "another API"),
        (Reply(200, body=b'{"models": []}'), "no models"),
        (Reply(200, body=b"\xff"), "another API"),
    ],
)
def test_probe_of_something_else(reply: Reply, words: str) -> None:
    found = run_probe(BACKEND.probe(), iter([reply]))
    assert (found.state, found.models) == ("down", []) and words in found.detail


def test_life_and_claims() -> None:
    assert run_probe(BACKEND.alive(), iter([listing()])) == "ready"
    assert run_probe(BACKEND.alive(), iter([Reply(429)])) == "ready"
    assert run_probe(BACKEND.alive(), iter([Reply(0)])) == "down"
    assert run_probe(BACKEND.busy("m"), iter([])) is None
    assert BACKEND.claims(listing(card("x", "generateContent")))
    assert not BACKEND.claims(Reply(200, body=b'{"models": [{"name": "llama"}]}'))
    assert not BACKEND.claims(Reply(200, body=b'{"data": [{"id": "x"}]}'))


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_all_that_the_engine_looks_for(kind: str) -> None:
    names = [n for n in (*Seam.__annotations__, *vars(Seam)) if not n.startswith("_")]
    assert len(names) > 15 and [n for n in names if not hasattr(load(kind), n)] == []
