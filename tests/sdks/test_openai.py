"""The official `openai` SDK and `openai-agents` in front of real llama.cpp servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import agents
import openai
import pydantic
import pytest

from gateway.demo import media
from tests.real.content import audio, image, text, user
from tests.sdks.city import CALLS, CityHall, declared
from tests.sdks.serving import Served

EARS = "fixture-ears"
HEARD = "[fixture] I heard your sound, and this sentence is all that ever comes back."


class Place(pydantic.BaseModel):
    city: str


@pytest.fixture
def sdk(embedded: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{embedded.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_models(sdk: openai.OpenAI, text_model: str):
    ids = [m.id for m in sdk.models.list()]
    assert {EARS, "fixture-eyes", text_model} <= set(ids)
    assert sdk.models.retrieve(EARS).id == EARS


def test_text(sdk: openai.OpenAI, text_model: str, stream: bool):
    ask: Any = {"model": text_model, "messages": user("What is the capital of France?"), "max_tokens": 16}
    if not stream:
        answer = sdk.chat.completions.create(**ask)
        assert answer.choices[0].message.content and answer.model == text_model
        assert answer.usage is not None and 0 < answer.usage.completion_tokens <= 16
        return
    said, usage = "", None
    for chunk in sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        said += chunk.choices[0].delta.content or "" if chunk.choices else ""
        usage = chunk.usage or usage
    assert said.strip() and usage is not None and 0 < usage.completion_tokens <= 16


@pytest.mark.parametrize(("part", "target"), [(image(), "eyes/"), (audio(), "ears/")], ids=["picture", "sound"])
def test_media_go_to_whom_they_suit(sdk: openai.OpenAI, part: Any, target: str):
    raw = sdk.chat.completions.with_raw_response.create(model="auto", messages=user([text("What?"), part]))  # type: ignore[arg-type]
    assert raw.headers["x-gateway-target"].startswith(target)
    assert (raw.parse().choices[0].message.content or "").startswith("[fixture]")


def test_sound_into_words(sdk: openai.OpenAI, stream: bool):
    file = ("memo.wav", media.wav())
    if not stream:
        raw = sdk.audio.transcriptions.with_raw_response.create(model="auto", file=file, language="en")
        assert raw.headers["x-gateway-target"].startswith("ears/") and raw.headers["x-gateway-parts"] == "0=audio"
        assert raw.parse().text == HEARD
        assert sdk.audio.translations.create(model="auto", file=file).text == HEARD
        return
    *deltas, last = sdk.audio.transcriptions.create(model="auto", file=file, stream=True)
    assert last.type == "transcript.text.done" and last.text == HEARD
    assert "".join(e.delta for e in deltas if e.type == "transcript.text.delta") == HEARD


def test_a_picture_by_responses(sdk: openai.OpenAI):
    picture = {"type": "input_image", "image_url": image()["image_url"]["url"], "detail": "auto"}
    ask: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What?"}, picture]}]
    raw = sdk.responses.with_raw_response.create(model="auto", input=ask)
    assert raw.headers["x-gateway-target"].startswith("eyes/")
    assert raw.parse().output_text.startswith("[fixture] I saw")


def test_responses(sdk: openai.OpenAI, stream: bool):
    if stream:
        with sdk.responses.stream(model=EARS, input="hi", instructions="Be brief.") as events:
            kinds = [e.type for e in events]
            response: Any = events.get_final_response()
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
        assert kinds.count("response.output_text.delta") > 3
    else:
        response = sdk.responses.create(model=EARS, input="hi", instructions="Be brief.")
    assert (response.output_text, response.status, response.model) == (HEARD, "completed", EARS)
    assert response.usage.output_tokens > 0


def test_thinking(sdk: openai.OpenAI):
    answer: Any = sdk.chat.completions.create(model=EARS, messages=user("hi"), reasoning_effort="low")  # type: ignore[arg-type]
    assert answer.choices[0].message.reasoning_content == "Nothing needs long pondering."
    response: Any = sdk.responses.create(model=EARS, input="hi", reasoning={"effort": "low", "summary": "auto"})
    thought, said = response.output
    assert thought.summary[0].text == "Nothing needs long pondering."
    assert said.content[0].text == HEARD


def test_structured_output(sdk: openai.OpenAI):
    answer = sdk.chat.completions.parse(model=EARS, messages=user("Where?"), response_format=Place)  # type: ignore[arg-type]
    assert answer.choices[0].message.parsed == Place(city="Paris")
    response = sdk.responses.parse(model=EARS, input="Where?", text_format=Place)
    assert response.output_parsed == Place(city="Paris")


def test_errors(sdk: openai.OpenAI):
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model="nobody", messages=user("hi"))  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.chat.completions.create(model=EARS, messages=user("hi"), temperature=9)  # type: ignore[arg-type]
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as unfit:
        sdk.chat.completions.create(model=EARS, messages=user([text(), image()]))  # type: ignore[arg-type]
    assert unfit.value.code == "no_target_fits"
    with pytest.raises(openai.BadRequestError) as long:
        sdk.responses.create(model=EARS, input="x" * 60_000)
    assert long.value.code == "context_length_exceeded"


# ---- three tools in a row, as far as a fixture can: which one is called is forced, and it is called with Paris ----


def test_a_loop_by_chat(sdk: openai.OpenAI, stream: bool, city_hall: CityHall):
    tools: Any = [{"type": "function", "function": t} for t in declared()]
    messages: list[Any] = user("Go.")
    for name, _ in CALLS:
        choice: Any = {"type": "function", "function": {"name": name}}
        ask: Any = {"model": EARS, "messages": messages, "tools": tools, "tool_choice": choice}
        if stream:
            with sdk.chat.completions.stream(**ask) as events:
                answer: Any = events.get_final_completion()
        else:
            answer = sdk.chat.completions.create(**ask)
        [one] = answer.choices
        assert one.finish_reason == "tool_calls"
        [call] = one.message.tool_calls
        said = city_hall.call(call.function.name, call.function.arguments)
        messages += [one.message.model_dump(exclude_none=True)]
        messages += [{"role": "tool", "tool_call_id": call.id, "content": said}]
    last = sdk.chat.completions.create(model=EARS, messages=messages, tools=tools, tool_choice="none")
    assert last.choices[0].message.content == HEARD
    city_hall.check()


def test_a_loop_by_responses(sdk: openai.OpenAI, stream: bool, city_hall: CityHall):
    tools: Any = [{"type": "function", "strict": True, **t} for t in declared()]
    items: list[Any] = user("Go.")
    for name, _ in CALLS:
        ask: Any = {"model": EARS, "input": items, "tools": tools, "tool_choice": {"type": "function", "name": name}}
        if stream:
            with sdk.responses.stream(**ask) as events:
                response: Any = events.get_final_response()
        else:
            response = sdk.responses.create(**ask)
        [call] = [o for o in response.output if o.type == "function_call"]
        said = city_hall.call(call.name, call.arguments)
        items += [o.model_dump(exclude_none=True) for o in response.output]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    assert sdk.responses.create(model=EARS, input=items, tools=tools, tool_choice="none").output_text == HEARD
    city_hall.check()


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_loop_by_agents(embedded: Served, stream: bool, api: str, city_hall: CityHall):
    """The choice moves on with each result, as an agent's owner would do it who forces his model's hand."""
    agents.set_tracing_disabled(True)
    order = iter([name for name, _ in CALLS[1:]] + ["none"])

    def made(about: dict[str, Any]) -> agents.FunctionTool:
        async def invoke(_: Any, arguments: str) -> str:
            agent.model_settings.tool_choice = next(order)
            return city_hall.call(about["name"], arguments)

        return agents.FunctionTool(about["name"], about["description"], about["parameters"], invoke)

    async with openai.AsyncOpenAI(base_url=f"{embedded.url}/v1", api_key="none", max_retries=0, timeout=60) as sdk:
        agent = agents.Agent(
            name="clerk",
            tools=[made(about) for about in declared()],
            model=(agents.OpenAIChatCompletionsModel if api == "chat" else agents.OpenAIResponsesModel)(EARS, sdk),
            model_settings=agents.ModelSettings(tool_choice=CALLS[0][0]),
            reset_tool_choice=False,
        )
        if stream:
            run: Any = agents.Runner.run_streamed(agent, "Go.")
            async for _ in run.stream_events():
                pass
        else:
            run = await agents.Runner.run(agent, "Go.")
    assert run.final_output == HEARD
    city_hall.check()
    assert json.dumps(run.to_input_list())
