"""No bytes of a running server: what stands here is written as its source writes it (tensorrt_llm/serve)."""

import msgspec
import pytest

from gateway import errors
from gateway.backends import Discovery, Reply, load, run_probe
from gateway.canonical.content import Media, Message, Text, Video
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import Chat, Sampling, ThinkingConfig, Tool
from tests.backends.recorded import body_of, reply

BACKEND = load("trtllm")
TARGET = Target("t", "trtllm", "google/gemma-4-31B-it")
FACTS = layer(("operator", Facts(image=True, video=True)), ("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
OFF = {"enable_thinking": False}
BASE = {"model": TARGET.model, "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": OFF}


def build(request):
    return BACKEND.build(request, TARGET, FACTS)


def test_bodies() -> None:
    assert body_of(build(Chat("m", [USER]))) == BASE
    tools = build(Chat("m", [USER], tools=[Tool("f")], sampling=Sampling(top_k=3)))
    assert body_of(tools) == {
        **BASE,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        "top_k": 3,
    }
    thinking = build(Chat("m", [USER], thinking=ThinkingConfig(True, "xhigh", budget=3)))
    assert body_of(thinking) == {**BASE, "chat_template_kwargs": {"enable_thinking": True}}
    assert thinking.dropped == ["thinking_budget"]
    effort = build(Chat("m", [USER], thinking=ThinkingConfig(True, "high")))
    assert body_of(effort)["reasoning_effort"] == "high"


def test_a_field_that_it_would_refuse_is_not_sent() -> None:
    extra = {
        "openai": {"chat_template": "x", "mm_processor_kwargs": {}, "cache_salt": "s", "bad_words": [], "min_tokens": 1}
    }
    call = build(Chat("m", [USER], extra=extra))
    assert call.dropped == ["chat_template", "mm_processor_kwargs", "cache_salt", "bad_words"]
    assert body_of(call) == {**BASE, "min_tokens": 1}


def test_a_video_is_not_heard() -> None:
    video = Video(Media("video/mp4", octets=b"\x00\x00\x00\x0cftypisom"))
    assert build(Chat("m", [Message("user", [video])])).fates == {0: "video,sound=unknown"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": "1 validation error for ChatCompletionRequest"}, errors.UpstreamRefused),
        (
            400,
            {
                "object": "error",
                "message": "prompt length 9000 exceeds max_seq_len",
                "type": "BadRequestError",
                "code": 400,
            },
            errors.ContextTooLong,
        ),
        (500, {"object": "error", "message": "CppExecutorError", "type": "x", "code": 500}, errors.UpstreamUnavailable),
        (503, "LLM is unavailable. Please check the server logs for more details.", errors.Overloaded),
    ],
)
def test_errors(status: int, body: object, expected: type) -> None:
    assert type(BACKEND.refusal(status, {}, msgspec.json.encode(body))) is expected


def probe(*replies: Reply) -> Discovery:
    return run_probe(BACKEND.probe(), iter(replies))


def cards(name: str) -> Reply:
    card = {"id": name, "object": "model", "created": 1, "owned_by": "tensorrt_llm"}
    return Reply(200, body=msgspec.json.encode({"object": "list", "data": [card]}))


VERSION = Reply(200, body=b'{"version":"1.3.0"}')


def test_probe_of_another_model() -> None:
    found = probe(cards("nvidia/Llama-3.1-8B"), VERSION)
    assert (found.state, found.version, found.detail) == ("ready", "1.3.0", "")
    assert found.models[0].facts == Facts(version="1.3.0")


def test_a_gemma_4_is_a_warning_with_a_way_out() -> None:
    found = probe(cards("google/gemma-4-31B-it"), VERSION)
    assert found.state == "ready"
    assert "TensorRT-LLM#12764" in found.detail
    assert "vllm serve" in found.detail
    assert BACKEND.tier == max(load(k).tier for k in ("trtllm", "tgi", "ollama", "mlx_lm"))


def test_probe_of_something_else() -> None:
    assert probe(Reply(0)).state == "down"
    assert probe(cards("x"), Reply(404)).version == ""


def test_claims() -> None:
    assert BACKEND.claims(cards("x"))
    for other in ("llamacpp/models", "vllm/models", "mlx_lm/models", "mlx_vlm/models"):
        assert not BACKEND.claims(reply(other))
