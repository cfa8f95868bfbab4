"""Thoughts that lead to calls: kept as they were thought, given back where they belong, also where a name thinks
without being asked to."""

from __future__ import annotations

from typing import Any

from tests.faults.running import PUBLIC, ask, config, running
from tests.faults.steps import Events, Finish, Head
from tests.faults.test_gemma4_output import pieces, spoken, streamed_message
from tests.faults.wire import Wire

MODEL = "gemma-4-e4b-it"
LS = [{"type": "function", "function": {"name": "ls", "parameters": {"type": "object"}}}]
THINKS = {"enable_thinking": True}


def after(call: dict[str, Any], result: str = "etc") -> list[dict[str, Any]]:
    """A call as an agent sends it back, without its thought, and what came of it."""
    function = {"name": call["name"], "arguments": call["arguments"]}
    said = {"role": "assistant", "content": None, "tool_calls": [{"id": call["id"], "type": "function"}]}
    said["tool_calls"][0]["function"] = function
    return [said, {"role": "tool", "tool_call_id": call["id"], "content": result}]


async def test_what_a_failed_attempt_thought_leads_to_no_call_of_the_next_one():
    async with (
        Wire(kind="mlx_lm", model=MODEL) as one,
        Wire(kind="mlx_lm", model=MODEL) as two,
        running(config(one, two), wires=[one, two]) as gateway,
    ):
        cut = [Head(), Events(["<|channel>thought\nNonsense.<channel|>"]), Finish()]
        for wire in (one, two):
            wire.answer(*spoken(pieces("Look.<|tool_call>call:ls{}<tool_call|>", 5), "stop"))
            wire.answer(*cut, when=lambda _: len(one.requests) + len(two.requests) == 1)  # whoever is asked first
        # a forced call is held until it is verified: so nothing was shown, and the other server is asked
        body = ask(tools=LS, tool_choice="required", stream=True, chat_template_kwargs=THINKS)
        message = streamed_message((await gateway.post("/v1/chat/completions", body)).chunks)
        assert len(one.requests) == len(two.requests) == 1 and message["reasoning_content"] == ""
        body["messages"] += after(message["tool_calls"][0])
        assert (await gateway.post("/v1/chat/completions", body)).status == 200
        [sent] = [b for wire in (one, two) for b in wire.bodies if len(b["messages"]) == 3]
        assert "Nonsense" not in str(sent) and "Look" not in str(sent)
        await gateway.check()


async def test_a_name_that_thinks_by_default_is_read_and_remembered_like_one_that_was_asked_to():
    async with (
        Wire(kind="mlx_lm", model=MODEL) as wire,
        running(config(wire, models={PUBLIC: {"thinking": "on"}}), wires=[wire]) as gateway,
    ):
        body = ask(tools=LS, stream=True)
        wire.answer(*spoken(pieces("<|channel>thought\nI look.<channel|><|tool_call>call:ls{}<tool_call|>", 5), "stop"))
        first = streamed_message((await gateway.post("/v1/chat/completions", body)).chunks)
        assert first["reasoning_content"] == "I look."
        [call] = first["tool_calls"]
        body["messages"] += after(call)
        wire.answer(
            *spoken(pieces("So.<channel|>Done.", 3), "stop")
        )  # it goes on thinking: nobody writes the beginning
        second = streamed_message((await gateway.post("/v1/chat/completions", body)).chunks)
        assert (second["reasoning_content"], second["content"]) == ("So.", "Done.")
        sent = wire.bodies[1]["messages"][1]
        assert (sent.get("reasoning") or sent.get("reasoning_content")) == "I look."
        await gateway.check()
