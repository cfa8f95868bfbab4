import msgspec
import pytest

from gateway.backends import Reply, load, run_probe
from gateway.canonical.content import Document, Image, Media, Message, Refusal, Text, Thinking
from gateway.canonical.facts import Facts, Target
from gateway.canonical.requests import Chat, OutputFormat, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.errors import UnsupportedParameter
from tests.backends.recorded import body_of, reply

BACKEND = load("openai")
TARGET = Target("other", "openai", "some/model")
USER = Message("user", [Text("x")])
BASE = {"model": "some/model", "messages": [{"role": "user", "content": "x"}]}
TOOLS = [Tool("a"), Tool("b")]
RENDERED = [{"type": "function", "function": {"name": n}} for n in "ab"]


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


BUILT = [
    (chat(), BASE),
    (chat(thinking=ThinkingConfig(False)), {**BASE, "reasoning_effort": "none"}),
    (chat(thinking=ThinkingConfig(True)), {**BASE, "reasoning_effort": "medium"}),
    (chat(thinking=ThinkingConfig(True, "low")), {**BASE, "reasoning_effort": "low"}),
    (chat(sampling=Sampling(max_tokens=3, top_p=0.5)), {**BASE, "max_tokens": 3, "top_p": 0.5}),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("named", ["a"])),
        {**BASE, "tools": RENDERED, "tool_choice": {"type": "function", "function": {"name": "a"}}},
    ),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("auto", ["a"])),
        {
            **BASE,
            "tools": RENDERED,
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": RENDERED[:1]}},
        },
    ),
    (chat(output=OutputFormat("json_object")), {**BASE, "response_format": {"type": "json_object"}}),
    (
        chat(messages=[Message("assistant", [Thinking("hm"), Text("a"), Refusal("no")])]),
        {**BASE, "messages": [{"role": "assistant", "content": "a", "refusal": "no"}]},
    ),
    (
        chat(
            messages=[
                Message(
                    "user",
                    [
                        Image(Media("image/webp", base64="AAAA")),
                        Document(Media("application/pdf", base64="AAAA", name="a")),
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
                        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
                        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a"}},
                    ],
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    assert body_of(BACKEND.build(request_, TARGET, Facts())) == expected


def test_what_unknown_servers_may_refuse_is_not_sent() -> None:
    request = chat(
        sampling=Sampling(top_k=3, min_p=0.1, repetition_penalty=1.1),
        extra={"openai": {"chat_template_kwargs": {"a": 1}, "ignore_eos": True}},
        thinking=ThinkingConfig(budget=5),
    )
    call = BACKEND.build(request, TARGET, Facts())
    assert body_of(call) == BASE
    assert call.dropped == [
        "chat_template_kwargs",
        "ignore_eos",
        "min_p",
        "repetition_penalty",
        "top_k",
        "thinking_budget",
    ]
    with pytest.raises(UnsupportedParameter):
        BACKEND.build(chat(extra={"openai": {"structured_outputs": {}}}), TARGET, Facts())


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("gpt-5-mini", "max_completion_tokens"),
        ("o3", "max_completion_tokens"),
        ("openai/o4-mini", "max_completion_tokens"),
        ("gpt-4o", "max_tokens"),
        ("olmo-2", "max_tokens"),
        ("gpt-oss-20b", "max_tokens"),
    ],
)
def test_the_name_of_the_length_limit(model: str, field: str) -> None:
    body = body_of(BACKEND.build(chat(sampling=Sampling(max_tokens=7)), Target("b", "openai", model), Facts()))
    assert body[field] == 7
    assert len({"max_tokens", "max_completion_tokens"} & set(body)) == 1


def test_probe() -> None:
    cards = [{"id": "a", "context_length": 8192}, {"id": "b", "root": "org/b", "max_model_len": 10}, {"id": "c"}]
    found = run_probe(BACKEND.probe(), iter([Reply(200, body=msgspec.json.encode({"data": cards}))]))
    assert found.state == "ready"
    assert [(m.id, m.root, m.facts) for m in found.models] == [
        ("a", "", Facts(context=8192)),
        ("b", "org/b", Facts(context=10)),
        ("c", "", Facts()),
    ]
    for bad in (Reply(0), Reply(200, body=b'{"data":[]}'), Reply(200, body=b"<html>"), Reply(404), Reply(401)):
        found = run_probe(BACKEND.probe(), iter([bad]))
        assert (found.state, found.models, bool(found.detail)) == ("down", [], True)


def test_life() -> None:
    assert run_probe(BACKEND.alive(), iter([reply("vllm/models")])) == "ready"
    assert run_probe(BACKEND.alive(), iter([Reply(401)])) == "down"


def test_claims() -> None:
    assert BACKEND.claims(reply("vllm/models"))
    assert not BACKEND.claims(reply("vllm/imgonly_err_401_models"))
    assert not BACKEND.claims(Reply(200, body=b"<html>"))
