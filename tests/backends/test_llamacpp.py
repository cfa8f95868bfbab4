import msgspec
import pytest

from gateway.backends import Discovery, Load, Reply, load, run_probe
from gateway.canonical.content import Audio, Image, Media, Message, Refusal, Text, Thinking, Video
from gateway.canonical.events import Usage, fold
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)
from gateway.errors import PartRefused, UnsupportedParameter
from tests.backends.recorded import body_of, exchange, reply

BACKEND = load("llamacpp")
TARGET = Target("ears", "llamacpp", "tiny-gemma4")
FACTS = layer(("probed", Facts(image=True, audio=True, video=True, slots=2, choices=2)), ("assumed", BACKEND.assumed))
OFF = {"enable_thinking": False}
USER = Message("user", [Text("x")])
TOOLS = [Tool("a", "does a", {"type": "object"}), Tool("b")]
RENDERED = [
    {"type": "function", "function": {"name": "a", "description": "does a", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "b"}},
]


def body(request, facts: Facts = FACTS):
    return body_of(BACKEND.build(request, TARGET, facts))


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


STREAM = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
WHOLE = {"model": "tiny-gemma4", "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": OFF}
BASE = {**WHOLE, **STREAM}
JSON_SCHEMA = OutputFormat("json_schema", "n", {"type": "object"})

BUILT = [
    (chat(), BASE),
    (chat(stream=True), BASE),
    (chat(tools=[], parallel_tool_calls=True), BASE),
    (chat(tools=TOOLS), {**BASE, "tools": RENDERED}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("none")), {**BASE, "tools": RENDERED, "tool_choice": "none"}),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"]), parallel_tool_calls=False),
        {**BASE, "tools": RENDERED[1:], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("required", ["a"])),
        {**BASE, "tools": RENDERED[:1], "tool_choice": "required"},
    ),
    (chat(thinking=ThinkingConfig(enabled=True)), {**BASE, "chat_template_kwargs": {"enable_thinking": True}}),
    (
        chat(thinking=ThinkingConfig(True, "high", 64)),
        {
            **BASE,
            "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "high"},
            "reasoning_budget_tokens": 64,
        },
    ),
    (chat(thinking=ThinkingConfig(False, "none")), BASE),
    (
        chat(extra={"openai": {"chat_template_kwargs": {"date": "today", "enable_thinking": "yes"}}}),
        {**BASE, "chat_template_kwargs": {"date": "today", "enable_thinking": False}},
    ),
    (
        chat(sampling=Sampling(temperature=0, top_k=3, seed=1, repetition_penalty=1.1, logit_bias={"5": 2.0})),
        {**BASE, "temperature": 0, "top_k": 3, "seed": 1, "repeat_penalty": 1.1, "logit_bias": {"5": 2.0}},
    ),
    (chat(choices=2), {**BASE, "n": 2}),
    (chat(logprobs=True, top_logprobs=1), {**WHOLE, "logprobs": True, "top_logprobs": 1}),
    (chat(logprobs=True, tools=TOOLS), {**WHOLE, "logprobs": True, "tools": RENDERED}),
    (chat(logprobs=True, stream=True), {**BASE, "logprobs": True}),
    (
        chat(output=JSON_SCHEMA),
        {
            **BASE,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        },
    ),
    (
        chat(extra={"openai": {"ignore_eos": True, "grammar": "root ::= x", "id_slot": 3, "cache_prompt": False}}),
        {**BASE, "ignore_eos": True, "grammar": "root ::= x", "cache_prompt": False},
    ),
    (
        chat(messages=[USER, Message("assistant", [Thinking("hm"), Text("a"), Refusal("no")]), USER]),
        {
            **BASE,
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "no"}],
                },
                {"role": "user", "content": "x"},
            ],
        },
    ),
    (
        chat(messages=[USER, Message("assistant", [Text("The")])], prefill=True),
        {**BASE, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "The"}]},
    ),
    (
        chat(
            messages=[
                Message(
                    "user",
                    [
                        Image(Media("image/png", base64="AAAA", detail="low")),
                        Audio(Media("audio/mpeg", base64="AAAA")),
                        Video(Media("video/mp4", base64="AAAA")),
                    ],
                )
            ]
        ),
        {
            **BASE,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
                    ],
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    call = BACKEND.build(request_, TARGET, FACTS)
    assert body_of(call) == expected
    assert call.streamed == ("stream" in expected)


REFUSED = [
    (chat(choices=3), "n"),
    (chat(tools=TOOLS, stream=True, logprobs=True), "logprobs"),
    (chat(tools=TOOLS, output=JSON_SCHEMA), "response_format"),
    (chat(tools=TOOLS, extra={"openai": {"grammar": "x"}}), "grammar"),
    (chat(extra={"openai": {"structured_outputs": {}}}), "structured_outputs"),
    (chat(audio_out=True), "modalities"),
    (Completion("m", ["a", "b"]), "prompt"),
    (Completion("m", [[1, 2]]), "prompt"),
    (Completion("m", ["a"], suffix="b"), "suffix"),
    (Completion("m", ["a"], echo=True), "echo"),
]


@pytest.mark.parametrize(("request_", "param"), REFUSED)
def test_what_it_would_ignore_is_refused(request_, param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        body(request_)
    assert caught.value.param == param


def test_what_goes_with_what() -> None:
    body(chat(tools=TOOLS, logprobs=True))
    body(chat(stream=True, logprobs=True))
    body(chat(tools=TOOLS, tool_choice=ToolChoice("none"), output=JSON_SCHEMA))


def test_webp_and_flac_are_not_taken() -> None:
    for part in (Image(Media("image/webp", base64="AAAA")), Audio(Media("audio/flac", base64="AAAA"))):
        with pytest.raises(PartRefused, match="was not converted"):
            body(chat(messages=[Message("user", [part])]))


def test_a_template_that_cannot_think() -> None:
    request = chat(thinking=ThinkingConfig(enabled=True))
    call = BACKEND.build(request, TARGET, layer(("probed", Facts(thinking=False)), ("assumed", FACTS)))
    assert call.dropped == ["thinking"]
    assert body_of(call) == BASE


@pytest.mark.parametrize("stream", [False, True])
def test_completions(stream: bool) -> None:
    request = Completion("m", ["a"], best_of=2, logprobs=1, sampling=Sampling(repetition_penalty=1.5), stream=stream)
    call = BACKEND.build(request, TARGET, FACTS)
    assert (call.dropped, call.streamed) == (["best_of"], True)
    assert body_of(call) == {"model": "tiny-gemma4", "prompt": "a", "logprobs": 1, "repeat_penalty": 1.5, **STREAM}


def chunk(index: int, usage: dict | None = None, **choice) -> bytes:
    choices = [{"index": index, "finish_reason": None, **choice}] if choice else []
    value = {"id": "x", "choices": choices, "usage": usage}
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def spent(completion: int, cached: int) -> dict:
    details = {"cached_tokens": cached}
    return {"prompt_tokens": 41, "completion_tokens": completion, "prompt_tokens_details": details}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("request_", [chat(choices=2), Completion("m", ["a"], choices=2)])
def test_the_usage_of_all_choices_is_added_up(request_, first: int) -> None:
    """As measured: each choice ends with a usage of its own, and all but one have the prompt from the first one's."""
    decoder = BACKEND.decoder(request_)
    usages = [spent(27, 0), spent(30, 40)]
    data = b"".join(
        chunk(i, delta={"content": "a"}, text="a")
        + chunk(i, delta={}, text="", finish_reason="stop")
        + chunk(i, usage=usages[i])
        for i in (first, 1 - first)
    )
    answer = fold([*decoder.feed(data), *decoder.feed(b"data: [DONE]\n\n")])
    assert answer.usage == Usage(41, 57, 0)


def test_one_choice_may_tell_its_usage_as_often_as_it_likes() -> None:
    decoder = BACKEND.decoder(chat())
    told = [e for _ in range(2) for e in decoder.feed(chunk(0, usage=spent(3, 1))) if isinstance(e, Usage)]
    assert told == [Usage(41, 3, 1)] * 2


def test_counting() -> None:
    request = CountTokens(chat(tools=TOOLS, sampling=Sampling(max_tokens=3), stream=True))
    call = BACKEND.count(request, TARGET, FACTS)
    assert call is not None
    assert (call.path, body_of(call)) == ("/v1/chat/completions/input_tokens", {**WHOLE, "tools": RENDERED})
    recorded = exchange("llamacpp/chat_input_tokens")
    assert recorded.path == call.path
    assert BACKEND.read_count(msgspec.json.decode(recorded.reply.body)) == 18


NEITHER = [reply("llamacpp/rerank_empty"), reply("llamacpp/infill_empty")]


def probe(*names: str) -> Discovery:
    """`names`: what it answers, up to embeddings; it neither ranks nor fills in."""
    replies = [n if isinstance(n, Reply) else reply(f"llamacpp/{n}") for n in names]
    return run_probe(BACKEND.probe(), iter([*replies, *NEITHER]))


def test_probe_of_a_multimodal_server() -> None:
    found = probe("models", "props", "embeddings_empty")
    assert (found.state, found.version, found.detail) == ("ready", "", "")
    (model,) = found.models
    assert (model.id, model.aliases, model.root) == ("tiny-gemma4", [], "models/tiny/tiny-gemma4.gguf")
    assert model.facts == Facts(
        operations=frozenset({"chat", "completion", "count_tokens"}),
        image=True,
        audio=True,
        video=True,
        tools=True,
        thinking=True,
        context=4096,
        slots=2,
        choices=2,
        quantization="f32",
        size=217104 / 1e9,
        fixture=True,
    )


def test_probe_of_a_text_server() -> None:
    found = probe("smollm2_models", "smollm2_props", "embeddings_empty_enabled")
    facts = found.models[0].facts
    assert (facts.image, facts.audio, facts.video) == (False, False, False)
    assert (facts.tools, facts.forced_tool, facts.thinking) == (False, "ignored", False)
    assert (facts.quantization, facts.context, facts.fixture) == ("q4_1", 2048, None)
    assert facts.operations == frozenset({"chat", "completion", "count_tokens", "embedding"})


def test_what_only_some_do() -> None:
    embeds, none = reply("llamacpp/embeddings_empty_enabled"), reply("llamacpp/rerank_empty")
    empty = Reply(400, body=b'{"error":{"code":400,"message":"\\"query\\" must be provided"}}')
    listed = [reply("llamacpp/smollm2_models"), reply("llamacpp/smollm2_props")]
    for answers, more in (
        ([none, empty, none], {"rerank"}),
        ([none, none, empty], {"infill"}),
        ([embeds, empty, empty], {"embedding", "rerank", "infill"}),
        ([Reply(0), Reply(0), Reply(500)], set()),
    ):
        facts = run_probe(BACKEND.probe(), iter([*listed, *answers])).models[0].facts
        assert facts.operations == {"chat", "completion", "count_tokens"} | more


def test_embeddings_without_pooling() -> None:
    facts = probe("models", "props", "embeddings_pooling_none").models[0].facts
    assert "embedding" not in (facts.operations or ())


def test_older_builds_tell_modalities_in_props_only() -> None:
    listed = reply("llamacpp/smollm2_models")
    body = msgspec.json.decode(listed.body)
    del body["data"][0]["architecture"]
    props = {"modalities": {"vision": True, "audio": False}, "default_generation_settings": {"n_ctx": 7}}
    replies = [Reply(200, body=msgspec.json.encode(body)), Reply(200, body=msgspec.json.encode(props)), Reply(501)]
    replies += NEITHER
    facts = run_probe(BACKEND.probe(), iter(replies)).models[0].facts
    assert (facts.image, facts.audio, facts.video, facts.context) == (True, False, False, 7)
    assert (facts.tools, facts.thinking, facts.slots) == (None, None, None)


def test_a_build_that_knows_its_number_tells_it() -> None:
    told = reply("llamacpp/props").body.replace(b"b0-unknown", b"b11549-a1b2c3d")
    found = probe("models", Reply(200, body=told), "embeddings")
    assert found.version == found.models[0].facts.version == "b11549-a1b2c3d"


def test_a_sleeping_server_is_not_woken() -> None:
    props = msgspec.json.decode(reply("llamacpp/props").body)
    props["is_sleeping"] = True
    found = probe("models", Reply(200, body=msgspec.json.encode(props)))
    assert (found.state, found.models[0].state, found.models[0].facts.operations) == ("cold", "cold", None)


def test_router_mode() -> None:
    found = probe("router_models", "router_props")
    assert [(m.id, m.state, m.facts.context, m.facts.image, m.facts.video) for m in found.models] == [
        ("tiny-a", "cold", 2048, False, False),
        ("tiny-mm", "cold", 2048, True, None),
    ]
    assert found.models[1].root == "models/router/tiny-mm/tiny-gemma4.gguf"
    after = probe("router_models_after", "router_props", "props")
    assert [(m.state, m.facts.video) for m in after.models] == [("cold", False), ("ready", True)]
    assert (after.models[1].facts.slots, after.models[1].facts.tools) == (2, True)
    assert probe("router_models_after", "router_props", Reply(400)).models[1].state == "ready"


def routed(name: str, value: str, *args: str, **more) -> dict:
    status = {"value": value, "args": ["llama-server", "--alias", name, *args]}
    inputs = {"input_modalities": ["text"]}
    return {"id": name, "owned_by": "llamacpp", "status": status, "architecture": inputs, **more}


ROUTED = [
    routed("a", "unloaded", "--model", "/m/gemma-4-E4B-it-Q4_K_M.gguf", "-c", "8192", "-np", "4"),
    routed("b", "loading", "--parallel", "x"),
    routed("c", "sleeping"),
    routed("gemma-4-12b", "loaded"),
    {**routed("e", "unloaded"), "status": {"value": "unloaded", "failed": True, "exit_code": 1}},
    routed("f", "downloading"),
]


def probe_router(autoload: bool) -> tuple[Discovery, list[str]]:
    """(what was found, the paths that were asked)"""
    listed = Reply(200, body=msgspec.json.encode({"object": "list", "data": ROUTED}))
    props = msgspec.json.decode(reply("llamacpp/router_props").body)
    assert props["models_autoload"] is True, "what it is if nobody says otherwise"
    props["models_autoload"] = autoload
    paths: list[str] = []
    steps = BACKEND.probe()
    call = next(steps)
    own = msgspec.json.decode(reply("llamacpp/props").body) | {"chat_template": "{{ messages }}"}
    replies = iter([listed, *(Reply(200, body=msgspec.json.encode(p)) for p in (props, own))])
    try:
        while True:
            paths.append(call.path)
            call = steps.send(next(replies))
    except StopIteration as stop:
        return stop.value, paths


def test_states_and_slots_of_a_router() -> None:
    found, paths = probe_router(True)
    assert paths == ["/v1/models", "/props", "/props?model=gemma-4-12b&autoload=false"]
    first = found.models[0].facts
    assert (first.slots, first.choices, first.context, first.quantization) == (4, 4, 2048, "q4_k_m")
    assert found.models[1].facts.slots is None
    assert "no projector: a, gemma-4-12b could see" in found.detail
    assert "/m/" not in found.detail


@pytest.mark.parametrize(
    ("autoload", "states", "said"),
    [
        # a request waits for what it loads, and for what another one has begun to load
        (True, ["cold", "cold", "cold", "ready", "down", "loading"], {("failed-model", "e")}),
        # nothing waits: what is not loaded is refused, what loads is 503
        (False, ["down", "loading", "cold", "ready", "down", "loading"], {("not-loaded", "a"), ("failed-model", "e")}),
    ],
)
def test_a_router_that_loads_on_demand_lets_requests_wait(
    autoload: bool, states: list[str], said: set[tuple[str, str]]
) -> None:
    found, _ = probe_router(autoload)
    assert [m.state for m in found.models] == states
    # of the one that is loaded the template is seen
    assert {(f.code, f.model) for f in found.findings} == {*said, ("old-template", "gemma-4-12b")}
    assert all(("/models/load" in f.fix) is (f.code != "old-template") for f in found.findings)


def test_an_old_template_is_a_finding() -> None:
    card = {"id": "gemma-4-E2B-it-Q4_0.gguf", "owned_by": "llamacpp"}
    listed = Reply(200, body=msgspec.json.encode({"object": "list", "data": [card]}))

    def codes(template: str) -> list[str]:
        props = Reply(200, body=msgspec.json.encode({"chat_template": template, "modalities": {"vision": True}}))
        return [f.code for f in probe(listed, props, Reply(501)).findings]

    assert codes("{{ bos_token }}") == ["old-template"]
    assert codes("{#- OpenAI Chat Completions: tools #}{{ bos_token }}") == []
    assert codes("") == []
    assert probe("smollm2_models", "smollm2_props", Reply(501)).findings == []


def test_a_missing_projector_is_said() -> None:
    card = {"id": "/m/gemma-4-E2B-it-Q4_0.gguf", "owned_by": "llamacpp", "meta": {"n_params": 5_100_000_000}}
    listed = Reply(200, body=msgspec.json.encode({"object": "list", "data": [card]}))
    told = {"modalities": {"vision": False, "audio": False}, "model_path": "/m/gemma-4-E2B-it-Q4_0.gguf"}
    found = probe(listed, Reply(200, body=msgspec.json.encode(told)), Reply(501))
    assert found.detail.startswith("no projector: gemma-4-E2B-it-Q4_0.gguf could see; start it with --mmproj FILE")
    assert found.models[0].facts.image is False
    assert probe("models", "props", "embeddings_empty").detail == ""
    assert probe("smollm2_models", "smollm2_props", Reply(501)).detail == ""


SLOTS = Reply(
    200, body=b'[{"id":0,"is_processing":true},{"id":1,"is_processing":false},{"id":2,"is_processing":true},3]'
)
FULL = Reply(200, body=b'[{"id":0,"is_processing":true},{"id":1,"is_processing":true}]')
COUNTS = Reply(200, body=b"llamacpp:requests_processing 3\nllamacpp:requests_deferred 4\n")


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((reply("llamacpp/slots"),), Load(0, 0)),
        ((SLOTS,), Load(2, 0)),
        ((FULL, COUNTS), Load(2, 4)),
        ((FULL, Reply(501)), Load(2)),
        ((Reply(501), COUNTS), Load(3, 4)),
        ((Reply(501), reply("llamacpp/metrics")), Load(0, 0)),
        ((reply("llamacpp/router_metrics"), reply("llamacpp/router_metrics")), None),
        ((Reply(0), Reply(0)), None),
    ],
)
def test_busy(replies: tuple[Reply, ...], expected: Load | None) -> None:
    assert run_probe(BACKEND.busy("a b/c"), iter(replies)) == expected
    assert next(BACKEND.busy("a b/c")).path == "/slots?model=a%20b%2Fc&autoload=false"


@pytest.mark.parametrize(
    ("first", "state"),
    [
        (Reply(0, error="nothing listens there"), "down"),
        (Reply(503, body=b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'), "loading"),
        (Reply(200, body=b"<html></html>"), "down"),
        (reply("llamacpp/smollm2_err_401_models"), "down"),
    ],
)
def test_probe_of_something_else(first: Reply, state: str) -> None:
    found = probe(first)
    assert (found.state, found.models) == (state, [])
    assert found.detail


def test_a_server_that_lists_its_model_while_it_loads_is_loading() -> None:
    body = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
    found = probe("models", Reply(503, body=body))
    assert (found.state, found.models, found.detail) == ("loading", [], "Loading model")


def test_probe_without_props() -> None:
    found = probe("models", Reply(404))
    assert (found.state, found.models[0].facts.image, found.models[0].facts.tools) == ("ready", True, None)
    assert "/props" in found.detail


@pytest.mark.parametrize("garbage", [b"[]", b"{}", b'{"modalities":3,"chat_template":[],"total_slots":"x"}', b"\xff"])
def test_probe_of_garbage(garbage: bytes) -> None:
    assert probe("models", Reply(200, body=garbage), Reply(0)).state == "ready"
    card = b'{"data":[{"id":"x","meta":[],"architecture":3,"aliases":{},"status":"y"}]}'
    assert probe(Reply(200, body=card), Reply(200, body=b'{"role":"router"}')).models[0].state == "cold"


def test_life() -> None:
    assert run_probe(BACKEND.alive(), iter([reply("llamacpp/health")])) == "ready"
    assert run_probe(BACKEND.alive(), iter([Reply(503)])) == "loading"
    assert run_probe(BACKEND.alive(), iter([Reply(0)])) == "down"


def test_claims() -> None:
    for name in ("models", "smollm2_models", "router_models", "smollm2_err_401_models"):
        assert BACKEND.claims(reply(f"llamacpp/{name}"))
    for name in ("models", "imgonly_err_401_models", "props"):
        assert not BACKEND.claims(reply(f"vllm/{name}"))
    assert not BACKEND.claims(Reply(0))


def test_a_choice_of_texts_is_a_grammar() -> None:
    request = Chat("m", [Message("user", [Text("x")])], output=OutputFormat("choice", choices=["A b", 'say "B"']))
    body = body_of(BACKEND.build(request, TARGET, Facts()))
    assert body["grammar"] == 'root ::= "A b" | "say \\"B\\""'
    assert "structured_outputs" not in body and "response_format" not in body
