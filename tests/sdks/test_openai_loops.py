"""Three tools one after the other, through the official `openai` SDK and `openai-agents`: the same calls whichever
server's bytes they come in, whole and streamed, by chat completions and by Responses."""

from __future__ import annotations

import json
from typing import Any

import agents
import openai
import pytest

from tests.sdks import task
from tests.sdks.conftest import Replayed, public
from tests.sdks.task import ASK, FINAL, Workshop


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)


async def test_chat(replayed: Replayed, stack: str, stream: bool, workshop: Workshop):
    replayed.bodies(stack)
    tools: Any = [{"type": "function", "function": t} for t in task.tools()]
    messages: list[Any] = [{"role": "user", "content": ASK}]
    async with client(replayed.url) as sdk:
        while True:
            if stream:
                async with sdk.chat.completions.stream(model=public(stack), messages=messages, tools=tools) as events:
                    async for _ in events:
                        pass
                    choice = (await events.get_final_completion()).choices[0]
            else:
                answer = await sdk.chat.completions.create(model=public(stack), messages=messages, tools=tools)
                choice = answer.choices[0]  # type: ignore[assignment]
            messages.append(choice.message.model_dump(exclude_none=True))
            if not choice.message.tool_calls:
                break
            assert choice.finish_reason == "tool_calls"
            [call] = choice.message.tool_calls
            said = workshop.call(call.function.name, call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})
    assert (choice.message.content, choice.finish_reason) == (FINAL, "stop")
    workshop.check()
    task.check_upstream(replayed.bodies(stack))


async def test_responses(replayed: Replayed, stack: str, stream: bool, workshop: Workshop):
    replayed.bodies(stack)
    tools: Any = [{"type": "function", "strict": True, **t} for t in task.tools()]
    items: list[Any] = [{"role": "user", "content": ASK}]
    async with client(replayed.url) as sdk:
        while True:
            ask: Any = {"model": public(stack), "input": items, "tools": tools, "store": False}
            if stream:
                async with sdk.responses.stream(**ask) as events:
                    async for _ in events:
                        pass
                    response: Any = await events.get_final_response()
            else:
                response = await sdk.responses.create(**ask)
            items += [o.model_dump(exclude_none=True) for o in response.output]
            calls = [o for o in response.output if o.type == "function_call"]
            if not calls:
                break
            [call] = calls
            said = workshop.call(call.name, call.arguments)
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    assert (response.output_text, response.status) == (FINAL, "completed")
    workshop.check()
    task.check_upstream(replayed.bodies(stack))


def tool_functions(workshop: Workshop) -> list[Any]:
    """The tools as openai-agents wants them."""

    def made(about: dict[str, Any]) -> agents.FunctionTool:
        async def invoke(_: Any, arguments: str) -> str:
            return workshop.call(about["name"], arguments)

        return agents.FunctionTool(about["name"], about["description"], about["parameters"], invoke)

    return [made(about) for about in task.tools()]


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def agent_model(api: str, name: str, sdk: openai.AsyncOpenAI) -> agents.Model:
    if api == "chat":
        return agents.OpenAIChatCompletionsModel(name, sdk)
    return agents.OpenAIResponsesModel(name, sdk)


async def test_agents(replayed: Replayed, stack: str, stream: bool, api: str, workshop: Workshop):
    replayed.bodies(stack)
    agents.set_tracing_disabled(True)
    async with client(replayed.url) as sdk:
        agent = agents.Agent(
            name="editor",
            instructions="You edit files.",
            tools=tool_functions(workshop),
            model=agent_model(api, public(stack), sdk),
        )
        if stream:
            run: Any = agents.Runner.run_streamed(agent, ASK)
            async for _ in run.stream_events():
                pass
        else:
            run = await agents.Runner.run(agent, ASK)
    assert run.final_output == FINAL
    workshop.check()
    task.check_upstream(replayed.bodies(stack))
    assert json.dumps(run.to_input_list())
