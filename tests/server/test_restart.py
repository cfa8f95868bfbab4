"""What outlives a request outlives the process, also one that is killed, and stays its key's own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.conftest import Upstreams
from tests.faults import rawclient
from tests.faults.process import Process, process
from tests.faults.rawclient import Response, request_bytes
from tests.server.test_signatures import SCHEMA, SIGNATURE, hosted

MINE, OTHER = "the-first-key", "another-key"
FORM = (
    b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
    b"kept text\r\n--B--\r\n"
)


async def asked(gateway: Process, key: str, path: str, body: Any = None) -> Response:
    headers = {"Authorization": f"Bearer {key}"}
    if body is None:
        return await rawclient.send(gateway.url, request_bytes("GET", path, headers))
    if isinstance(body, bytes):
        headers["content-type"] = "multipart/form-data; boundary=B"
        return await rawclient.send(gateway.url, request_bytes("POST", path, headers, body))
    return await rawclient.send(gateway.url, rawclient.json_request(path, body, headers))


async def test_files_answers_and_signatures_after_a_kill(upstreams: Upstreams, tmp_path: Path):
    [wire] = await upstreams(kind="openai")
    state = {"dir": str(tmp_path / "state")}
    settings = {**hosted(wire), "state": state, "auth": {"api_key_env": "K"}}
    tools = [{"type": "function", "name": "weather", "parameters": SCHEMA}]
    async with process(tmp_path / "gateway.yaml", settings, env={"K": MINE}) as gateway:
        file = (await asked(gateway, MINE, "/v1/files", FORM)).json()
        first = (await asked(gateway, MINE, "/v1/responses", {"model": "m", "input": "hi", "tools": tools})).json()
        # what was said to be kept is on disk a moment later: the next answer comes after it
        assert (await asked(gateway, MINE, f"/v1/responses/{first['id']}")).status == 200
        for _ in range(500):
            if sum(p.is_file() and not p.suffix for p in (tmp_path / "state").rglob("??/*")) >= 2:
                break
            await asked(gateway, MINE, "/v1/models")
        gateway.send(signal.SIGKILL)
        await gateway.ended()
    assert first["output"][0]["type"] == "function_call"
    paths = (f"/v1/files/{file['id']}", f"/v1/responses/{first['id']}", f"/v1/responses/{first['id']}/input_items")
    result = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "20"}
    later = {"model": "m", "input": [result], "tools": tools, "previous_response_id": first["id"]}
    async with process(tmp_path / "gateway.yaml", settings, env={"K": MINE}) as gateway:
        assert [(await asked(gateway, MINE, path)).status for path in paths] == [200] * 3
        assert (await asked(gateway, MINE, paths[1])).json() == first
        assert (await asked(gateway, MINE, f"{paths[0]}/content")).body == b"kept text"
        got = await asked(gateway, MINE, "/v1/responses", later)
        assert got.status == 200, got.body
    call = wire.requests[-1].json()["contents"][1]["parts"][0]
    assert call["functionCall"]["name"] == "weather" and call["thoughtSignature"] == SIGNATURE
    async with process(tmp_path / "gateway.yaml", settings, env={"K": OTHER}) as gateway:
        assert [(await asked(gateway, OTHER, path)).status for path in paths] == [404] * 3
        assert (await asked(gateway, OTHER, "/v1/responses", later)).error["code"] == "previous_response_not_found"
        assert (await asked(gateway, OTHER, "/v1/files")).json()["data"] == []
