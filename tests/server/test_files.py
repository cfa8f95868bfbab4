"""Files over sockets: uploads as the official clients of three APIs send them, and requests that name them."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.server.files import AROUND
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response, request_bytes
from tests.faults.running import KEY, PUBLIC, Running, config, running
from tests.faults.steps import Json

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
HOST = {"Host": "gateway.test:4000"}
GOOGLE = {**HOST, "x-goog-api-key": KEY}
START = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
WHOLE = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}


async def send(gateway: Running, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Response:
    given = {**HOST, **headers, "Content-Length": str(len(body))}
    return await gateway.send(request_bytes(method, path, given, body), counts=False)


async def begin(gateway: Running, size: int, mime: str = "image/png", version: str = "v1beta") -> str:
    """As google-genai begins an upload; the path of its second leg."""
    about = {
        **GOOGLE,
        **START,
        "X-Goog-Upload-Header-Content-Length": str(size),
        "X-Goog-Upload-Header-Content-Type": mime,
        "X-Goog-Upload-File-Name": "up.png",
        "Content-Type": "application/json",
    }
    body = b'{"file": {"display_name": "up", "mime_type": "image/png", "size_bytes": %d}}' % size
    got = await send(gateway, "POST", f"/upload/{version}/files", about, body)
    assert got.status == 200, got.body
    url = got.header("x-goog-upload-url") or ""
    assert url.startswith("http://gateway.test:4000/upload/")
    return url.removeprefix("http://gateway.test:4000")


async def uploaded(gateway: Running, data: bytes = PNG, mime: str = "image/png") -> dict[str, Any]:
    path = await begin(gateway, len(data), mime)
    got = await send(gateway, "POST", path, WHOLE, data)  # without any key, as the client's HTTP library sends it
    assert got.status == 200 and got.header("x-goog-upload-status") == "final", got.body
    return got.json()["file"]


async def locked(wire: Any, gateway_for: GatewayFor, **more: Any) -> Running:
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}, **more), env={"K": KEY})
    gateway.secrets.append(KEY)
    return gateway


@pytest.mark.parametrize("version", ["v1beta", "v1"])
async def test_an_upload_and_a_request_that_names_it(version: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    path = await begin(gateway, len(PNG), version=version)
    got = await send(gateway, "POST", path, WHOLE, PNG)
    file = got.json()["file"]
    assert file | {
        "createTime": "",
        "expirationTime": "",
        "updateTime": "",
        "name": "",
        "uri": "",
        "downloadUri": "",
    } == {
        "name": "",
        "displayName": "up",
        "mimeType": "image/png",
        "sizeBytes": str(len(PNG)),
        "createTime": "",
        "updateTime": "",
        "expirationTime": "",
        "sha256Hash": b64encode(sha256(PNG).digest()).decode(),
        "uri": "",
        "downloadUri": "",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    name = file["name"]
    assert re.fullmatch(r"files/[a-z0-9]{1,40}", name) and file["uri"] == f"http://gateway.test:4000/v1beta/{name}"
    for key in ("createTime", "expirationTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", file[key])
    asked = {
        "contents": [{"parts": [{"text": "what"}, {"fileData": {"file_uri": file["uri"], "mime_type": "image/png"}}]}]
    }
    got = await gateway.post(f"/{version}/models/{PUBLIC}:generateContent", asked, {"Authorization": "", **GOOGLE})
    gateway.sent += 1
    assert got.status == 200, got.body
    content = wire.requests[-1].json()["messages"][0]["content"]
    assert content[1]["image_url"]["url"] == f"data:image/png;base64,{b64encode(PNG).decode()}"
    assert got.header("x-gateway-parts") == "0=text,1=image"
    assert (await send(gateway, "GET", f"/{version}/{name}", GOOGLE)).json() == file
    assert (await send(gateway, "GET", f"/{version}/files?pageSize=1", GOOGLE)).json() == {"files": [file]}
    assert (await send(gateway, "GET", f"/{version}/{name}:download?alt=media", GOOGLE)).body == PNG
    assert (await send(gateway, "DELETE", f"/{version}/{name}", GOOGLE)).json() == {}
    got = await send(gateway, "GET", f"/{version}/{name}", GOOGLE)
    assert (got.status, got.json()["error"]["status"]) == (404, "NOT_FOUND")
    got = await gateway.post(f"/{version}/models/{PUBLIC}:generateContent", asked, {"Authorization": "", **GOOGLE})
    gateway.sent += 1
    assert got.status == 400 and "contents[0].parts[1]" in got.body.decode()


async def test_an_upload_in_pieces_that_goes_on_where_it_broke(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    path = await begin(gateway, len(PNG))
    piece = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": "0"}
    got = await send(gateway, "POST", path, piece, PNG[:1000])
    assert (got.header("x-goog-upload-status"), got.header("x-goog-upload-size-received")) == ("active", "1000")
    # one that breaks off in the middle: what came stays
    head = request_bytes("POST", path, {**HOST, **piece, "X-Goog-Upload-Offset": "1000", "Content-Length": "2000"})
    async with gateway.client() as client:
        await client.send(head + PNG[1000:1500])
        for _ in range(200):
            got = await send(gateway, "POST", path, {"X-Goog-Upload-Command": "query"})
            if got.header("x-goog-upload-size-received") == "1500":
                break
    got = await send(gateway, "POST", path, {**piece, "X-Goog-Upload-Offset": "1000"}, b"x")
    assert got.status == 400
    for _ in range(200):
        got = await send(gateway, "POST", path, {**WHOLE, "X-Goog-Upload-Offset": "1500"}, PNG[1500:])
        if got.status == 200:
            break
    assert got.status == 200, got.body
    name = got.json()["file"]["name"]
    assert (await send(gateway, "GET", f"/v1beta/{name}:download", GOOGLE)).body == PNG
    assert (await send(gateway, "POST", path, {"X-Goog-Upload-Command": "query"})).status == 401, "it is over"


async def test_only_its_id_opens_an_upload(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    path = await begin(gateway, 3)
    for wrong in (path[:-1], path + "x", "/upload/v1beta/files?upload_id=", "/upload/v1beta/files"):
        got = await send(gateway, "POST", wrong, WHOLE, b"abc")
        assert (got.status, got.json()["error"]["status"]) == (401, "UNAUTHENTICATED"), wrong
    got = await send(gateway, "POST", path[:-1], {**GOOGLE, **WHOLE}, b"abc")
    assert got.status == 404
    assert (await send(gateway, "GET", "/v1beta/files", {})).status == 401
    query = path.partition("?")[2]
    for method, other in (("GET", "/v1beta/files"), ("POST", f"/v1beta/models/{PUBLIC}:generateContent")):
        got = await send(gateway, method, f"{other}?{query}", {"Content-Type": "application/json"}, b"{}")
        assert got.status == 401, "it opens nothing else"
    gateway.sent += 1
    assert (await send(gateway, "POST", path, WHOLE, b"abc")).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({**START, "X-Goog-Upload-Header-Content-Length": "x"}, b"{}", "sizeBytes"),
        (START, b"[1]", "object"),
        (START, b"{", "JSON"),
        ({**START, "X-Goog-Upload-Header-Content-Type": "nonsense"}, b"{}", "mimeType"),
        ({"X-Goog-Upload-Protocol": "multipart"}, b"x", "X-Goog-Upload-Protocol"),
        ({}, b"x", "X-Goog-Upload-Protocol"),
    ],
)
async def test_a_wrong_beginning(
    headers: dict[str, str], body: bytes, words: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    got = await send(gateway, "POST", "/upload/v1beta/files", {**GOOGLE, **headers}, body)
    assert got.status == 400 and words in got.json()["error"]["message"], got.body
    assert got.json()["error"]["status"] == "INVALID_ARGUMENT"


async def test_a_wrong_leg_and_a_cancelled_upload(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for, state={"files": 5000})
    path = await begin(gateway, 3)
    for command in ("", "dance", "upload, dance"):
        got = await send(gateway, "POST", path, {"X-Goog-Upload-Command": command}, b"abc")
        assert got.status == 400, command
    assert (await send(gateway, "POST", path, WHOLE, b"ab")).status == 400
    assert (await send(gateway, "POST", path, {**WHOLE, "X-Goog-Upload-Offset": "2"}, b"cd")).status == 400
    got = await send(gateway, "POST", path, {"X-Goog-Upload-Command": "cancel"})
    assert got.header("x-goog-upload-status") == "cancelled"
    assert (await send(gateway, "POST", path, WHOLE, b"abc")).status == 401
    about = {**GOOGLE, **START, "X-Goog-Upload-Header-Content-Length": "5001"}
    got = await send(gateway, "POST", "/upload/v1beta/files", about, b"{}")
    assert got.status == 400 and "FILE_STORAGE_FULL" in got.body.decode()
    raw = {**GOOGLE, "X-Goog-Upload-Protocol": "raw", "Content-Type": "image/png"}
    got = await send(gateway, "POST", "/upload/v1beta/files", raw, PNG[:4000])
    assert got.status == 200 and got.json()["file"]["mimeType"] == "image/png"
    assert (await send(gateway, "POST", "/upload/v1beta/files", raw, PNG[:1001])).status == 400


def form(*parts: tuple[str, bytes]) -> tuple[dict[str, str], bytes]:
    body = b"".join(
        b"--bb\r\nContent-Disposition: form-data; " + h.encode() + b"\r\n\r\n" + c + b"\r\n" for h, c in parts
    )
    return {"Content-Type": "multipart/form-data; boundary=bb"}, body + b"--bb--\r\n"


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_form(dialect: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    signs = {"Authorization": f"Bearer {KEY}"}
    if dialect == "anthropic":
        signs = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}
    kind, body = form(('name="file"; filename="a.png"\r\nContent-Type: image/png', PNG), ('name="purpose"', b"vision"))
    got = await send(gateway, "POST", "/v1/files", {**signs, **kind}, body)
    assert got.status == 200, got.body
    file = got.json()
    if dialect == "openai":
        assert (file["object"], file["bytes"], file["filename"], file["purpose"]) == (
            "file",
            len(PNG),
            "a.png",
            "vision",
        )
        part: dict[str, Any] = {"type": "input_image", "file_id": file["id"]}
        asked = {"model": PUBLIC, "messages": [{"role": "user", "content": [part]}]}
        got = await gateway.post("/v1/chat/completions", asked, signs)
    else:
        assert (file["type"], file["size_bytes"], file["mime_type"]) == ("file", len(PNG), "image/png")
        part = {"type": "image", "source": {"type": "file", "file_id": file["id"]}}
        asked = {"model": PUBLIC, "max_tokens": 9, "messages": [{"role": "user", "content": [part]}]}
        got = await gateway.post("/v1/messages", asked, {"Authorization": "", **signs})
    assert got.status == 200, got.body
    url = wire.requests[-1].json()["messages"][0]["content"][0]["image_url"]["url"]
    assert b64decode(url.partition(",")[2]) == PNG
    path = f"/v1/files/{file['id']}"
    assert (await send(gateway, "GET", path, signs)).json() == file
    listed = (await send(gateway, "GET", "/v1/files?limit=1", signs)).json()
    assert listed["data"] == [file] and listed["has_more"] is False
    got = await send(gateway, "GET", f"{path}/content", signs)
    assert got.body == PNG and got.header("content-type") == "application/octet-stream"
    gone = (await send(gateway, "DELETE", path, signs)).json()
    assert gone["id"] == file["id"] and (gone.get("deleted") or gone["type"] == "file_deleted")
    got = await send(gateway, "GET", path, signs)
    assert got.status == 404 and (got.json().get("type") == "error") == (dialect == "anthropic")


async def test_fields_without_content_are_counted_too(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    file = ('name="file"; filename="a.png"', PNG)
    for most, status in ((32, 200), (33, 413)):
        kind, body = form(*((f'name="f{i}"', b"") for i in range(most)), file)
        got = await send(gateway, "POST", "/v1/files", {"Authorization": f"Bearer {KEY}", **kind}, body)
        assert got.status == status, got.body


@pytest.mark.parametrize("where", ["before", "between", "behind"])
async def test_what_means_nothing_in_a_form_has_an_end(where: str, upstreams: Upstreams, gateway_for: GatewayFor):
    """The file itself may be larger than all that stands around it."""
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    signs = {"Authorization": f"Bearer {KEY}"}
    for much, status in ((1000, 200), (AROUND, 413)):
        fields = [('name="same"', b"")] * (much // 55 if where == "between" else 0)
        kind, body = form(*fields, ('name="file"; filename="a.bin"', bytes(2 * AROUND)))
        body = {"before": bytes(much) + b"\r\n" + body, "between": body, "behind": body + bytes(much)}[where]
        got = await send(gateway, "POST", "/v1/files", {**signs, **kind}, body)
        assert got.status == status, (much, got.body)


@pytest.mark.parametrize(
    "parts",
    [
        [('name="purpose"', b"vision")],
        [('name="other"; filename="a"', b"x")],
        [('name="file"; filename="a"', b"x"), ('name="file"; filename="b"', b"y")],
    ],
)
async def test_a_wrong_form_leaves_nothing(
    parts: list[tuple[str, bytes]], upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await locked(wire, gateway_for)
    signs = {"Authorization": f"Bearer {KEY}"}
    kind, body = form(*parts)
    for given in (body, body[:-8]):
        got = await send(gateway, "POST", "/v1/files", {**signs, **kind}, given)
        assert got.status == 400 and got.error["type"] == "invalid_request_error", got.body
    assert (await send(gateway, "POST", "/v1/files", signs, b"x")).status == 400
    assert (await send(gateway, "GET", "/v1/files", signs)).json()["data"] == []


async def test_files_are_there_after_a_restart(upstreams: Upstreams, tmp_path: Path):
    [wire] = await upstreams()
    wire.answer(Json(answers.chat()))
    settings = config(wire, state={"dir": str(tmp_path)}, auth={"api_key_env": "K"})
    async with running(settings, wires=[wire], env={"K": KEY}) as gateway:
        file = await uploaded(gateway)
    async with running(settings, wires=[wire], env={"K": KEY}) as gateway:
        assert (await send(gateway, "GET", f"/v1beta/{file['name']}", GOOGLE)).json() == file
        assert (await send(gateway, "GET", f"/v1beta/{file['name']}:download", GOOGLE)).body == PNG
    # another key does not see it
    async with running(settings, wires=[wire], env={"K": "another-key"}) as gateway:
        other = {"x-goog-api-key": "another-key"}
        assert (await send(gateway, "GET", f"/v1beta/{file['name']}", other)).status == 404
        assert (await send(gateway, "GET", "/v1beta/files", other)).json() == {"files": []}
