"""No bytes of a running TGI: what stands here is written as its source writes it (router/src/lib.rs, server.rs)."""

import msgspec
import pytest

from gateway import errors
from gateway.backends import Discovery, Load, Reply, load, run_probe
from gateway.canonical.content import Message, Text, Thinking
from gateway.canonical.facts import Facts, Target
from gateway.canonical.requests import Chat, Completion, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.errors import UnsupportedParameter
from tests.backends.recorded import body_of, reply

BACKEND = load("tgi")
TARGET = Target("old", "tgi", "org/model")
USER = Message("user", [Text("x")])
INFO = {
    "model_id": "google/gemma-3-4b-it",
    "model_sha": "abc",
    "model_pipeline_tag": "image-text-to-text",
    "max_concurrent_requests": 128,
    "max_total_tokens": 8192,
    "router": "text-generation-router",
    "version": "3.3.6",
}


def build(request):
    return BACKEND.build(request, TARGET, BACKEND.assumed)


def test_bodies() -> None:
    request = Chat(
        "m",
        [USER, Message("assistant", [Thinking("hm", path="messages[1].reasoning_content"), Text("a"), Text("b")])],
        tools=[Tool("f")],
        tool_choice=ToolChoice("required"),
        parallel_tool_calls=False,
        sampling=Sampling(top_k=3, max_tokens=4),
        thinking=ThinkingConfig(True, "high"),
    )
    call = build(request)
    assert body_of(call) == {
        "model": "org/model",
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a\nb"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "required",
        "max_tokens": 4,
    }
    assert call.dropped == ["messages[].reasoning_content", "top_k", "thinking"]
    for bad in (Chat("m", [USER], choices=2), Completion("m", ["a", "b"]), Completion("m", ["a"], choices=2)):
        with pytest.raises(UnsupportedParameter):
            build(bad)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            422,
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9000",
                "error_type": "validation",
            },
            errors.ContextTooLong,
        ),
        (422, {"error": "Input validation error: `temperature` must be positive", "error_type": "validation"}, None),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, errors.Overloaded),
        (
            424,
            {"error": "Request failed during generation: Server error: CUDA", "error_type": "generation"},
            errors.UpstreamRefused,
        ),
    ],
)
def test_errors(status: int, body: dict, expected: type | None) -> None:
    error = BACKEND.refusal(status, {}, msgspec.json.encode(body))
    assert type(error) is (expected or errors.UpstreamRefused)


def probe(reply_: Reply) -> Discovery:
    return run_probe(BACKEND.probe(), iter([reply_]))


def info(**more) -> Reply:
    return Reply(200, body=msgspec.json.encode(INFO | more))


def test_probe() -> None:
    found = probe(info())
    (model,) = found.models
    assert (found.state, found.version, found.detail) == ("ready", "3.3.6", "")
    assert (model.id, model.root) == ("google/gemma-3-4b-it", "google/gemma-3-4b-it")
    assert model.facts == Facts(context=8192, slots=128, image=True, version="3.3.6")
    assert probe(info(model_pipeline_tag="text-generation")).models[0].facts.image is False


def test_a_gemma_4_behind_it_is_degraded() -> None:
    found = probe(info(model_id="google/gemma-4-31B-it"))
    facts = found.models[0].facts
    assert found.detail.startswith("degraded: TGI has no Gemma 4")
    assert (facts.image, facts.tools, facts.forced_tool, BACKEND.assumed.audio) == (False, False, "ignored", False)
    assert BACKEND.tier > load("ollama").tier


@pytest.mark.parametrize("first", [Reply(0), Reply(404), Reply(200, body=b"{}"), Reply(503, body=b"loading")])
def test_probe_of_something_else(first: Reply) -> None:
    assert probe(first).state in ("down", "loading")


def test_busy() -> None:
    metrics = Reply(200, body=b"tgi_batch_current_size 3\ntgi_queue_size 2\n")
    assert run_probe(BACKEND.busy("m"), iter([metrics])) == Load(3, 2)
    assert run_probe(BACKEND.busy("m"), iter([Reply(404)])) is None


def test_claims() -> None:
    mine = b'{"object":"list","data":[{"id":"a/b","object":"model","created":0,"owned_by":"a/b"}]}'
    assert BACKEND.claims(Reply(200, body=mine))
    for other in ("llamacpp/models", "vllm/models", "mlx_lm/models", "mlx_vlm/models"):
        assert not BACKEND.claims(reply(other))
