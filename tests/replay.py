"""A server that gives known replies over a real socket: path -> reply, anything else is 404."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.backends import Reply

NOT_SENT = ("content-length", "transfer-encoding", "connection", "keep-alive")


@dataclass
class Replay:
    """`replies` may be changed while it listens; None = it takes the connection and says nothing. `asked`: the paths,
    in order."""

    replies: dict[str, Reply | None]
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            reply = self.replies.get(path, Reply(404, {"content-type": "application/json"}, b'{"detail":"Not Found"}'))
            if reply is None:
                await reader.read()
            else:
                writer.write(octets(reply))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def octets(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} X", f"content-length: {len(reply.body)}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items() if name not in NOT_SENT]
    return "\r\n".join([*lines, "", ""]).encode() + reply.body


@asynccontextmanager
async def replaying(replies: Mapping[str, Reply | None], port: int = 0) -> AsyncIterator[Replay]:
    replay = Replay(dict(replies))
    server = await asyncio.start_server(replay.serve, "127.0.0.1", port)
    replay.port = server.sockets[0].getsockname()[1]
    try:
        yield replay
    finally:
        server.close()
        await server.wait_closed()
