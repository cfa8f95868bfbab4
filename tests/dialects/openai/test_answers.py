from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from openai.types.chat import ChatCompletion

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Usage
from gateway.dialects.openai.answers import parse_answer, render_answer
from gateway.errors import BadResponse, ContextTooLong, GatewayError, Overloaded, UpstreamError
from tests.dialects.openai.strategies import answers
from tests.wire import recorded

WHOLE = [
    "vllm/chat",
    "vllm/logprobs",
    "vllm/n2",
    "vllm/stop_seq",
    "vllm/thinking",
    "vllm/tools_call",
    "vllm/tools_call_thinking",
    "vllm/tools_required",
    "vllm/json_schema",
    "llamacpp/chat",
    "llamacpp/logprobs",
    "llamacpp/n2",
    "llamacpp/stop_seq",
    "llamacpp/tools_required",
    "llamacpp/tools_required_parallel",
    "llamacpp/json_schema",
    "llamacpp/thinking",
    "mlx_lm/chat",
    "mlx_lm/logprobs",
    "mlx_lm/tools_call",
    "mlx_vlm/chat",
    "mlx_vlm/tools_call",
    "mlx_vlm/thinking",
    "mlx_vlm/logprobs",
]


def of(message: dict[str, Any], **choice: Any) -> Choice:
    body = {"id": "chatcmpl-abc", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    return parse_answer(body).choices[0]


@given(answers)
@settings(max_examples=30, deadline=None)
def test_parse_is_the_inverse_of_render(answer: Answer) -> None:
    assert parse_answer(render_answer(answer)) == answer


@given(answers)
@settings(max_examples=15, deadline=None)
def test_thoughts_are_never_doubled(answer: Answer) -> None:
    for field in ("reasoning", "both"):
        assert parse_answer(render_answer(answer, reasoning_field=field)) == answer  # type: ignore[arg-type]


def lacks(rendered: Any, original: Any, path: str = "") -> list[str]:
    """Paths of what stands in `original` and not in `rendered`; nulls and empty containers count as nothing."""
    if original is None or original == [] or original == {}:
        return []
    if isinstance(original, dict):
        held = rendered if isinstance(rendered, dict) else {}
        return [p for k, v in original.items() for p in lacks(held.get(k), v, f"{path}.{k}")]
    if isinstance(original, list):
        held_items = (
            rendered if isinstance(rendered, list) and len(rendered) == len(original) else [None] * len(original)
        )
        return [p for i, v in enumerate(original) for p in lacks(held_items[i], v, f"{path}[{i}]")]
    return [] if rendered == original else [path]


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_of_a_recorded_answer_is_lost(name: str) -> None:
    body = recorded(name).json
    answer = parse_answer(body)
    rendered = render_answer(answer, reasoning_field="both")
    missing = [p for p in lacks(rendered, body) if not p.endswith((".content", ".reasoning", "].index"))]
    assert missing == []
    for i, choice in enumerate(body["choices"]):
        message = rendered["choices"][i]["message"]
        assert (message["content"] or "") == (choice["message"]["content"] or "")
        thoughts = choice["message"].get("reasoning") or choice["message"].get("reasoning_content")
        assert message.get("reasoning") == (thoughts or None)
    assert parse_answer(rendered) == answer
    typed = ChatCompletion.model_validate(rendered)
    assert len(typed.choices) == len(body["choices"])


def test_what_the_recorded_answers_say() -> None:
    answer = parse_answer(recorded("llamacpp/tools_required").json)
    choice = answer.choices[0]
    assert choice.finish == "tool_calls" and len(choice.parts) == 2
    assert choice.parts[0] == Thinking("I need no time to think")
    assert isinstance(choice.parts[1], ToolCall) and choice.parts[1].arguments == '{"city":"Paris"}'
    assert answer.usage == Usage(191, 46, 186)
    assert answer.extra is not None and answer.extra["openai"]["timings"]["cache_n"] == 186
    assert answer.extra["openai"]["system_fingerprint"] == "b0-unknown"

    answer = parse_answer(recorded("vllm/stop_seq").json)
    assert answer.choices == [Choice([Text("Hello! I am a ")], "stop", "tiny")]
    assert answer.usage == Usage(14, 6, 0, 0, {"openai.usage": {"prompt_tokens_details": {"created_cache_tokens": 0}}})

    answer = parse_answer(recorded("vllm/chat").json)
    assert answer.choices[0].extra == {"openai.choice": {"stop_reason": 106}}
    assert answer.extra == {"openai": {"system_fingerprint": "vllm-0.32.0-c5d4fa86"}}

    assert len(parse_answer(recorded("vllm/n2").json).choices) == 2
    assert parse_answer(recorded("mlx_lm/logprobs").json).choices[0].logprobs["content"][0]["token"] == "<|channel>"


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": None}, []),
        ({"content": ""}, []),
        ({"content": "x", "refusal": None, "tool_calls": None, "audio": None}, [Text("x")]),
        ({"content": "x", "reasoning": "t", "reasoning_content": "t"}, [Thinking("t"), Text("x")]),
        ({"content": None, "refusal": "no"}, [Refusal("no")]),
        ({"content": "x", "annotations": [1]}, [Text("x", [1])]),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": "t"},
                    {"type": "text", "text": "x"},
                    {"type": "pic", "p": 1},
                ]
            },
            [Thinking("t"), Text("x"), Opaque("openai", "pic", {"type": "pic", "p": 1})],
        ),
        ({"function_call": {"name": "f", "arguments": "{}"}}, [ToolCall("call_abc_0", "f", "{}")]),
        (
            {"tool_calls": [{"id": "0", "function": {"name": "f", "arguments": {"a": 1}}}] * 2},
            [ToolCall("0", "f", '{"a":1}'), ToolCall("0_1", "f", '{"a":1}')],
        ),
        ({"tool_calls": [{"id": "", "function": {"name": "f"}}]}, [ToolCall("call_abc_0", "f", "")]),
        (
            {
                "tool_calls": [
                    {"id": "a", "index": 3, "type": "function", "function": {"name": "f", "arguments": "x"}, "y": 2}
                ]
            },
            [ToolCall("a", "f", "x", extra={"openai.part": {"y": 2}})],
        ),
        (
            {"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
            [ToolCall("a", "f", "x", "custom")],
        ),
    ],
)
def test_messages(message: dict[str, Any], parts: list[Any]) -> None:
    assert of({"role": "assistant", **message}).parts == parts


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("function_call", "tool_calls"),
        ("eos_token", "stop"),
        ("model_length", "length"),
        ("abort", "error"),
        ("load", "error"),
        ("whatever", "error"),
        (3, "error"),
        (None, None),
    ],
)
def test_finish(said: Any, finish: str | None) -> None:
    choice = of({"content": "x"}, finish_reason=said)
    assert choice.finish == finish
    kept = (choice.extra or {}).get("openai.choice", {}).get("native_finish_reason")
    assert kept == (str(said) if said not in (finish, None) else None)


def test_usage() -> None:
    def usage(**fields: Any) -> Usage | None:
        return parse_answer({"choices": [], "usage": fields}).usage

    assert usage(prompt_tokens=3, completion_tokens=4, total_tokens=7) == Usage(3, 4)
    assert usage(prompt_tokens=3, completion_tokens=4, total_tokens=8) == Usage(
        3, 4, extra={"openai.usage": {"total_tokens": 8}}
    )
    assert usage(prompt_tokens=3, total_tokens=3, completion_tokens=None) == Usage(
        3, extra={"openai.usage": {"total_tokens": 3}}
    )
    assert parse_answer({"choices": []}).usage is None
    rendered = render_answer(Answer(usage=Usage(3, 4, extra={"openai.usage": {"total_tokens": 8}})))["usage"]
    assert rendered == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 8}
    assert render_answer(Answer(usage=Usage(input=3)))["usage"] == {"prompt_tokens": 3}


def test_what_is_known_is_not_overwritten_by_what_was_kept() -> None:
    choice = Choice(
        [Text("x")], "stop", extra={"openai.choice": {"finish_reason": "y"}, "openai.message": {"content": "y"}}
    )
    rendered = render_answer(Answer("id", "m", choices=[choice], extra={"openai": {"id": "y", "object": "y", "z": 1}}))
    assert (rendered["id"], rendered["object"], rendered["z"]) == ("id", "chat.completion", 1)
    assert rendered["choices"][0]["finish_reason"] == "stop"
    assert rendered["choices"][0]["message"]["content"] == "x"


def test_content_is_null_only_beside_calls_or_a_refusal() -> None:
    def content(*parts: Any) -> Any:
        return render_answer(Answer(choices=[Choice(list(parts), "stop")]))["choices"][0]["message"]["content"]

    assert content() == "" == content(Thinking("t"))
    assert content(ToolCall("a", "f", "")) is None and content(Refusal("no")) is None
    assert content(Text("x"), ToolCall("a", "f", "")) == "x"


def test_choices_by_their_index() -> None:
    def choice(index: int, text: str) -> dict[str, Any]:
        return {"index": index, "message": {"content": text}, "finish_reason": "stop"}

    answer = parse_answer({"choices": [choice(1, "b"), choice(0, "a")]})
    assert [c.parts[0] for c in answer.choices] == [Text("a"), Text("b")]
    with pytest.raises(BadResponse):
        parse_answer({"choices": [choice(0, "a"), choice(0, "b")]})


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": ["x"]},
        {"choices": [{"index": 0}]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"content": ["x"]}}]},
        {"choices": [{"message": {"tool_calls": ["x"]}}]},
        {"choices": [{"message": {"tool_calls": [{"id": "a"}]}}]},
    ],
)
def test_what_is_no_answer(body: Any) -> None:
    with pytest.raises(BadResponse):
        parse_answer(body)


def test_an_error_in_a_200() -> None:
    def error(body: Any) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            parse_answer(body)
        return caught.value

    assert type(error({"error": {"message": "busy", "code": 503}})) is Overloaded
    assert type(error({"object": "error", "message": "x", "code": 500})) is UpstreamError
    assert type(error({"error": "broken", "choices": []})) is UpstreamError
    assert type(error(recorded("llamacpp/err_context_too_long").json)) is ContextTooLong


def test_created_and_the_unknown() -> None:
    assert render_answer(Answer(), created=7)["created"] == 7
    assert render_answer(Answer(created=5), created=7)["created"] == 5
    assert parse_answer({"choices": [], "created": 0}).created is None
    assert parse_answer({"choices": [], "created": None}).created is None
