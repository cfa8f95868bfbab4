"""Which filters an answer goes through, in which order, and what they did to it."""

from __future__ import annotations

import secrets
from typing import Literal, Protocol

from gateway.backends import Backend
from gateway.canonical.content import Thinking, ToolResult
from gateway.canonical.custom import as_function
from gateway.canonical.events import Answer, Choice, Event
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, Request
from gateway.errors import GatewayError, ToolChoiceNotSatisfied
from gateway.filters import Filter
from gateway.filters.arguments import TypedArguments
from gateway.filters.custom_tools import CustomTools
from gateway.filters.demand import Demand
from gateway.filters.gemma4_markup import Gemma4Markup
from gateway.filters.hide_thinking import HideThinking
from gateway.filters.json_output import JsonOutput
from gateway.filters.markup.hermes import HermesMarkup
from gateway.filters.markup.llama3 import Llama3Markup
from gateway.filters.markup.mistral import MistralMarkup
from gateway.filters.permitted import Permitted
from gateway.filters.reasoning import Reasoning
from gateway.filters.runaway import Runaway
from gateway.filters.tool_calls import ToolCalls
from gateway.filters.transcript import check_transcript

Repair = Literal["off", "observe", "fix"]
Guard = Literal["off", "observe", "stop"]


class Mender(Filter, Protocol):
    """A filter that mends what a server got wrong. `repairs` names what it did, in order, a code each."""

    @property
    def repairs(self) -> list[str]: ...


class Observed:
    """Lets a mender look, and passes the events on as they came."""

    __slots__ = ("_mender",)

    def __init__(self, mender: Mender) -> None:
        self._mender = mender

    @property
    def repairs(self) -> list[str]:
        return self._mender.repairs

    def feed(self, events: list[Event]) -> list[Event]:
        self._mender.feed(events)
        return events

    def end(self) -> list[Event]:
        self._mender.end()
        return []


class Chain:
    """The filters of one answer, in order, and what the folded answer has to meet (None: nothing)."""

    __slots__ = ("_guard", "_menders", "_permitted", "demand", "filters", "transcript")

    def __init__(
        self,
        filters: list[Filter],
        menders: list[Mender],
        demand: Demand | None = None,
        guard: Runaway | None = None,
        permitted: Permitted | None = None,
    ) -> None:
        self.filters = filters
        self.demand = demand
        self.transcript = False
        """The answer is one: nothing less than all of it will do."""
        self._menders = menders
        self._guard = guard
        self._permitted = permitted

    def for_transcript(self) -> Chain:
        """The same for an answer of which nothing less than all will do. A new one: EMPTY is everybody's."""
        out = Chain(self.filters, self._menders, self.demand, self._guard, self._permitted)
        out.transcript = True
        return out

    def verify(self, answer: Answer) -> None:
        """Raises when a folded answer is not what was demanded, or nothing is left of a choice without the calls that
        the request did not permit."""
        error: GatewayError | None = self.demand.check(answer) if self.demand is not None else None
        bereft = self._permitted.bereft if self._permitted is not None else []
        if error is None and not all(_says(choice) for i, choice in enumerate(answer.choices) if i in bereft):
            words = "the model called a tool that the request does not permit, and said no more"
            error = ToolChoiceNotSatisfied(words)
        if self.transcript:
            error = check_transcript(answer)
        if error is not None:
            raise error

    @property
    def hold(self) -> bool:
        """Nothing may be shown before the answer was verified."""
        return self.demand is not None and self.demand.hold

    @property
    def verifies(self) -> bool:
        return self.demand is not None or self._permitted is not None or self.transcript

    @property
    def repairs(self) -> list[str]:
        """What was repaired so far (with `repair: observe`: what would have been), each once."""
        return _codes(self._menders) if self._menders else []

    @property
    def changes(self) -> list[str]:
        """The same without what was only seen."""
        return _codes([f for f in self._menders if f in self.filters]) if self._menders else []

    @property
    def runaway(self) -> list[str]:
        """The signs of an answer that ran away."""
        return list(self._guard.found) if self._guard is not None else []


EMPTY = Chain([], [])


def chain_for(
    request: Request,
    backend: Backend,
    facts: Facts,
    repair: Repair,
    *,
    streamed: bool,
    runaway: Guard = "observe",
    remember: Filter | None = None,
) -> Chain:
    """The filters for an answer that is `streamed` to the client or shown when it is whole. `remember` is shown the
    thoughts before they are hidden."""
    if not isinstance(request, Chat):
        return EMPTY
    inside = not backend.reads_thoughts and begins_in_thought(request)
    menders = markup_for(request, facts, whole=inside or not streamed, inside=inside) if repair != "off" else []
    if repair != "off":
        menders += _form(request, backend, facts)
    filters: list[Filter] = list(menders) if repair == "fix" else [Observed(m) for m in menders]
    permitted = permitted_for(request)
    if permitted is not None:
        filters.append(permitted)
        menders = [*menders, permitted]
    if remember is not None:
        filters.append(remember)
    guard = Runaway(stop=runaway == "stop", choices=request.choices) if runaway != "off" else None
    if guard is not None:
        filters.append(guard)
    if not request.thinking.include:
        filters.append(HideThinking())
    custom = frozenset(t.name for t in request.tools if t.kind == "custom")
    if custom:
        filters.append(CustomTools(custom))
    if request.tools or menders:
        filters.append(ToolCalls())
    return Chain(filters, menders, Demand.of(request, facts), guard, permitted)


def _codes(menders: list[Mender]) -> list[str]:
    return list(dict.fromkeys(code for m in menders for code in m.repairs))


def _says(choice: Choice) -> bool:
    return any(not isinstance(part, Thinking) for part in choice.parts)


def permitted_for(request: Chat) -> Permitted | None:
    """The filter that holds `tool_choice` and `parallel_tool_calls` where servers do not; None where all is allowed."""
    choice = request.tool_choice
    names: frozenset[str] | None = None
    if choice is not None and choice.mode == "none":
        names = frozenset()
    elif choice is not None and choice.names:
        names = frozenset(choice.names)
    parallel = request.parallel_tool_calls is not False
    return None if names is None and parallel else Permitted(names, parallel)


def _form(request: Chat, backend: Backend, facts: Facts) -> list[Mender]:
    """What brings arguments and JSON answers into the form that was asked for."""
    out: list[Mender] = []
    if request.tools and backend.loose_arguments and facts.family == "gemma4":
        out.append(TypedArguments({t.name: as_function(t).parameters for t in request.tools}))
    if request.output is not None and request.output.kind != "choice" and not request.prefill:
        out.append(JsonOutput())  # what the client began may go on in the middle of a string
    return out


def markup_for(request: Chat, facts: Facts, *, whole: bool, inside: bool) -> list[Mender]:
    """The readers of what the model's family writes as text where its server does not read it. `inside`: the prompt
    ended inside of a thought, most likely."""
    family = facts.family
    if family == "gemma4":
        tools = {t.name: as_function(t).parameters for t in request.tools}
        return [Gemma4Markup(tools, new_id=new_id, whole=whole, likely_inside=inside)]
    if family == "qwen":
        return [Reasoning(whole=whole), HermesMarkup(new_id=new_id)]
    if family == "llama":
        return [Llama3Markup({t.name for t in request.tools}, new_id=new_id)]
    if family == "mistral":
        return [Reasoning(tags=("[THINK]", "[/THINK]"), whole=whole), MistralMarkup(new_id=new_id)]
    return []


def begins_in_thought(request: Chat) -> bool:
    """Does the prompt end inside of a thought? Templates leave it open after a tool result: the turn goes on, and what
    comes first is a thought whose beginning nobody writes. Where it ends shows only when it does."""
    last = request.messages[-1].parts if request.messages else []
    return request.thinking.enabled is True and any(isinstance(p, ToolResult) for p in last)


def new_id() -> str:
    """The id of a call that its server gave none."""
    return f"call_{secrets.token_hex(12)}"
