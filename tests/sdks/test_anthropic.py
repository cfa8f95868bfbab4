"""The official `anthropic` SDK in front of real llama.cpp servers, and of recorded bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from gateway.demo import media
from tests.real.content import b64
from tests.sdks import task
from tests.sdks.city import CALLS, CityHall, declared
from tests.sdks.conftest import Replayed, public
from tests.sdks.serving import Served
from tests.sdks.task import ASK, FINAL, Workshop

EARS = "fixture-ears"
HEARD = "[fixture] I heard your sound, and this sentence is all that ever comes back."


def client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=60)


@pytest.fixture
def sdk(embedded: Served) -> Iterator[anthropic.Anthropic]:
    with client(embedded.url) as found:
        yield found


def asked(sdk: anthropic.Anthropic, stream: bool, **fields: Any) -> Any:
    """The message, whole or put together from a stream."""
    fields = {"model": EARS, "max_tokens": 400, **fields}
    if not stream:
        return sdk.messages.create(**fields)
    with sdk.messages.stream(**fields) as events:
        kinds = [e.type for e in events]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        return events.get_final_message()


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def test_models(sdk: anthropic.Anthropic, text_model: str):
    assert {EARS, text_model} <= {m.id for m in sdk.models.list(limit=1000)}
    assert sdk.models.retrieve(EARS).id == EARS


def test_text(sdk: anthropic.Anthropic, text_model: str, stream: bool):
    message = asked(sdk, stream, model=text_model, max_tokens=16, messages=user("Say hi."), system="Be brief.")
    assert message.content[0].text.strip() and message.model == text_model
    assert 0 < message.usage.output_tokens <= 16 and message.usage.input_tokens > 0


def test_a_picture(sdk: anthropic.Anthropic, stream: bool):
    source = {"type": "base64", "media_type": "image/png", "data": b64(media.png())}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What?"}]
    message = asked(sdk, stream, model="auto", messages=user(content))
    assert message.content[0].text.startswith("[fixture] I saw") and message.stop_reason == "end_turn"


def test_thinking(sdk: anthropic.Anthropic, stream: bool):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    message = asked(sdk, stream, max_tokens=2000, messages=user("hi"), thinking=thinking)
    thought, said = message.content
    assert (thought.thinking, said.text) == ("Nothing needs long pondering.", HEARD) and thought.signature


def test_counting(sdk: anthropic.Anthropic):
    few = sdk.messages.count_tokens(model=EARS, messages=user("hi")).input_tokens
    many = sdk.messages.count_tokens(model=EARS, messages=user("hi " * 50)).input_tokens
    assert 0 < few < many


def test_errors(sdk: anthropic.Anthropic):
    with pytest.raises(anthropic.NotFoundError):
        asked(sdk, False, model="nobody", messages=user("hi"))
    with pytest.raises(anthropic.BadRequestError) as wrong:
        asked(sdk, False, messages=user([{"type": "x"}]))
    assert "messages[0].content[0].type" in str(wrong.value)
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        asked(sdk, True, messages=user("x" * 60_000))


def test_a_loop_of_a_fixture(sdk: anthropic.Anthropic, stream: bool, city_hall: CityHall):
    tools = [{"name": t["name"], "description": t["description"], "input_schema": t["parameters"]} for t in declared()]
    messages = user("Go.")
    for name, _ in CALLS:
        message = asked(sdk, stream, messages=messages, tools=tools, tool_choice={"type": "tool", "name": name})
        assert message.stop_reason == "tool_use"
        [call] = [b for b in message.content if b.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": city_hall.call(call.name, call.input)}
        messages += [{"role": "assistant", "content": message.content}, *user([result])]
    last = asked(sdk, stream, messages=messages, tools=tools, tool_choice={"type": "none"})
    assert last.content[0].text == HEARD
    city_hall.check()


def test_a_loop_of_recorded_bytes(replayed: Replayed, stack: str, stream: bool, workshop: Workshop):
    replayed.bodies(stack)
    names = {"parameters": "input_schema"}
    tools = [{names.get(k, k): v for k, v in t.items()} for t in task.tools()]
    messages = user(ASK)
    with client(replayed.url) as sdk:
        while True:
            message = asked(sdk, stream, model=public(stack), messages=messages, tools=tools)
            messages.append({"role": "assistant", "content": message.content})
            calls = [b for b in message.content if b.type == "tool_use"]
            if not calls:
                break
            [call] = calls
            said = workshop.call(call.name, call.input)
            messages += user([{"type": "tool_result", "tool_use_id": call.id, "content": said}])
    assert (message.content[-1].text, message.stop_reason) == (FINAL, "end_turn")
    workshop.check()
    task.check_upstream(replayed.bodies(stack))


def test_the_tool_runner(replayed: Replayed, stack: str, workshop: Workshop):
    """The SDK's own loop over functions."""
    replayed.bodies(stack)

    @anthropic.beta_tool
    def read_file(path: str) -> str:
        """Reads a file"""
        return workshop.call("read_file", {"path": path})

    @anthropic.beta_tool
    def edit_file(path: str, old: str, new: str) -> str:
        """Replaces a text"""
        return workshop.call("edit_file", {"path": path, "old": old, "new": new})

    @anthropic.beta_tool
    def run_command(command: str) -> str:
        """Runs a shell command"""
        return workshop.call("run_command", {"command": command})

    with client(replayed.url) as sdk:
        runner: Any = sdk.beta.messages.tool_runner(
            model=public(stack), max_tokens=400, messages=user(ASK), tools=[read_file, edit_file, run_command]
        )
        final = runner.until_done()
    assert final.content[-1].text == FINAL
    workshop.check()
    task.check_upstream(replayed.bodies(stack))
