"""The two bare relays that the gateway is compared with. Both pass bytes and know nothing.

A is what one writes first when one knows which parts are fast: a FastAPI route that takes `Request`, looks into the
body, asks over aiohttp and answers with `StreamingResponse`. (Its look is `msgspec.json.decode` to plain dicts and
lists; orjson is not a dependency of ours.) It does not notice a client that leaves before the stream has begun.
B is about the floor with these libraries: a plain ASGI callable as the route of a FastAPI app, with a watcher on
`receive()` from the request's start.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.routing import Route

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


class Hop:
    """One aiohttp session for the life of the process."""

    def __init__(self, upstream: str) -> None:
        self.url = upstream + PATH
        self.session: aiohttp.ClientSession

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self.session:
            yield


def relay_a(hop: Hop) -> FastAPI:
    app = FastAPI(lifespan=hop.lifespan)

    async def pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in reply.content.iter_any():
                yield piece
        finally:
            reply.close()  # a no-op at the end of a stream: the connection is back in the pool then

    @app.post(PATH)
    async def chat(request: Request) -> Response:
        body = await request.body()
        streamed = msgspec.json.decode(body).get("stream", False)
        reply = await hop.session.post(hop.url, data=body, headers=JSON)
        kind = reply.headers.get("content-type", "application/json")
        if streamed:
            return StreamingResponse(pieces(reply), reply.status, {"content-type": kind})
        answer = await reply.read()
        return Response(answer, reply.status, {"content-type": kind})

    return app


class RelayB:
    """The ASGI callable. A class, because Starlette takes a function for an endpoint that wants a `Request`."""

    def __init__(self, hop: Hop) -> None:
        self.hop = hop

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        pieces: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            pieces.append(message["body"])
            more = message.get("more_body", False)
        work = asyncio.ensure_future(self.pass_on(b"".join(pieces), send))
        watch = asyncio.ensure_future(_until_left(receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            work.cancel()
            watch.cancel()

    async def pass_on(self, body: bytes, send: Send) -> None:
        async with self.hop.session.post(self.hop.url, data=body, headers=JSON) as reply:
            kind = reply.headers.get("content-type", "application/json").encode()
            if reply.content_length is not None:
                answer = await reply.read()
                length = str(len(answer)).encode()
                headers = [(b"content-type", kind), (b"content-length", length)]
                await send({"type": "http.response.start", "status": reply.status, "headers": headers})
                await send({"type": "http.response.body", "body": answer})
                return
            await send({"type": "http.response.start", "status": reply.status, "headers": [(b"content-type", kind)]})
            async for piece in reply.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def relay_b(hop: Hop) -> FastAPI:
    app = FastAPI(lifespan=hop.lifespan)
    app.router.routes.append(Route(PATH, RelayB(hop), methods=["POST"]))
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["a", "b"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    arguments = parser.parse_args()
    hop = Hop(arguments.upstream)
    app = relay_a(hop) if arguments.which == "a" else relay_b(hop)
    # "auto" is uvloop and httptools wherever they are installed
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
