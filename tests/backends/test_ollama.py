"""No bytes of a running Ollama: what stands here is written as its source writes it (api/types.go)."""

import msgspec
import pytest

from gateway import errors
from gateway.backends import Call, Discovery, Reply, load, run_probe
from gateway.canonical.content import Audio, Image, Media, Message, Text, Thinking, ToolCall, ToolResult
from gateway.canonical.events import Answer, End, Fault, Start, fold
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import (
    Chat,
    Completion,
    Embedding,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)
from gateway.errors import ContextTooLong, PartRefused, UnsupportedParameter
from tests.backends.recorded import body_of, reply

BACKEND = load("ollama")
TARGET = Target("box", "ollama", "gemma4:12b")
FACTS = layer(("probed", Facts(image=True, audio=True, context=4096)), ("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
BASE = {
    "model": TARGET.model,
    "messages": [{"role": "user", "content": "x"}],
    "think": False,
    "stream": False,
    "truncate": False,
    "shift": False,
}
TOOLS = [Tool("a"), Tool("b")]
RENDERED = [{"type": "function", "function": {"name": n}} for n in "ab"]
PNG = Media("image/png", base64="iVBORw0KGgo=")


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


def build(request, facts: Facts = FACTS) -> Call:
    return BACKEND.build(request, TARGET, facts)


BUILT = [
    (chat(), BASE),
    (chat(stream=True), {**BASE, "stream": True}),
    (chat(thinking=ThinkingConfig(True)), {**BASE, "think": True}),
    (chat(thinking=ThinkingConfig(True, "high")), {**BASE, "think": "high"}),
    (chat(thinking=ThinkingConfig(True, "minimal")), {**BASE, "think": True}),
    (
        chat(sampling=Sampling(max_tokens=3, stop=["x"], seed=1, top_k=4, repetition_penalty=1.1)),
        {**BASE, "options": {"num_predict": 3, "stop": ["x"], "seed": 1, "top_k": 4, "repeat_penalty": 1.1}},
    ),
    (chat(output=OutputFormat("json_schema", schema={"type": "object"})), {**BASE, "format": {"type": "object"}}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("none")), BASE),
    (chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"])), {**BASE, "tools": RENDERED[1:]}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("required")), {**BASE, "tools": RENDERED}),
    (
        chat(
            messages=[
                Message("user", [Text("a"), Text("b"), Image(PNG), Audio(Media("audio/mpeg", base64="SUQz"))]),
                Message("assistant", [Thinking("hm"), ToolCall("c", "a", '{"n":1}')]),
                Message("tool", [ToolResult("c", [Text("ok")])]),
            ]
        ),
        {
            **BASE,
            "messages": [
                {"role": "user", "content": "a\nb", "images": ["iVBORw0KGgo=", "SUQz"]},
                {
                    "role": "assistant",
                    "content": "",
                    "thinking": "hm",
                    "tool_calls": [{"id": "c", "function": {"index": 0, "name": "a", "arguments": {"n": 1}}}],
                },
                {"role": "tool", "content": "ok", "tool_call_id": "c"},
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    call = build(request_)
    assert body_of(call) == expected
    assert (call.path, call.streamed, call.event_type) == ("/api/chat", request_.stream, "application/x-ndjson")


def test_other_operations_go_by_its_openai_route() -> None:
    call = build(Completion("m", ["a"], stream=True))
    assert (call.path, call.event_type) == ("/v1/completions", "text/event-stream")
    assert build(Embedding("m", ["a"])).path == "/v1/embeddings"


def test_media_that_it_moves_are_told() -> None:
    moved = Message(
        "user", [Image(PNG), Text("a"), Image(PNG), Text("b"), Audio(Media("audio/wav", base64="UklGRgAAAABXQVZF"))]
    )
    assert build(chat(messages=[moved, USER])).fates == {2: "image>first", 4: "audio>first"}


def test_what_it_would_ignore_is_named() -> None:
    sampling = Sampling(top_k=3, min_p=0.1, repetition_penalty=1.1, logit_bias={"1": 2.0})
    call = build(chat(sampling=sampling, thinking=ThinkingConfig(True, budget=3)))
    assert call.dropped == ["logit_bias", "thinking_budget"]
    assert body_of(call)["options"] == {"top_k": 3, "min_p": 0.1, "repeat_penalty": 1.1}


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


HEAD = {"model": "gemma4:12b", "created_at": "2026-11-24T11:00:00.123456789Z"}
LAST = {"done": True, "done_reason": "stop", "total_duration": 9, "prompt_eval_count": 7, "eval_count": 2}


def lines(*messages: dict, last: dict | None = LAST) -> bytes:
    rows = [{**HEAD, "message": {"role": "assistant", "content": "", **m}, "done": False} for m in messages]
    if last is not None:
        rows.append({**HEAD, "message": {"role": "assistant", "content": ""}, **last})
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


SAID = ({"thinking": "hm"}, {"content": "h"}, {"content": "i"})


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_stream(size: int) -> None:
    data = lines(*SAID)
    decoder = BACKEND.decoder(chat())
    events = []
    for at in range(0, len(data), size):
        events += decoder.feed(data[at : at + size])
    assert isinstance(events[-1], End)
    answer = fold(events)
    assert answer.choices[0].parts == [Thinking("hm"), Text("hi")]
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output) == (7, 2)


def test_an_answer_has_an_id_of_its_own() -> None:
    ids = set()
    for words in ("a", "b"):
        request = chat(messages=[Message("user", [Text(words)])])
        (start,) = [e for e in BACKEND.decoder(request).feed(lines(*SAID)) if isinstance(e, Start)]
        whole = BACKEND.read(request, {**HEAD, "message": {"role": "assistant", "content": "hi"}, **LAST})
        assert isinstance(whole, Answer)
        assert whole.id == start.id
        ids.add(start.id)
    assert len(ids) == 2


def test_calls_are_told_apart() -> None:
    inner = {"index": 0, "name": "a", "arguments": {"n": 1}}
    made = [{"id": "call_1", "function": inner}, {"function": inner}, {"id": "call_x7kq", "function": inner}]
    ids = set()
    for words in ("a", "b"):
        request = chat(messages=[Message("user", [Text(words)])])
        events = BACKEND.decoder(request).feed(lines(*({"tool_calls": [c]} for c in made)))
        whole = BACKEND.read(request, {**HEAD, "message": {"role": "assistant", "tool_calls": made}, **LAST})
        for answer in (fold(events), whole):
            calls = [p for p in answer.choices[0].parts if isinstance(p, ToolCall)]
            assert [c.arguments for c in calls] == ['{"n":1}'] * 3
            ids |= {c.id for c in calls}
    assert len(ids) == 5  # three of each turn, one of which is the server's own
    assert "call_x7kq" in ids


def test_an_error_in_a_stream() -> None:
    events = BACKEND.decoder(chat()).feed(lines(*SAID, last=None) + b'{"error":"llama runner has died"}\n')
    assert isinstance(events[-1], Fault)
    decoder = BACKEND.decoder(chat())
    decoder.feed(lines(*SAID, last=None))
    (fault,) = [e for e in decoder.end() if isinstance(e, Fault)]
    assert fault.code == "upstream_truncated"


LONG = chat(messages=[Message("user", [Text("word " * 4000)])])


def test_a_prompt_that_was_cut_is_no_success() -> None:
    cut, right = ({**LAST, "prompt_eval_count": n} for n in (2048, 4001))
    events = BACKEND.decoder(LONG).feed(lines(*SAID, last=cut))
    assert isinstance(events[-1], Fault)
    assert events[-1].code == "context_length_exceeded"
    assert isinstance(BACKEND.decoder(LONG).feed(lines(*SAID, last=right))[-1], End)
    with pytest.raises(ContextTooLong):
        BACKEND.read(LONG, {**HEAD, "message": {"role": "assistant", "content": "hi"}, **cut})


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
    openai = {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
    for told in ({"error": message}, openai):
        assert type(BACKEND.refusal(status, {}, msgspec.json.encode(told))) is expected


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
