from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.canonical.content import Message, Text, Thinking, ToolCall
from gateway.canonical.requests import Chat, Tool
from gateway.engine.state import State, StateUnusable
from gateway.settings import StateSettings


async def test_without_a_folder_it_stays_in_memory():
    state = State(StateSettings())
    await state.open()
    assert state.answers.put("k", "a", [b"x"]) and await state.answers.get("k", "a") == [b"x"]
    assert state.files.limit == 128 << 20 and state.answers.limit == 64 << 20
    await state.close()


async def test_it_is_written_before_it_is_closed_and_found_by_the_next(tmp_path: Path):
    settings = StateSettings(dir=tmp_path / "new" / "state", answers=1 << 20, files=1 << 20)
    state = State(settings)
    await state.open()
    for i in range(50):
        state.answers.put("k", str(i), [b"answer %d" % i])
    state.thoughts.keep("k", "call", "plan", "c2ln")
    upload = state.files.begin("k")
    await state.files.write(upload, b"file")
    file = await state.files.finish(upload)
    await state.close()
    again = State(settings)
    await again.open()
    assert await again.answers.get("k", "49") == [b"answer 49"]
    call = ToolCall("call", "f", "{}")
    chat = Chat("m", [Message("user", [Text("go")]), Message("assistant", [call])], tools=[Tool("f")])
    assert again.thoughts.restored(chat, "k").messages[1].parts == [Thinking("plan"), replace(call, signature="c2ln")]
    assert again.thoughts.restored(chat, "other") is chat
    assert again.files.get("k", file.id) == file
    await again.close()


async def test_what_is_too_old_leaves_the_disk_unasked(tmp_path: Path):
    now = [1e9]
    state = State(StateSettings(dir=tmp_path, ttl=100), clock=lambda: now[0])
    await state.open()
    state.answers.put("k", "a", [b"x"])
    now[0] += 101
    state._sweep()
    await state.close()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


async def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "file").write_text("")
    state = State(StateSettings(dir=tmp_path / "file"))
    with pytest.raises(StateUnusable, match=r"state\.dir"):
        await state.open()
    await state.close()
