"""What a fixture says: a vocabulary of a few hundred tokens, and which token follows which.

The fixture is a real model of the Gemma 4 architecture whose weights spell out a table: the next token depends on the
last one alone. So it answers every prompt with one sentence and stops; it thinks first where the prompt lets it; and
where a grammar (a forced tool, a JSON schema) forbids what it would say, it goes on with the best of what is allowed,
which the table leads to a closed call or a closed object. Every choice is ranked and the ranks are far apart, so that
it says the same at any temperature.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
"""llama.cpp's `llama_token_type`."""

GAP = 20.0
"""Logits between one choice and the next: at temperature 2 the next one still has a chance of e^-10."""

_CONTROL = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<|turn>",
    "<turn|>",
    "<|think|>",
    "<|tool>",
    "<tool|>",
    "<|tool_response>",
]
_CONTROL += ["<|image>", "<image|>", "<|image|>", "<|audio>", "<audio|>", "<|audio|>", "<|video|>"]
_USER = ["<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<tool_response|>", '<|"|>']
_OWN = ["thought", "call", "city", "Paris", '":', '"}', '"]', '",']
_SPACE = "\u2581"  # how the tokenizer writes a blank


@dataclass(slots=True)
class Script:
    """`state[t]` is the row of `logits` that decides what follows token `t`; 0 = nothing special, only `bias` counts.
    `logits[(state, token)]` is absolute: it replaces the token's bias."""

    tokens: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    states: int = 1
    bias: list[float] = field(default_factory=list)
    logits: dict[tuple[int, int], float] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)

    def add(self, token: str, kind: int) -> int:
        if token not in self.index:
            self.index[token] = len(self.tokens)
            self.tokens.append(token)
            self.types.append(kind)
        return self.index[token]

    def word(self, text: str) -> None:
        """Adds a token and the merges that build it, letter by letter."""
        for end in range(2, len(text) + 1):
            merge = f"{text[: end - 1]} {text[end - 1]}"
            if merge not in self.merges:
                self.merges.append(merge)
            self.add(text[:end], NORMAL)

    def follow(self, token: str, *best: str) -> None:
        """After `token` comes the first of `best` that is allowed."""
        t = self.index[token]
        if not self.state[t]:
            self.state[t] = self.states
            self.states += 1
        for rank, follower in enumerate(best):
            self.logits[(self.state[t], self.index[follower])] = GAP * (20 - rank)

    def same(self, token: str, other: str) -> None:
        """`token` is followed by what follows `other`."""
        self.state[self.index[token]] = self.state[self.index[other]]


def write_script(reply: str, thought: str) -> Script:
    """The table that says `reply`, and thinks `thought`. Raises ValueError for a word that comes twice in the two: what
    follows a word must not depend on where it stands."""
    said, pondered = _words(reply), _words(thought)
    if not said or not pondered or len({*said, *pondered, *_OWN}) < len(said) + len(pondered) + len(_OWN):
        raise ValueError(f"a fixture's sentences need words, and each word once: {reply!r}, {thought!r}")
    again = _SPACE + said[0]  # the sentence begins anew where it may not end (`ignore_eos`)
    s = Script()
    for token in _CONTROL:
        s.add(token, CONTROL)
    for token in _USER:
        s.add(token, USER)
    for octet in range(256):
        s.add(f"<0x{octet:02X}>", BYTE)
    for char in [_SPACE, "\n", *map(chr, range(33, 127))]:
        s.add(char, NORMAL)
    # Words with a blank first: their merges must win, or the sentence would not be read back as it was written and
    # the server's prompt cache would end at it.
    for word in sorted([*said, *pondered, again], key=lambda w: not w.startswith(_SPACE)):
        s.word(word)
    for word in _OWN:
        s.word(word)
    s.state = [0] * len(s.tokens)
    _weigh(s, said[0])
    _speak(s, said, again)
    _think(s, pondered, said[0])
    _obey(s)
    return s


def _words(text: str) -> list[str]:
    return [w if i == 0 else _SPACE + w for i, w in enumerate(text.split())]


def _weigh(s: Script, start: str) -> None:
    """What comes where the table says nothing: the reply begins, or what a grammar forces is spelled, closing soon."""
    letters = [t for t in s.tokens if s.types[s.index[t]] == NORMAL and len(t) == 1]
    first = [start, "{", '":', '"', "}", "]", ",", "1"]
    order = [*first, *(c for c in letters if c not in first)]
    ranks = {token: rank for rank, token in enumerate(order)}
    for token, kind in zip(s.tokens, s.types, strict=True):
        last = len(order) if kind == NORMAL else len(order) + 20
        s.bias.append(-GAP * ranks.get(token, last))


def _speak(s: Script, said: list[str], again: str) -> None:
    for word, following in zip(said, [*said[1:], ""], strict=True):
        if following:
            s.follow(word, following)
    s.follow(said[-1], "<turn|>", again, "<|tool_call>")
    s.same(again, said[0]) if len(said) > 1 else s.follow(again, "<turn|>", again)


def _think(s: Script, pondered: list[str], start: str) -> None:
    """`<|turn>model`, newline, and then the template leaves the channel to the model if it may think."""
    s.follow("\n", "<|channel>")
    s.follow("<|channel>", "thought")
    s.follow("thought", "<0x0A>")
    s.follow("<0x0A>", pondered[0])
    for word, following in zip(pondered, [*pondered[1:], "<channel|>"], strict=True):
        s.follow(word, following)
    s.follow("<channel|>", start, "<|tool_call>")
    s.follow("<tool_response|>", start, "<|channel>")  # a grammar that forces a call wants the channel first


def _obey(s: Script) -> None:
    """Under a grammar: `<|tool_call>call:NAME{city:<|"|>Paris<|"|>}<tool_call|>`, `{"Paris":"Paris"}`, `{"n":1}`."""
    s.follow("<|tool_call>", "call")
    s.follow("call", ":")
    s.follow("{", "city", '"', "}")
    s.follow("city", ":")
    s.follow(":", '<|"|>', "1")
    s.follow('<|"|>', "Paris", "}", ",")
    s.follow("Paris", '<|"|>', '":', '"}', '"]', '",', '"', "Paris")
    s.follow('"', "Paris", "}", "]", ",")
    for opener in ('":', "["):
        s.follow(opener, '"', "1", "[", "{")
    for closer in ("]", '"]'):
        s.follow(closer, "}", ",")
    for comma in (",", '",'):
        s.follow(comma, '"')
    s.follow("0", "}", "]", ",")
    for digit in "123456789":
        s.same(digit, "0")
    for end in ("}", '"}'):
        s.follow(end, "<turn|>", "<tool_call|>", "}", "]", ",")
    s.follow("<tool_call|>", "<turn|>")
