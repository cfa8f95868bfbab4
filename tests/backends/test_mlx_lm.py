import msgspec
import pytest

from gateway import errors
from gateway.backends import Call, Discovery, Reply, load, run_probe
from gateway.canonical.content import Message, Text, Thinking, ToolCall
from gateway.canonical.events import ChoiceEnd, End, Fault, Folder, Progress, Usage, fold
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import Chat, Completion, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.errors import UnsupportedParameter
from tests.backends.recorded import body_of, exchange, reply

BACKEND = load("mlx_lm")
TARGET = Target("mac", "mlx_lm", "mlx-community/gemma-4-e4b-it-4bit")
FACTS = layer(("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
BASE = {
    "model": TARGET.model,
    "messages": [{"role": "user", "content": "x"}],
    "chat_template_kwargs": {"enable_thinking": False},
    "stream": True,
    "stream_options": {"include_usage": True},
}
TOOLS = [Tool("a"), Tool("b")]
RENDERED = [{"type": "function", "function": {"name": n}} for n in "ab"]


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


def body(request, target=TARGET):
    return body_of(BACKEND.build(request, target, FACTS))


BUILT = [
    (chat(), BASE),
    (chat(stream=True), BASE),
    (chat(thinking=ThinkingConfig(True, "high")), {**BASE, "chat_template_kwargs": {"enable_thinking": True}}),
    (chat(sampling=Sampling(stop=["x"], max_tokens=3, seed=4)), {**BASE, "max_tokens": 3, "seed": 4}),
    (chat(extra={"openai": {"xtc_probability": 0}}), {**BASE, "xtc_probability": 0.0}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("none")), BASE),
    (chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"])), {**BASE, "tools": RENDERED[1:]}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("auto")), {**BASE, "tools": RENDERED, "tool_choice": "auto"}),
    (
        chat(messages=[Message("user", [Text("a"), Text("b")])]),
        {**BASE, "messages": [{"role": "user", "content": "a\nb"}]},
    ),
    (
        chat(messages=[USER, Message("assistant", [Thinking("hm"), ToolCall("c", "f", "not json")])]),
        {
            **BASE,
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning": "hm",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"arguments":"not json"}'},
                        }
                    ],
                },
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    call = BACKEND.build(request_, TARGET, FACTS)
    assert body_of(call) == expected
    assert call.streamed


@pytest.mark.parametrize("path", ["/models/gemma", "~/gemma", "./gemma", "C:\\models\\gemma", "gemma", "default_model"])
def test_a_path_is_what_it_was_started_with(path: str) -> None:
    assert body(chat(), Target("mac", "mlx_lm", path))["model"] == "default_model"


def test_what_would_be_loaded_is_never_sent() -> None:
    extra = {"openai": {"adapters": "/etc", "draft_model": "org/x", "role_mapping": {}}}
    call = BACKEND.build(chat(extra=extra, thinking=ThinkingConfig(True, budget=9)), TARGET, FACTS)
    assert call.dropped == ["adapters", "draft_model", "role_mapping", "thinking_budget"]
    assert not set(extra["openai"]) & set(body_of(call))


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat(choices=2), "n"),
        (chat(logprobs=True), "logprobs"),
        (Completion("m", ["a", "b"]), "prompt"),
        (Completion("m", [[1, 2]]), "prompt"),
        (Completion("m", ["a"], suffix="b"), "suffix"),
        (Completion("m", ["a"], choices=2), "n"),
        (Completion("m", ["a"], logprobs=1), "logprobs"),
    ],
)
def test_what_it_would_ignore_is_refused(request_, param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        BACKEND.build(request_, TARGET, FACTS)
    assert caught.value.param == param


def test_facts_of_what_was_seen_to_be_ignored() -> None:
    for name, field in (("n2", "n"), ("json_schema", "response_format"), ("tools_required", "tool_choice")):
        got = exchange(f"mlx_lm/{name}")
        assert field in got.request
        choices = msgspec.json.decode(got.reply.body)["choices"]
        assert got.reply.status == 200
        assert len(choices) == 1
        assert "tool_calls" not in choices[0]["message"]
    assert (FACTS.choices, FACTS.json_schema, FACTS.forced_tool) == (1, "verified", "verified")


def test_its_own_stop_goes_on() -> None:
    """Why it gets no stop texts: it took the word out and went on."""
    got = exchange("mlx_lm/stop_seq")
    assert got.request["stop"] == ["tiny"]
    message = msgspec.json.decode(got.reply.body)["choices"][0]["message"]
    assert message["content"] == "Hello! I am a  test model always saying this one thing."


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_answer_ends_at_the_stop_text(size: int) -> None:
    data = reply("mlx_lm/stream").body
    decoder = BACKEND.decoder(chat(sampling=Sampling(stop=["ny te"])))
    events = []
    for at in range(0, len(data), size):
        events += decoder.feed(data[at : at + size])
    assert decoder.end() == []
    folder = Folder()
    folder.feed(events)
    (choice,) = folder.answer.choices
    assert folder.ended
    assert choice.parts[-1] == Text("Hello! I am a ti")
    assert (choice.finish, choice.stop_sequence) == ("stop", "ny te")


def test_streams() -> None:
    decoder = BACKEND.decoder(chat())
    events = decoder.feed(reply("mlx_lm/tools_call_stream").body)
    assert isinstance(events[-1], End)
    assert any(isinstance(e, Progress) for e in events)
    answer = fold(events)
    assert [type(p).__name__ for p in answer.choices[0].parts] == ["Thinking", "Text", "ToolCall"]
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.cached) == (59, 58)
    assert answer.choices[0].finish == "tool_calls"


def test_a_stream_that_breaks_off() -> None:
    data = reply("mlx_lm/stream").body
    for stop in (None, ["never said"]):
        decoder = BACKEND.decoder(chat(sampling=Sampling(stop=stop)))
        decoder.feed(data[: data.index(b'"finish_reason": "length"')])
        (fault,) = [e for e in decoder.end() if isinstance(e, Fault)]
        assert fault.code == "upstream_truncated"


def test_a_completion_in_a_stream() -> None:
    chunk = b'data: {"id": "cmpl-1", "object": "text_completion", "model": "m", "created": 1, "choices": %s}\n\n'
    data = (
        chunk % b'[{"index": 0, "finish_reason": null, "text": "once upon"}]'
        + chunk % b'[{"index": 0, "finish_reason": "stop", "text": " a time"}]'
        + b'data: {"object": "chat.completion", "model": "m", "choices": [], "usage": {"prompt_tokens": 2, '
        b'"completion_tokens": 4, "total_tokens": 6}}\n\ndata: [DONE]\n\n'
    )
    events = BACKEND.decoder(Completion("m", ["x"], sampling=Sampling(stop=["pon"]))).feed(data)
    assert fold(events).choices[0].parts == [Text("once u")]
    events = BACKEND.decoder(Completion("m", ["x"])).feed(data)
    assert [type(e) for e in events[-3:]] == [ChoiceEnd, Usage, End]


REFUSED = [
    ("err_unknown_model", errors.ModelGone),
    ("err_bad_image", errors.WrongModality),
    ("image", errors.WrongModality),
    ("input_audio", errors.WrongModality),
    ("err_unknown_part", errors.WrongModality),
    ("err_empty_messages", errors.UpstreamRefused),
    ("err_invalid_json", errors.UpstreamRefused),
    ("err_temp_range", errors.UpstreamRefused),
    ("err_temp_string", errors.UpstreamRefused),
    ("err_404", errors.ModelGone),
    ("err_405", errors.ModelGone),
    ("embeddings", errors.ModelGone),
    ("tokenize", errors.ModelGone),
]


@pytest.mark.parametrize(("name", "expected"), REFUSED)
def test_recorded_errors(name: str, expected: type) -> None:
    got = reply(f"mlx_lm/{name}")
    assert got.status >= 400
    error = BACKEND.refusal(got.status, got.headers, got.body)
    assert type(error) is expected
    assert error.message


def test_a_dead_thread_is_no_bad_request() -> None:
    error = BACKEND.refusal(404, {}, b'{"error": "The generation thread died"}')
    assert type(error) is errors.UpstreamUnavailable


def cards(*names: str) -> Reply:
    data = [{"id": n, "object": "model", "created": 1} for n in names]
    return Reply(200, {"server": "BaseHTTP/0.6 Python/3.11.7"}, msgspec.json.encode({"object": "list", "data": data}))


WARM = reply("mlx_lm/stream")


def probe(*replies: Reply) -> tuple[Discovery, list[Call]]:
    calls: list[Call] = []
    steps = BACKEND.probe()
    call = next(steps)
    left = iter(replies)
    try:
        while True:
            calls.append(call)
            call = steps.send(next(left))
    except StopIteration as stop:
        assert next(left, None) is None
        return stop.value, calls


def test_probe() -> None:
    found, calls = probe(reply("mlx_lm/models"), WARM)
    assert (found.state, found.detail) == ("ready", "")
    assert [m.id for m in found.models] == ["models/llama-tiny"]
    assert [c.path for c in calls] == ["/v1/models", "/v1/chat/completions"]
    asked = body_of(calls[1])
    assert (asked["model"], asked["max_tokens"]) == ("models/llama-tiny", 1)


def test_a_local_path_is_what_it_has_loaded() -> None:
    found, calls = probe(cards("org/cached", "/models/gemma-4-e4b-it-8bit"), WARM)
    (model,) = found.models
    assert (model.id, model.root, model.facts) == (
        "gemma-4-e4b-it-8bit",
        "/models/gemma-4-e4b-it-8bit",
        Facts(quantization="mlx-8bit"),
    )
    assert body_of(calls[1])["model"] == "default_model"


def test_a_list_that_does_not_say_what_is_loaded() -> None:
    found, calls = probe(cards("a/b", "a/c-4bit"))
    assert [(m.id, m.state) for m in found.models] == [("a/b", "cold"), ("a/c-4bit", "cold")]
    assert "name one in `model:`" in found.detail
    assert len(calls) == 1


@pytest.mark.parametrize("first", [(cards(),), (Reply(0, error="broken off"), reply("mlx_lm/health"))])
def test_a_model_without_a_name(first: tuple[Reply, ...]) -> None:
    found, calls = probe(*first, WARM)
    assert [m.id for m in found.models] == ["default_model"]
    assert found.detail
    assert body_of(calls[-1])["model"] == "default_model"


def test_it_is_not_ready_before_its_first_token() -> None:
    found, _ = probe(reply("mlx_lm/models"), Reply(0, error="late"))
    assert (found.state, found.models) == ("loading", [])
    found, _ = probe(reply("mlx_lm/models"), reply("mlx_lm/err_unknown_model"))
    assert found.state == "down"
    assert "first token failed" in found.detail


@pytest.mark.parametrize(
    "replies", [(Reply(0), Reply(0)), (Reply(404), Reply(200)), (Reply(200, body=b"x"), Reply(404))]
)
def test_probe_of_something_else(replies: tuple[Reply, ...]) -> None:
    found, _ = probe(*replies)
    assert (found.state, found.models) == ("down", [])


def test_life() -> None:
    assert run_probe(BACKEND.alive(), iter([reply("mlx_lm/health")])) == "ready"
    assert run_probe(BACKEND.alive(), iter([Reply(503)])) == "down"


def test_claims() -> None:
    assert BACKEND.claims(reply("mlx_lm/models"))
    for other in ("llamacpp/models", "vllm/models", "mlx_vlm/models"):
        assert not BACKEND.claims(reply(other))
    assert not BACKEND.claims(Reply(200, {"server": "BaseHTTP/0.6"}, b'{"data":[{"id":"a","owned_by":"me"}]}'))
