"""The model endpoints: from a body to a job for the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import msgspec

from gateway.canonical.context import Context, Rights
from gateway.canonical.media.identify import NoSound, Wrong, identified
from gateway.canonical.needs import needs_of
from gateway.canonical.requests import Chat, Completion, Request, Transcription
from gateway.dialects import LIMITS, Limits
from gateway.engine.admission import Memory
from gateway.engine.deadlines import Sweep, Watch
from gateway.engine.dispatch import Dispatcher
from gateway.engine.files import Files
from gateway.engine.job import ClientCodec, Job
from gateway.engine.record import Record
from gateway.errors import BadRequest, InvalidJson, TooLarge, UnsupportedMedia
from gateway.server.attachments import attached
from gateway.server.auth import Grant
from gateway.server.body import Held, Receive, check_media_type, read_json
from gateway.server.form import is_form, read_form
from gateway.server.outlet import AsgiOutlet
from gateway.settings import Settings
from gateway.settings.model import Limits as SettingsLimits

PADDING: Final = 2
"""Octets that base64 may seem to have more than it holds."""


class ModelEndpoint:
    """Serves one operation of one dialect. `settings` gives the snapshot in force when a request comes in."""

    def __init__(
        self,
        dialect: str,
        codec: ClientCodec,
        dispatcher: Dispatcher,
        memory: Memory,
        sweep: Sweep,
        settings: Callable[[], Settings],
        files: Files,
        file_field: str = "",
    ) -> None:
        """`file_field`: the field of a form that holds a file, where the body may be a form."""
        self._dialect = dialect
        self._codec = codec
        self._dispatcher = dispatcher
        self._memory = memory
        self._sweep = sweep
        self._settings = settings
        self._files = files
        self._file_field = file_field
        self._limits: tuple[Settings | None, Limits] = None, LIMITS

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        headers: dict[bytes, bytes],
        receive: Receive,
        outlet: AsgiOutlet,
        record: Record,
        grant: Grant,
    ) -> None:
        settings = self._settings()
        key = grant.id
        held = Held(self._memory)
        try:
            body = await self._body(receive, headers, held, settings)
            record.received = asyncio.get_running_loop().time()
            known = self._known(body, grant.rights)
            if known is not None:
                await outlet.whole(200, [], msgspec.json.encode(known))
                return
            request = await self._read(body, headers, settings, key, held)
            request = _identified(request)
            _check_sizes(request, settings.limits, held)
            whole = await attached(request, self._files, key, held)
            request = whole if whole is request else _identified(whole)
            outlet.watch(receive)
            await self._answer(request, self._context(grant, request, record, settings), outlet, record)
        finally:
            held.release()

    def _known(self, body: Any, rights: Rights) -> dict[str, Any] | None:
        """The answer to a body that needs no server's; None for all others."""
        return None

    async def _read(self, body: Any, headers: dict[bytes, bytes], settings: Settings, key: str, held: Held) -> Request:
        """The request of a body, with what is kept here for its key."""
        return self._parse(body, headers, settings)

    def _codec_for(self, request: Request, key: str) -> ClientCodec:
        """What writes the answer to this request."""
        return self._codec

    async def _answer(self, request: Request, context: Context[Settings], outlet: AsgiOutlet, record: Record) -> None:
        """Answers the request, whose client is watched from here on."""
        record.stream = isinstance(request, Chat | Completion | Transcription) and request.stream
        codec = self._codec_for(request, context.key_id)
        job = Job(context, request, codec, outlet, record, streamed=record.stream)
        try:
            await self._dispatcher.serve(job)
        except asyncio.CancelledError:
            if outlet.gone:
                self._dispatcher.left(job, outlet.left_at)
            elif outlet.dismissal is not None and outlet.committed:
                await self._dispatcher.fail(job, outlet.dismissal)
            raise
        finally:
            record.headers = job.headers

    async def _body(self, receive: Receive, headers: dict[bytes, bytes], held: Held, settings: Settings) -> Any:
        form = bool(self._file_field) and is_form(headers)
        if not form:
            check_media_type(headers)
        now = asyncio.get_running_loop().time()
        wait = settings.timeouts.client_body
        with Watch(self._sweep, now + wait, now + max(wait, settings.timeouts.total), "body") as watch:
            if form:
                return await read_form(receive, headers, settings.limits, self._file_field, held, watch, wait)
            return await read_json(receive, headers, settings.limits.body, held, watch, wait)

    def _parse(self, body: Any, headers: dict[bytes, bytes], settings: Settings) -> Request:
        if not isinstance(body, dict):
            raise InvalidJson("the body must be a JSON object")
        request: Request = self._codec.parse_request(body, header_options(headers), self._limits_of(settings))
        return request

    def _limits_of(self, settings: Settings) -> Limits:
        """The configured limits as a dialect takes them; made once for a snapshot."""
        if settings is not self._limits[0]:
            own = settings.limits
            limits = Limits(
                messages=own.messages,
                parts=own.parts,
                images=own.images,
                tools=own.tools,
                stop=own.stop,
                choices=own.choices,
                top_logprobs=own.top_logprobs,
                model=own.model_name,
            )
            self._limits = settings, limits
        return self._limits[1]

    def _context(self, grant: Grant, request: Request, record: Record, settings: Settings) -> Context[Settings]:
        return Context(
            record.request_id,
            self._dialect,
            grant.id,
            settings,
            record.started,
            record.started + settings.timeouts.total,
            options=request.options,
            rights=grant.rights,
        )


def _identified(request: Request) -> Request:
    """With each medium under its true name. Raises BadRequest."""
    try:
        return identified(request)
    except NoSound as e:
        raise UnsupportedMedia(str(e), param=e.path or None) from None
    except Wrong as e:
        raise BadRequest(str(e), param=e.path or None) from None


def _check_sizes(request: Request, limits: SettingsLimits, held: Held) -> None:
    """Raises TooLarge for a medium in the request that is larger than one of its kind may be, however it came. What was
    uploaded before, and is named by its id, is as large as uploads may be."""
    if held.octets <= min(limits.image, limits.audio, limits.video):
        return
    for medium in needs_of(request).media:
        most = limits.most_octets(medium.modality)
        if medium.size - PADDING > most:
            which = {"audio": "sound", "image": "picture"}.get(medium.modality, medium.modality)
            raise TooLarge(f"a {which} may have {most} octets, this one has {medium.size}", param=medium.path or None)


def header_options(headers: dict[bytes, bytes]) -> str | None:
    """The text of the header `x-gateway-options`."""
    options = headers.get(b"x-gateway-options")
    return options.decode("utf-8", "replace") if options is not None else None
