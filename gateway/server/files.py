"""Uploaded files at the paths of three APIs: Gemini's resumable uploads, and the forms that OpenAI's and Anthropic's
clients send.

The second leg of a resumable upload comes without a key (the clients' own HTTP library sends it): whoever knows its id
may write to it, and nobody can guess that.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from typing import Any, Final, Literal
from urllib.parse import parse_qs

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from gateway.canonical.files import File
from gateway.dialects.anthropic import files as anthropic
from gateway.dialects.gemini import listing
from gateway.dialects.gemini import uploads as gemini
from gateway.dialects.openai import files as openai
from gateway.engine.files import Files, Upload
from gateway.errors import BadRequest, ClientGone, NotFound, RequestTimeout, TooLarge
from gateway.server.attachments import file_name
from gateway.server.body import decode_json
from gateway.server.multipart import FormReader, Part, boundary_of
from gateway.server.shape import speaks_gemini
from gateway.settings import Settings

Json = dict[str, Any]
Dialect = Literal["openai", "anthropic", "gemini"]

ABOUT: Final = 64 * 1024
"""Octets of what a client says of its file before it sends it, and of a field of a form."""
AROUND: Final = 1024 * 1024
"""Octets of a form beside its file: heads, fields, and what means nothing."""
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_VERSIONS = "/v1beta", "/v1alpha", "/v1"


class UploadDoor:
    """Lets in who knows the id of an upload."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def opens(self, scope: MutableMapping[str, Any]) -> str | None:
        """The key that the upload belongs to, which the request goes on with; None if it is no such request."""
        if not scope["path"].startswith("/upload/"):
            return None
        upload = self._files.upload(_upload_id(scope["query_string"]))
        return upload.file.owner if upload is not None else None


def add_files(app: FastAPI, files: Files, settings: Callable[[], Settings]) -> None:
    """All paths that are about files."""
    receiver = _Receiver(files, settings)

    @app.post("/upload/{version}/files")
    async def upload(request: Request, version: str) -> Response:
        return await receiver.gemini(request, version)

    @app.post("/v1/files")
    async def create(request: Request) -> Response:
        if _dialect(request) == "gemini":
            return await receiver.gemini(request, "v1")
        return await receiver.form(request)

    for version in _VERSIONS:
        _add_listing(app, version, files)


def _add_listing(app: FastAPI, version: str, files: Files) -> None:
    @app.get(f"{version}/files")
    async def listed(request: Request) -> Response:
        return _json(_list(request, files.listed(request.scope["gateway.key"])))

    @app.get(f"{version}/files/{{name}}/content")
    async def content(request: Request, name: str) -> Response:
        return _content(files, _found(files, request, name))

    @app.get(f"{version}/files/{{name}}")
    async def get(request: Request, name: str) -> Response:
        bare = name.removesuffix(":download")
        file = _found(files, request, bare)
        return _content(files, file) if bare != name else _json(_render(request, file))

    @app.delete(f"{version}/files/{{name}}")
    async def delete(request: Request, name: str) -> Response:
        file = _found(files, request, name)
        files.delete(file.owner, file.id)
        dialect = _dialect(request)
        if dialect == "gemini":
            return _json({})
        return _json(anthropic.render_deleted(file) if dialect == "anthropic" else openai.render_deleted(file))


class _Receiver:
    """Takes files in, piece by piece."""

    def __init__(self, files: Files, settings: Callable[[], Settings]) -> None:
        self._files = files
        self._settings = settings

    # ---- Gemini

    async def gemini(self, request: Request, version: str) -> Response:
        """One leg of an upload, or a file in one piece."""
        name = _upload_id(request.scope["query_string"])
        if name:
            found = self._files.upload(name)
            if found is None or found.file.owner != request.scope["gateway.key"]:
                raise NotFound("there is no such upload (any more)")
            return await self._leg(request, found, version)
        headers = dict(request.headers)
        if "start" in _command(request):
            about = decode_json(await self._small(request) or b"{}")
            start = gemini.parse_start(about, headers)
            upload = self._files.begin(request.scope["gateway.key"], start.name, start.mime, start.size)
            place = f"{_base(request)}/upload/{_version(version)}/files?upload_id={upload.id}"
            return _json({}, {"x-goog-upload-url": place, **_status("active", 0)})
        if headers.get("x-goog-upload-protocol") == "raw" or request.query_params.get("uploadType") == "media":
            start = gemini.parse_start(None, {**headers, "x-goog-upload-header-content-type": _type(headers)})
            upload = self._files.begin(request.scope["gateway.key"], start.name, start.mime, _length(headers))
            with self._or_not(upload):
                await self._take(request, upload)
                return self._told(request, await self._files.finish(upload), version)
        words = "begin with X-Goog-Upload-Protocol: resumable and X-Goog-Upload-Command: start, or send it raw"
        raise BadRequest(words, param="X-Goog-Upload-Command")

    async def _leg(self, request: Request, upload: Upload, version: str) -> Response:
        command = _command(request)
        if command == ["query"]:
            return _json({}, _status("active", upload.received))
        if command == ["cancel"]:
            self._files.cancel(upload)
            return _json({}, {"x-goog-upload-status": "cancelled"})
        if not {"upload", "finalize"} >= set(command) or not command:
            raise BadRequest("the command is one of upload, finalize, query, cancel", param="X-Goog-Upload-Command")
        if upload.busy:
            raise BadRequest("another piece of this upload is under way")
        gemini.parse_offset(dict(request.headers), upload.received)
        upload.busy = True
        try:
            if "upload" in command:
                await self._take(request, upload)
            if "finalize" not in command:
                return _json({}, _status("active", upload.received))
            return self._told(request, await self._files.finish(upload), version)
        finally:
            upload.busy = False

    def _told(self, request: Request, file: File, version: str) -> Response:
        base = f"{_base(request)}/{'v1beta' if version == 'v1' else _version(version)}"
        return _json({"file": gemini.render_file(file, base)}, {"x-goog-upload-status": "final"})

    # ---- forms

    async def form(self, request: Request) -> Response:
        """`purpose` and the like are small; the file may be of any size, and stand anywhere."""
        reader = FormReader(boundary_of(request.headers.get("content-type", "")))
        fields: dict[str, bytes] = {}
        upload: Upload | None = None
        part: Part | None = None
        around = 0  # octets that are none of the file
        with contextlib.ExitStack() as stack:
            async for data in self._pieces(request):
                around += len(data)
                for event in reader.feed(data):
                    if isinstance(event, Part):
                        part = event
                        if event.filename is None:
                            fields[event.name[:80]] = b""
                            _add_field(fields, event.name[:80], b"")  # one without content counts, too
                        elif upload is not None or event.name != "file":
                            raise BadRequest("the form has one file, in the field `file`", param="file")
                        else:
                            owner = request.scope["gateway.key"]
                            upload = self._files.begin(owner, event.filename[:512], event.mime)
                            stack.enter_context(self._or_not(upload))
                    elif isinstance(event, bytes) and part is not None:
                        if part.filename is not None and upload is not None:
                            await self._files.write(upload, event)
                            around -= len(event)
                        else:
                            _add_field(fields, part.name[:80], event)
                if around > AROUND:
                    raise TooLarge(f"a form may have {AROUND} octets beside its file")
            if not reader.done:
                raise BadRequest("the form is cut")
            if upload is None:
                raise BadRequest("the form has no `file`", param="file")
            upload.file.purpose = fields.get("purpose", b"").decode("utf-8", "replace")[:80]
            return _json(_render(request, await self._files.finish(upload)))

    # ---- pieces

    async def _take(self, request: Request, upload: Upload) -> None:
        """The whole body goes into the upload; what came stays, also where the rest does not come."""
        try:
            async for data in self._pieces(request):
                if data:
                    await self._files.write(upload, data)
        finally:
            await self._files.flush(upload)

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it comes. Raises RequestTimeout when it stops coming."""
        wait = self._settings().timeouts.client_body
        stream = request.stream()
        while True:
            try:
                async with asyncio.timeout(wait):
                    data = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise RequestTimeout(f"nothing of the body came for {wait:g} s") from None
            except ClientDisconnect:
                raise ClientGone("the client left while it sent its file") from None
            yield data

    async def _small(self, request: Request) -> bytes:
        out = b""
        async for data in self._pieces(request):
            out += data
            if len(out) > ABOUT:
                raise TooLarge(f"at most {ABOUT} octets are taken before the file itself")
        return out

    @contextlib.contextmanager
    def _or_not(self, upload: Upload) -> Iterator[None]:
        """An upload in one piece is complete, or nothing of it is kept."""
        try:
            yield
        except BaseException:  # cancelled, too: the client has left
            self._files.cancel(upload)
            raise


def _add_field(fields: dict[str, bytes], name: str, data: bytes) -> None:
    fields[name] = fields.get(name, b"") + data
    if len(fields[name]) > ABOUT or len(fields) > 32:
        raise TooLarge("a field of the form is too long")


def _upload_id(query: bytes) -> str:
    if b"upload_id=" not in query:
        return ""
    return parse_qs(query.decode("latin-1"), max_num_fields=16).get("upload_id", [""])[0]


def _command(request: Request) -> list[str]:
    return [w.strip().lower() for w in request.headers.get("x-goog-upload-command", "").split(",") if w.strip()]


def _status(status: str, received: int) -> dict[str, str]:
    return {"x-goog-upload-status": status, "x-goog-upload-size-received": str(received)}


def _version(given: str) -> str:
    return given if given in ("v1", "v1beta", "v1alpha") else "v1beta"


def _type(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip()


def _length(headers: dict[str, str]) -> int | None:
    told = headers.get("content-length", "")
    return int(told) if told.isdecimal() else None


def _base(request: Request) -> str:
    """The address by which this client reaches the gateway."""
    host = request.headers.get("host", "")
    told = request.headers.get("x-forwarded-proto", "").lower()
    scheme = told if told in ("http", "https") else request.scope["scheme"]
    return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"


def _dialect(request: Request) -> Dialect:
    headers = dict(request.headers.raw)
    if not request.url.path.startswith("/v1/") or speaks_gemini(headers, request.scope["query_string"]):
        return "gemini"
    return "anthropic" if b"anthropic-version" in headers else "openai"


def _found(files: Files, request: Request, name: str) -> File:
    file = files.get(request.scope["gateway.key"], file_name(name))
    if file is None:
        raise NotFound(f"there is no file {name[:80]!r} (any more)", code="file_not_found")
    return file


def _render(request: Request, file: File) -> Json:
    dialect = _dialect(request)
    if dialect == "gemini":
        head = request.url.path.split("/")[1]
        return gemini.render_file(file, f"{_base(request)}/{'v1beta' if head == 'v1' else head}")
    return anthropic.render_file(file) if dialect == "anthropic" else openai.render_file(file)


def _list(request: Request, files: list[File]) -> Json:
    query = request.query_params
    if _dialect(request) == "gemini":
        return listing.page(
            [_render(request, f) for f in files], query.get("pageSize"), query.get("pageToken"), "files"
        )
    after, limit = query.get("after") or query.get("after_id"), query.get("limit", "")
    if query.get("order") == "asc":
        files = files[::-1]
    if purpose := query.get("purpose"):
        files = [f for f in files if f.purpose == purpose]
    start = next((i + 1 for i, f in enumerate(files) if after and f.id == file_name(after)), 0)
    end = start + (min(int(limit), 10_000) if limit.isdecimal() and len(limit) < 9 and int(limit) else 1000)
    page = [_render(request, f) for f in files[start:end]]
    render = anthropic.render_list if _dialect(request) == "anthropic" else openai.render_list
    return render(page, end < len(files))


def _content(files: Files, file: File) -> Response:
    """The octets; never a type that a browser would run."""
    headers = {"content-length": str(file.size), "content-disposition": "attachment"}
    return StreamingResponse(files.read(file), media_type="application/octet-stream", headers=headers)


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)
