"""No bytes of a running Ollama: what stands here is written as its source writes it (openai/openai.go)."""

import msgspec
import pytest

from gateway import errors
from gateway.backends import Call, Discovery, Reply, load, run_probe
from gateway.canonical.content import Audio, Image, Media, Message, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, End, Fault, Start, fold
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import Chat, Completion, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.errors import ContextTooLong, PartRefused, UnsupportedParameter
from tests.backends.recorded import body_of, reply

BACKEND = load("ollama")
TARGET = Target("box", "ollama", "gemma4:12b")
FACTS = layer(("probed", Facts(image=True, audio=True, context=4096)), ("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
BASE = {"model": TARGET.model, "messages": [{"role": "user", "content": "x"}], "reasoning_effort": "none"}
TOOLS = [Tool("a"), Tool("b")]
RENDERED = [{"type": "function", "function": {"name": n}} for n in "ab"]
PNG = Media("image/png", base64="iVBORw0KGgo=")


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


def build(request, facts: Facts = FACTS) -> Call:
    return BACKEND.build(request, TARGET, facts)


BUILT = [
    (chat(), BASE),
    (chat(stream=True), {**BASE, "stream": True, "stream_options": {"include_usage": True}}),
    (chat(thinking=ThinkingConfig(True)), {**BASE, "reasoning_effort": "medium"}),
    (chat(thinking=ThinkingConfig(True, "xhigh")), {**BASE, "reasoning_effort": "xhigh"}),
    (chat(sampling=Sampling(max_tokens=3, stop=["x"], seed=1)), {**BASE, "max_tokens": 3, "stop": ["x"], "seed": 1}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("none")), BASE),
    (chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"])), {**BASE, "tools": RENDERED[1:]}),
    (
        chat(messages=[Message("user", [Text("a"), Text("b")]), Message("assistant", [Thinking("hm"), Text("c")])]),
        {
            **BASE,
            "messages": [
                {"role": "user", "content": "a\nb"},
                {"role": "assistant", "content": "c", "reasoning": "hm"},
            ],
        },
    ),
    (
        chat(messages=[Message("user", [Text("a"), Image(PNG), Audio(Media("audio/mpeg", base64="SUQz"))])]),
        {
            **BASE,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                        {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
                    ],
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    assert body_of(build(request_)) == expected


def test_what_it_would_ignore_is_named() -> None:
    sampling = Sampling(top_k=3, min_p=0.1, repetition_penalty=1.1, logit_bias={"1": 2.0})
    call = build(chat(sampling=sampling, thinking=ThinkingConfig(True, budget=3)))
    assert call.dropped == ["logit_bias", "min_p", "repetition_penalty", "top_k", "thinking_budget"]
    assert set(body_of(call)) == set(BASE)


@pytest.mark.parametrize(
    "request_",
    [chat(choices=2), Completion("m", ["a", "b"]), Completion("m", [[1]]), Completion("m", ["a"], echo=True)],
)
def test_what_it_would_ignore_is_refused(request_) -> None:
    with pytest.raises(UnsupportedParameter):
        build(request_)


def test_a_gif_would_be_refused_there() -> None:
    with pytest.raises(PartRefused):
        build(chat(messages=[Message("user", [Image(Media("image/gif", base64="R0lGODlh"))])]))


def test_what_it_would_cut_in_silence_is_refused() -> None:
    long = chat(messages=[Message("user", [Text("word " * 4000)])])
    with pytest.raises(ContextTooLong) as caught:
        build(long)
    assert caught.value.failover == "next"
    assert body_of(build(long, Facts()))["messages"]


def stream(*chunks: dict, done: bool = True) -> bytes:
    head = {"id": "chatcmpl-583", "object": "chat.completion.chunk", "created": 1760000000, "model": "gemma4:12b"}
    lines = [b"data: " + msgspec.json.encode({**head, **c}) + b"\n\n" for c in chunks]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def delta(finish: str | None = None, **fields) -> dict:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def usage(n: int) -> dict:
    return {"choices": [], "usage": {"prompt_tokens": n, "completion_tokens": 2, "total_tokens": n + 2}}


ANSWER = [delta(role="assistant", content="", reasoning="hm"), delta(content="hi"), delta("stop", content="")]


def test_a_stream_has_an_id_of_its_own() -> None:
    events = BACKEND.decoder(chat()).feed(stream(*ANSWER, usage(7)))
    (start,) = [e for e in events if isinstance(e, Start)]
    assert start.id == "chatcmpl-583-68e77800"
    assert isinstance(events[-1], End)
    assert [type(p) for p in fold(events).choices[0].parts] == [Thinking, Text]


def test_calls_that_collide_are_told_apart() -> None:
    call = {"id": "call_1", "index": 0, "type": "function", "function": {"name": "a", "arguments": "{}"}}
    events = BACKEND.decoder(chat()).feed(
        stream(delta(tool_calls=[call]), delta(tool_calls=[{**call, "index": 1}]), delta("tool_calls"))
    )
    calls = [p for p in fold(events).choices[0].parts if isinstance(p, ToolCall)]
    assert len({c.id for c in calls}) == 2


def test_an_error_that_it_swallows_is_a_cut_stream() -> None:
    decoder = BACKEND.decoder(chat())
    decoder.feed(stream(ANSWER[0], {"model": "", **delta(content="")}, done=False))
    (fault,) = [e for e in decoder.end() if isinstance(e, Fault)]
    assert fault.code == "upstream_truncated"


LONG = chat(messages=[Message("user", [Text("word " * 4000)])])


def test_a_prompt_that_was_cut_is_no_success() -> None:
    events = BACKEND.decoder(LONG).feed(stream(*ANSWER, usage(2048)))
    assert isinstance(events[-1], Fault)
    assert events[-1].code == "context_length_exceeded"
    events = BACKEND.decoder(LONG).feed(stream(*ANSWER, usage(4001)))
    assert isinstance(events[-1], End)


def whole(prompt: int) -> dict:
    message = {"role": "assistant", "content": "hi"}
    return {
        "id": "chatcmpl-583",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gemma4:12b",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": 2, "total_tokens": prompt + 2},
    }


def test_whole_answers() -> None:
    answer = BACKEND.read(chat(), whole(3))
    assert isinstance(answer, Answer)
    assert answer.id == "chatcmpl-583-68e77800"
    with pytest.raises(ContextTooLong):
        BACKEND.read(LONG, whole(2048))


REFUSED = [
    (404, 'model "gemma4:99b" not found, try pulling it first', errors.ModelGone),
    (400, '"gemma4:12b-mlx" does not support images', errors.WrongModality),
    (400, "this model does not support image input", errors.WrongModality),
    (400, "invalid message format", errors.UpstreamRefused),
    (400, "invalid tool call arguments", errors.UpstreamRefused),
    (400, "the prompt is longer than the context length currently available to the model", errors.ContextTooLong),
    (503, "server busy, please try again.  maximum pending requests exceeded", errors.Overloaded),
    (500, "llama runner process has terminated", errors.UpstreamError),
]


@pytest.mark.parametrize(("status", "message", "expected"), REFUSED)
def test_errors(status: int, message: str, expected: type) -> None:
    told = {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
    error = BACKEND.refusal(status, {}, msgspec.json.encode(told))
    assert type(error) is expected


def tag(name: str, level: str = "Q4_K_M", form: str = "gguf", **more) -> dict:
    details = {"format": form, "family": "gemma4", "parameter_size": "11.9B", "quantization_level": level}
    return {"name": name, "model": name, "size": 1, "digest": "d", "details": details, **more}


TAGS = {
    "models": [
        tag("gemma4:12b"),
        tag("gemma4:31b-nvfp4", "nvfp4", "safetensors"),
        tag("embeddinggemma:latest", "BF16"),
        tag("gemma4:31b-cloud", remote_host="https://ollama.com:443", remote_model="gemma4:31b"),
    ]
}
SHOW = {
    "gemma4:12b": {
        "capabilities": ["completion", "vision", "audio", "tools", "thinking"],
        "parameters": "temperature 1\nnum_ctx 16384\n",
        "model_info": {"gemma4.context_length": 262144},
    },
    "gemma4:31b-nvfp4": {"capabilities": ["completion", "vision", "tools", "thinking"], "parameters": "num_ctx 8192"},
    "embeddinggemma:latest": {"capabilities": ["embedding"]},
}
PS = {"models": [{"name": "gemma4:12b", "model": "gemma4:12b", "size": 1, "size_vram": 1, "context_length": 4096}]}


def probe(tags: object = TAGS, ps: object = PS, show: dict = SHOW) -> Discovery:
    steps = BACKEND.probe()
    call = next(steps)
    try:
        while True:
            if call.path == "/api/show":
                told: object = show.get(body_of(call)["model"], {})
            else:
                told = {"/api/tags": tags, "/api/ps": ps, "/api/version": {"version": "0.33.1"}}[call.path]
            call = steps.send(told if isinstance(told, Reply) else Reply(200, body=msgspec.json.encode(told)))
    except StopIteration as stop:
        return stop.value


def test_probe() -> None:
    found = probe()
    assert (found.state, found.version) == ("ready", "0.33.1")
    assert found.detail == "1 models that run in Ollama's cloud are left out"
    first, second, third = found.models
    assert (first.id, first.state) == ("gemma4:12b", "ready")
    assert first.facts == Facts(
        operations=frozenset({"chat", "completion"}),
        image=True,
        audio=True,
        tools=True,
        thinking=True,
        context=4096,
        quantization="q4_k_m",
        size=11.9,
        version="0.33.1",
    )
    assert (second.state, second.facts.image, second.facts.audio, second.facts.context) == ("cold", False, False, 8192)
    assert second.facts.quantization == "mlx-nvfp4"
    assert (third.aliases, third.facts.operations) == (["embeddinggemma"], frozenset({"embedding"}))
    assert (third.facts.tools, third.facts.forced_tool) == (False, "ignored")


def test_the_cards_context_is_not_believed() -> None:
    found = probe(ps={"models": None}, show={"gemma4:12b": {"model_info": {"gemma4.context_length": 262144}}})
    assert found.models[0].facts.context is None
    assert found.models[0].facts.image is None


def test_probe_of_little() -> None:
    assert probe({"models": []}).detail == "it has no models: `ollama pull gemma4:e4b`"
    assert probe({"models": [TAGS["models"][-1]]}).detail.endswith("are left out")
    assert probe(Reply(0)).state == "down"
    assert probe({"object": "list"}).state == "down"


def test_life() -> None:
    assert run_probe(BACKEND.alive(), iter([Reply(200)])) == "ready"


def test_claims() -> None:
    cards = b'{"object":"list","data":[{"id":"gemma4:12b","object":"model","created":1,"owned_by":"library"}]}'
    assert BACKEND.claims(Reply(200, body=cards))
    assert BACKEND.claims(Reply(200, body=b'{"object":"list","data":null}'))
    for other in ("llamacpp/models", "vllm/models", "mlx_lm/models", "mlx_vlm/models"):
        assert not BACKEND.claims(reply(other))
