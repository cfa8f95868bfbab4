"""One answer: the tokens that the model says -> events, with the thoughts and calls in them read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.canonical.events import ChoiceEnd, End, Event, Finish, PartDelta, PartEnd, PartStart, Start, Usage
from gateway.canonical.requests import Chat
from gateway.filters import Filter, complete, run
from gateway.filters.gemma4 import grammar as g
from gateway.filters.gemma4_markup import Gemma4Markup
from gateway.filters.hide_thinking import HideThinking
from gateway.filters.stop import Stop
from gateway.filters.tool_calls import ToolCalls
from gateway.worker.keras.prompt import offered
from gateway.worker.keras.tokens import Speller


@dataclass(slots=True, frozen=True)
class Marks:
    """Tokens that mean something to the one who counts: what ends the turn, a call, a thought."""

    turn_ends: frozenset[int]
    call_close: int | None = None
    thought_open: int | None = None
    thought_close: int | None = None


class Telling:
    """Fed token by token until `ended`, which is when no more should be asked for.

    `most`: tokens that the answer may have. `new_id` makes the id of a call. Usage counts every token that was
    generated, the one that ended the turn too; `reasoning` those between the markers of a thought.
    """

    def __init__(
        self,
        chat: Chat,
        marks: Marks,
        piece_of: Callable[[int], str],
        *,
        start: Start,
        prompt_tokens: int,
        most: int,
        new_id: Callable[[], str],
        open_reasoning: bool = False,
    ) -> None:
        self._marks, self._start, self._prompt_tokens, self._most = marks, start, prompt_tokens, most
        self._speller, self._stop = Speller(piece_of), Stop(chat.sampling.stop or ())
        tools = {t.name: t.parameters for t in offered(chat)}
        # a text that is only read when it is whole can't be stopped before
        whole = not (chat.stream or chat.sampling.stop)
        markup = Gemma4Markup(tools, new_id=new_id, open_reasoning=open_reasoning, whole=whole)
        hidden: list[Filter] = [] if chat.thinking.include else [HideThinking()]
        self._filters: list[Filter] = [markup, self._stop, *hidden, ToolCalls()]
        choice = chat.tool_choice
        self._one_call = chat.parallel_tool_calls is False or (choice is not None and choice.mode == "named")
        self._thinking = open_reasoning
        self._output = self._reasoning = 0
        self._finish: Finish = "length"
        self.ended = most <= 0

    def begin(self) -> list[Event]:
        return run(self._filters, [self._start, PartStart(0, 0, "text")])

    def feed(self, token: int) -> list[Event]:
        """What the client sees of it: nothing, or more."""
        self._count(token)
        if token in self._marks.turn_ends:
            self._end("stop")
            return []
        text = self._speller.feed(token)
        events = run(self._filters, [PartDelta(0, 0, text)]) if text else []
        if self._stop.done or (self._one_call and token == self._marks.call_close):
            self._end("stop")
        elif self._output >= self._most:
            self._end("length")
        return events

    def end(self) -> list[Event]:
        """The last events. Without an end before (the context is full) it ended by length."""
        rest = self._speller.end()
        events: list[Event] = [PartDelta(0, 0, rest)] if rest else []
        events += [
            PartEnd(0, 0),
            ChoiceEnd(0, self._finish),
            Usage(self._prompt_tokens, self._output, reasoning=self._reasoning or None),
            End(),
        ]
        return complete(self._filters, events)

    def _count(self, token: int) -> None:
        self._output += 1
        if token == self._marks.thought_open:
            self._thinking = True
        elif token == self._marks.thought_close or token in self._marks.turn_ends:
            self._thinking = False
        elif self._thinking:
            self._reasoning += 1

    def _end(self, finish: Finish) -> None:
        self._finish = finish
        self.ended = True


def heads(names: Sequence[str], tokenize: Callable[[str], list[int]]) -> list[list[int]]:
    """The tokens with which the calls of these tools begin."""
    return [tokenize(f"{g.CALL_OPEN}call:{name}{{") for name in names]
