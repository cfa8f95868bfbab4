"""The official `ollama` SDK in front of real llama.cpp servers, and of recorded bytes."""

from __future__ import annotations

from typing import Any

import ollama
import pytest

from gateway.demo import media
from tests.sdks import task
from tests.sdks.conftest import Replayed, public
from tests.sdks.serving import Served
from tests.sdks.task import ASK, FINAL, Workshop

EARS, EYES = "fixture-ears", "fixture-eyes"
HEARD = "[fixture] I heard your sound, and this sentence is all that ever comes back."


@pytest.fixture
def sdk(embedded: Served) -> ollama.Client:
    return ollama.Client(host=embedded.url, timeout=60)


def asked(sdk: ollama.Client, stream: bool, **fields: Any) -> Any:
    """The message, whole or put together from a stream."""
    if not stream:
        return sdk.chat(**fields).message
    parts = list(sdk.chat(**fields, stream=True))
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True]
    return ollama.Message(
        role="assistant",
        content="".join(p.message.content or "" for p in parts),
        thinking="".join(p.message.thinking or "" for p in parts) or None,
        tool_calls=[c for p in parts for c in p.message.tool_calls or ()] or None,
    )


def user(text: str = "hi", **more: Any) -> list[Any]:
    return [{"role": "user", "content": text, **more}]


def test_models(sdk: ollama.Client, text_model: str):
    assert {EARS, EYES, text_model} <= {m.model for m in sdk.list().models}
    assert {EARS, EYES} <= {m.model for m in sdk.ps().models}
    assert "vision" in sdk.show(EYES).capabilities and "vision" not in sdk.show(EARS).capabilities


def test_text(sdk: ollama.Client, text_model: str, stream: bool):
    options = {"num_predict": 16, "temperature": 0.5}
    assert (asked(sdk, stream, model=text_model, messages=user("Say hi."), options=options).content or "").strip()
    assert sdk.generate(model=EARS, prompt="hi").response == HEARD
    assert "".join(p.response for p in sdk.generate(model=EARS, prompt="hi", stream=True)) == HEARD


def test_a_picture(sdk: ollama.Client, stream: bool):
    message = asked(sdk, stream, model="auto", messages=user("What?", images=[media.png()]))
    assert message.content.startswith("[fixture] I saw")


def test_thinking(sdk: ollama.Client, stream: bool):
    message = asked(sdk, stream, model=EARS, messages=user(), think=True)
    assert (message.thinking, message.content) == ("Nothing needs long pondering.", HEARD)


def test_structured_output(sdk: ollama.Client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    message = asked(sdk, False, model=EARS, messages=user(), format=schema)
    assert message.content.replace(" ", "") == '{"city":"Paris"}'


def test_errors(sdk: ollama.Client):
    with pytest.raises(ollama.ResponseError) as gone:
        asked(sdk, False, model="nobody", messages=user())
    assert gone.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as long:
        asked(sdk, True, model=EARS, messages=user("x" * 60_000))
    assert long.value.status_code == 400


def test_a_loop_of_recorded_bytes(replayed: Replayed, stack: str, stream: bool, workshop: Workshop):
    """Ollama's API has no identifiers of calls; results go with calls by their order."""
    replayed.bodies(stack)
    sdk = ollama.Client(host=replayed.url, timeout=60)
    tools = [{"type": "function", "function": t} for t in task.tools()]
    messages: list[Any] = user(ASK)
    while True:
        message = asked(sdk, stream, model=public(stack), messages=messages, tools=tools)
        messages.append(message)
        if not message.tool_calls:
            break
        [call] = message.tool_calls
        said = workshop.call(call.function.name, dict(call.function.arguments))
        messages.append({"role": "tool", "tool_name": call.function.name, "content": said})
    assert message.content == FINAL
    workshop.check()
    task.check_upstream(replayed.bodies(stack))
