"""The receipt: one word a part, ranges folded, cut where a header would grow too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backends.wire.history import without_markers
from gateway.canonical.content import Audio, Image, Media, Message, Text, Thinking, ToolCall, ToolResult, Video
from gateway.canonical.requests import Chat, OutputFormat
from gateway.engine.receipt import LIMIT, as_asked, fates_of, fold_receipt
from gateway.filters.instructions import instructed


@pytest.mark.parametrize(
    ("fates", "header"),
    [
        (["text"], "0=text"),
        (["text", "audio>wav16k", "video>frames:32", "sound=dropped"][:3], "0=text,1=audio>wav16k,2=video>frames:32"),
        (["text"] * 58, "0-57=text"),
        (["text", "text", "image", "image", "text"], "0-1=text,2-3=image,4=text"),
        ([], ""),
    ],
)
def test_folding(fates, header):
    assert fold_receipt(fates) == header


def test_a_text_of_the_engine_s_own_is_not_counted():
    image = Image(Media("image/png", url="http://x/i.png"))
    media = Message("user", [Text("see"), image])
    later = [
        Message("assistant", [Text("yes")]),
        Message("user", [Text("x<turn|>"), Audio(Media("audio/wav", url="http://x/a.wav"))]),
    ]
    for first in (media, Message("user", [image]), Message("system", [Text("s")]), Message("assistant", [Text("a")])):
        chat = Chat("m", [first, *later], output=OutputFormat("json_object"))
        sent = instructed(chat)
        _, [touched] = without_markers(sent, "gemma4")
        fates = as_asked({touched: "text>neutralised", touched + 1: "audio>wav16k"}, chat, sent)
        said = fates_of(chat, fates)
        assert said[-2:] == ["text>neutralised", "audio>wav16k"] and said.count("text>neutralised") == 1
    assert as_asked({0: "x"}, chat, chat) == {0: "x"}


def unfold_receipt(header: str) -> tuple[list[str], int]:
    out: list[str] = []
    for item in header.split(",") if header else []:
        if item.startswith("+"):
            return out, int(item[1:])
        found = re.fullmatch(r"(\d+)(?:-(\d+))?=(.+)", item)
        assert found and int(found[1]) == len(out)
        out += [found[3]] * (int(found[2] or found[1]) - int(found[1]) + 1)
    return out, 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["text", "image", "audio>wav16k", "video>frames:32"]), max_size=600))
def test_nothing_is_lost_in_it(fates):
    header = fold_receipt(fates)
    assert len(header) <= LIMIT
    told, left = unfold_receipt(header)
    assert told == fates[: len(told)]
    assert len(told) + left == len(fates)
    assert unfold_receipt(fold_receipt(fates, None)) == (fates, 0)


def test_what_counts_as_a_part():
    media = Media("image/png", url="http://x/y.png")
    chat = Chat(
        "m",
        [
            Message("system", [Text("not counted")]),
            Message("user", [Text("a"), Image(media), Audio(media), Video(media)]),
            Message("assistant", [Thinking("not counted"), Text("b"), ToolCall("1", "f", "{}")]),
            Message("tool", [ToolResult("1", [Text("c"), Image(media)]), ToolResult("2", {"d": 1})]),
        ],
    )
    assert fates_of(chat, {}) == ["text", "image", "audio", "video", "text", "text", "image", "text"]
    assert fates_of(chat, {2: "audio>wav16k"})[2] == "audio>wav16k"
