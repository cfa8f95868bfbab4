from __future__ import annotations

from base64 import b64encode

import pytest

from gateway.canonical.content import (
    Audio,
    Clip,
    Document,
    Image,
    Media,
    MediaPart,
    Message,
    Text,
    ToolResult,
    Video,
)
from gateway.canonical.requests import Chat, CountTokens, Embedding
from gateway.engine.admission import Memory
from gateway.engine.files import Files
from gateway.errors import BadRequest, Overloaded
from gateway.server.attachments import attached
from gateway.server.body import Held


async def sent(files: Files, data: bytes, mime: str, name: str = "", owner: str = "k") -> str:
    upload = files.begin(owner, name, mime)
    await files.write(upload, data)
    return (await files.finish(upload)).id


def held(most: int = 1 << 20) -> Held:
    return Held(Memory(most))


@pytest.fixture
def files() -> Files:
    return Files(1 << 20, 60, clock=lambda: 1e9)


@pytest.mark.parametrize(
    ("mime", "name", "asked", "kind", "told"),
    [
        ("image/png", "", Document(Media(file_id="")), Image, "image/png"),
        ("audio/wav", "a.wav", Document(Media("audio/wav", file_id="")), Audio, "audio/wav"),
        ("video/mp4", "", Image(Media("image/png", file_id="")), Video, "video/mp4"),
        ("", "", Image(Media("image/png", file_id="")), Image, "image/png"),
        ("application/octet-stream", "a.mp4", Document(Media(file_id="")), Video, "video/mp4"),
        ("", "", Audio(Media(file_id="")), Audio, ""),
        ("application/pdf", "a.pdf", Document(Media(file_id="")), Document, "application/pdf"),
    ],
)
@pytest.mark.parametrize("prefix", ["files/", "file-", "file_", ""])
async def test_a_file_is_what_it_was_sent_as(
    prefix: str, mime: str, name: str, asked: MediaPart, kind: type, told: str, files: Files
):
    file_id = prefix + await sent(files, b"\x00\xffabc", mime, name)
    media = Media(asked.media.mime, file_id=file_id, detail="low", clip=Clip(1, 2))
    part = type(asked)(media, signature="s", extra={"x": {"y": 1}}, path="p")
    chat = Chat("m", [Message("user", [Text("see"), part])])
    took = held()
    out = await attached(chat, files, "k", took)
    assert isinstance(out, Chat) and chat.messages[0].parts[1] is part
    text, new = out.messages[0].parts
    assert text == Text("see") and type(new) is kind and isinstance(new, Image | Audio | Video | Document)
    assert (new.media.mime, new.media.detail, new.media.clip) == (told, "low", Clip(1, 2))
    assert new.media.base64 == b64encode(b"\x00\xffabc").decode() and took.octets == 8
    assert (new.signature, new.extra, new.path) == ("s", {"x": {"y": 1}}, "p")
    assert new.media.name == (name or None if kind is Document else None)


async def test_texts_and_results_of_tools(files: Files):
    words = await sent(files, "größe".encode(), "text/plain")
    table = await sent(files, b"{}", "application/json")
    odd = await sent(files, b"\xff", "text/plain")
    parts = [Document(Media(file_id=f"files/{i}"), path="p") for i in (words, table, odd, words)]
    result = ToolResult("c", list(parts[:1]))
    chat = Chat("m", [Message("tool", [result]), Message("user", list(parts)), Message("user", [Text("x")])])
    took = held()
    out = await attached(CountTokens(chat), files, "k", took)
    assert isinstance(out, CountTokens)
    tool, user, last = out.chat.messages
    assert tool.parts == [ToolResult("c", [Text("größe")])]
    assert user.parts[:2] == [Text("größe"), Text("{}")] and isinstance(user.parts[2], Document)
    assert user.parts[3] == Text("größe") and last is chat.messages[2]
    assert took.octets == 12 + 4 + 4, "each is read once"


async def test_what_is_left_alone(files: Files):
    chat = Chat("m", [Message("user", [Text("x"), Image(Media(url="https://a.example/x.png"))])])
    assert await attached(chat, files, "k", held()) is chat
    embedding = Embedding("m", ["x"])
    assert await attached(embedding, files, "k", held()) is embedding


async def test_a_file_of_another_key_is_not_there(files: Files):
    name = await sent(files, b"x", "image/png", owner="other")
    for file_id in (name, "files/nothing"):
        chat = Chat("m", [Message("user", [Image(Media(file_id=file_id), path="messages[0].content[1]")])])
        with pytest.raises(BadRequest) as caught:
            await attached(chat, files, "k", held())
        assert (caught.value.code, caught.value.param) == ("file_not_found", "messages[0].content[1]")


async def test_an_empty_file_and_too_much_at_once(files: Files):
    empty = Chat("m", [Message("user", [Image(Media(file_id=await sent(files, b"", "image/png")), path="p")])])
    with pytest.raises(BadRequest, match="empty"):
        await attached(empty, files, "k", held())
    large = Chat("m", [Message("user", [Image(Media(file_id=await sent(files, b"x" * 900, "image/png")))])])
    with pytest.raises(Overloaded):
        await attached(large, files, "k", held(1000))
