"""No bytes of a running llama-swap: what stands here is written as its source writes it (internal/server/api.go,
internal/router/loading.go)."""

import msgspec
import pytest

from gateway.backends import Discovery, Reply, load, run_probe
from gateway.canonical.content import Message, Text, Thinking
from gateway.canonical.events import Progress, fold
from gateway.canonical.facts import Facts, Target
from gateway.canonical.requests import Chat, ThinkingConfig, Tool, ToolChoice
from tests.backends.recorded import body_of, reply

BACKEND = load("llamaswap")
TARGET = Target("swap", "llamaswap", "gemma-4-e4b")
CHAT = Chat("m", [Message("user", [Text("x")])], stream=True)


def card(name: str, status: str = "unloaded", **more) -> dict:
    return {
        "id": name,
        "object": "model",
        "created": 1,
        "owned_by": "llama-swap",
        "status": {"value": status},
        "meta": {"llamaswap": {"type": "model"}},
        **more,
    }


MODELS = [
    card(
        "gemma-4-e4b",
        "loaded",
        context_length=32768,
        architecture={"input_modalities": ["text", "image", "audio"], "output_modalities": ["text"]},
        capabilities={"vision": True, "function_calling": True},
        meta={"llamaswap": {"type": "model", "aliases": ["e4b", 3]}, "n_ctx": 32768},
    ),
    card("starting", "loaded"),
    card("sleeps"),
    card("best", meta={"llamaswap": {"type": "selector"}}),
    {"id": "peer", "object": "model", "owned_by": "llama-swap"},
]
RUNNING = [
    {"model": "gemma-4-e4b", "state": "ready", "cmd": "/opt/llama-server -m /m.gguf", "proxy": "http://127.0.0.1:5800"},
    {"model": "starting", "state": "starting", "cmd": "x", "proxy": "y"},
]


def answer(value: object) -> Reply:
    return Reply(200, body=msgspec.json.encode(value))


LISTED = answer({"object": "list", "data": MODELS})


def probe(*replies: Reply) -> Discovery:
    return run_probe(BACKEND.probe(), iter(replies))


def test_probe() -> None:
    found = probe(LISTED, answer({"running": RUNNING}))
    assert [(m.id, m.state) for m in found.models] == [
        ("gemma-4-e4b", "ready"),
        ("starting", "cold"),
        ("sleeps", "cold"),
        ("peer", "cold"),
    ]
    first = found.models[0]
    assert first.aliases == ["e4b"]
    assert first.facts == Facts(context=32768, image=True, audio=True, video=False, tools=True)
    assert found.models[2].facts == Facts()


@pytest.mark.parametrize(
    "running", [Reply(404), answer([]), answer({"running": [1, {"model": 3}]}), answer({"running": 1})]
)
def test_nothing_is_known_to_run(running: Reply) -> None:
    assert {m.state for m in probe(LISTED, running).models} == {"cold"}


def test_probe_of_something_else() -> None:
    assert probe(Reply(0)).state == "down"
    assert probe(answer({"object": "list", "data": []})).state == "down"


def test_bodies() -> None:
    request = Chat(
        "m",
        CHAT.messages,
        tools=[Tool("a"), Tool("b")],
        tool_choice=ToolChoice("named", ["b"]),
        thinking=ThinkingConfig(True, budget=3),
    )
    call = BACKEND.build(request, TARGET, BACKEND.assumed)
    assert body_of(call) == {
        "model": "gemma-4-e4b",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "b"}}],
        "tool_choice": "required",
        "chat_template_kwargs": {"enable_thinking": True},
    }
    assert call.dropped == ["thinking_budget"]


WAIT = b"".join(
    b'data: {"choices":[{"delta":{"reasoning_content":' + msgspec.json.encode(text) + b"}}]}\n\n"
    for text in ("\u2501\u2501", "\n", 'llama-swap loading model: "x"', ".", ' \\ "done"', "\n")
)


@pytest.mark.parametrize("size", [1, 5, 64, 100_000])
@pytest.mark.parametrize("name", ["stream", "thinking_stream", "tools_required_stream"])
def test_what_it_says_while_it_waits_is_no_part_of_the_answer(name: str, size: int) -> None:
    own = reply(f"llamacpp/{name}").body
    data = WAIT + own
    decoder = BACKEND.decoder(CHAT)
    events = []
    for at in range(0, len(data), size):
        events += decoder.feed(data[at : at + size])
    events += decoder.end()
    plain = fold(load("llamacpp").decoder(CHAT).feed(own))
    assert fold(events) == plain
    assert not any("llama-swap" in p.text for c in plain.choices for p in c.parts if isinstance(p, Thinking))
    if size < len(WAIT):
        assert Progress(0, 0) in events


def test_it_gave_up_waiting() -> None:
    decoder = BACKEND.decoder(CHAT)
    decoder.feed(WAIT[:-20])
    assert decoder.end()[-1].code == "upstream_truncated"


def test_claims() -> None:
    assert BACKEND.claims(LISTED)
    for other in ("llamacpp/models", "vllm/models", "mlx_lm/models", "mlx_vlm/models"):
        assert not BACKEND.claims(reply(other))
