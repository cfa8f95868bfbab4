"""Hostile input: every byte string that a client can send has an answer that is not 500, and reaches no upstream."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tests.faults.rawclient import json_request
from tests.faults.running import CHAT, PROMPT, PUBLIC, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HI = [{"role": "user", "content": "hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": PUBLIC, "messages": HI, **fields}).encode()


def raw(text: str) -> bytes:
    """A chat body with one more field, given as JSON text."""
    return b'{"model":"gemma-4","messages":[{"role":"user","content":"hi"}],' + text.encode() + b"}"


def messages(text: str) -> bytes:
    return b'{"model":"gemma-4","messages":' + text.encode() + b"}"


BAD_JSON: dict[str, bytes] = {
    "C19 nothing": b"",
    "C19 blank": b"  \r\n ",
    "C19 malformed": b'{"model": "gemma-4", "messages": [',
    "C19 an array": b"[]",
    "C19 a number": b"17",
    "C19 a string": b'"gemma-4"',
    "C19 null": b"null",
    "C19 two values": body() + body(),
    "C19 a trailing comma": raw('"seed": 1,'),
    "C19 single quotes": b"{'model': 'gemma-4'}",
    "C19 a form": b"model=gemma-4&messages=hi",
    "C20 100,000 arrays deep": messages("[" * 100_000 + "]" * 100_000),
    "C20 100,000 objects deep": raw('"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000),
    "C20 deep and open": b'{"a":' * 100_000,
    "C21 NaN": raw('"temperature": NaN'),
    "C21 Infinity": raw('"temperature": Infinity'),
    "C21 -Infinity": raw('"temperature": -Infinity'),
    "C22 1e400": raw('"temperature": 1e400'),
    "C22 1e400 in a field we do not know": raw('"vendor": {"x": [1e400]}'),
    "C23 5,000 digits": raw('"seed": ' + "9" * 5000),
    "C25 a lone surrogate": messages('[{"role":"user","content":"\\ud800"}]'),
    "C25 a lone surrogate in a key": raw('"\\udfff": 1'),
    "C25 invalid UTF-8": b'{"model":"gemma-4","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "C25 overlong UTF-8": b'{"model":"gemma-4","messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "C25 a control character": b'{"model":"gemma-4","messages":[{"role":"user","content":"a\x00b"}]}',
    "C26 UTF-16": body().decode().encode("utf-16"),
    "C26 UTF-16 without a mark": body().decode().encode("utf-16-le"),
    "C26 UTF-32": body().decode().encode("utf-32"),
}

BAD_FIELDS: dict[str, tuple[bytes, str | None]] = {
    "C27 no model": (b'{"messages":[{"role":"user","content":"hi"}]}', "model"),
    "C27 a model that is none": (body(model=5), "model"),
    "C27 a model that is null": (body(model=None), "model"),
    "C27 a model that is a list": (body(model=[PUBLIC]), "model"),
    "C27 no messages": (b'{"model":"gemma-4"}', "messages"),
    "C27 messages empty": (body(messages=[]), "messages"),
    "C27 messages a string": (body(messages=PROMPT), "messages"),
    "C27 a message a string": (body(messages=[PROMPT]), "messages[0]"),
    "C27 a message without a role": (body(messages=[{"content": PROMPT}]), "messages[0].role"),
    "C27 a role that is none": (body(messages=[{"role": "nobody", "content": "x"}]), "messages[0].role"),
    "C27 content a number": (body(messages=[{"role": "user", "content": 7}]), "messages[0].content"),
    "C27 a part a number": (body(messages=[{"role": "user", "content": [7]}]), "messages[0].content[0]"),
    "C27 a part without a type": (body(messages=[{"role": "user", "content": [{}]}]), "messages[0].content[0].type"),
    "C27 a part of an unknown type": (
        body(messages=[{"role": "user", "content": [{"type": "smell", "smell": PROMPT}]}]),
        "messages[0].content[0].type",
    ),
    "C27 a text that is none": (
        body(messages=[{"role": "user", "content": [{"type": "text", "text": {"a": PROMPT}}]}]),
        "messages[0].content[0].text",
    ),
    "C27 a role of 100,000 characters": (
        body(messages=[{"role": "r" * 100_000, "content": "x"}]),
        "messages[0].role",
    ),
    "C27 temperature a string": (body(temperature=PROMPT), "temperature"),
    "C27 stream a string": (body(stream="yes"), "stream"),
    "C27 tools a string": (body(tools=PROMPT), "tools"),
    "C27 a tool without a function": (body(tools=[{"type": "function"}]), "tools[0].function"),
    "C27 tool_choice a number": (body(tool_choice=5), "tool_choice"),
    "C27 response_format a list": (body(response_format=[]), "response_format"),
    "C27 stop a number": (body(stop=5), "stop"),
    "C29 n": (body(n=1_000_000), "n"),
    "C29 n negative": (body(n=-1), "n"),
    "C29 top_logprobs": (body(logprobs=True, top_logprobs=1_000_000), "top_logprobs"),
    "C29 max_tokens zero": (body(max_tokens=0), "max_tokens"),
    "C29 max_tokens negative": (body(max_tokens=-5), "max_tokens"),
    "C29 1,000 stops": (body(stop=[f"s{i}" for i in range(1000)]), "stop"),
    "C28 1,000 tools": (
        body(tools=[{"type": "function", "function": {"name": f"t{i}", "parameters": {}}} for i in range(1000)]),
        "tools",
    ),
    "C28 10,000 messages": (body(messages=HI * 10_000), "messages"),
    "C28 1,000 parts": (
        body(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}] * 1000}]),
        "messages[0].content",
    ),
}


@pytest.mark.parametrize("name", BAD_JSON)
async def test_what_is_no_json_object_is_400(name: str, shared: Running):
    [wire] = shared.wires
    start = time.process_time()  # what it costs, however long this process has to wait for its turn
    got = await shared.send(json_request(CHAT, BAD_JSON[name]))
    assert time.process_time() - start < 0.5
    assert got.status == 400, got
    assert got.error["code"] == "invalid_json", got.error
    assert not wire.requests
    assert (await shared.chat()).status == 200


@pytest.mark.parametrize("name", BAD_FIELDS)
async def test_a_field_that_is_wrong_is_named(name: str, shared: Running):
    [wire] = shared.wires
    data, param = BAD_FIELDS[name]
    start = time.process_time()  # what it costs, however long this process has to wait for its turn
    got = await shared.send(json_request(CHAT, data))
    assert time.process_time() - start < 0.5
    assert got.status == 400, got
    assert got.error["param"] == param, got.error
    assert len(got.body) < 2000
    assert not wire.requests


async def test_C24_of_a_key_that_stands_twice_one_value_holds_everywhere(shared: Running):
    [wire] = shared.wires
    twice = b'{"model":"nothing-like-this","messages":[{"role":"user","content":"hi"}],"model":"gemma-4"}'
    got = await shared.send(json_request(CHAT, twice))
    assert got.status == 200
    assert wire.requests[0].body.count(b'"model"') == 1
    assert wire.bodies[0]["model"] == wire.model


async def test_large_numbers_of_tokens_reach_no_server_as_such(shared: Running):
    got = await shared.chat(max_tokens=10**12)
    assert got.status in (200, 400), got


NAMES = [
    "../../admin",
    "..%2f..%2fadmin",
    "a\r\nX-Evil: y",
    "a\x00b",
    "",
    " ",
    "gemma-4 ",
    "GEMMA-4",
    "ｇｅｍｍａ-4",
    "gemma-4?key=1",
    "gemma-4#x",
    "gemma-4/../secret",
    "{{7*7}}",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "m" * 100_000,
    "‮4-ammeg",
    "*",
    "gemma-?",
    "one/tiny-gemma4",
    "__proto__",
    "constructor",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda n: repr(n[:20]))
async def test_C30_odd_model_names_are_unknown_models(name: str, shared: Running):
    [wire] = shared.wires
    got = await shared.send(json_request(CHAT, body(model=name)))
    assert got.status in ((400, 404) if len(name) > 256 or not name.strip() else (404,)), got
    if got.status == 404:
        assert got.error["code"] == "model_not_found"
    assert len(got.body) < 2000
    assert b"\x00" not in got.body and b"X-Evil" not in got.raw_head
    assert not wire.requests
    single = await shared.get("/v1/models/" + "".join(f"%{b:02x}" for b in name.encode()))
    assert single.status in (200, 400, 404, 414, 431), single
    metrics = await shared.metrics()
    assert set(metrics.labels("gateway_requests_total", "model")) <= {"other", PUBLIC}
    assert "X-Evil" not in "".join(line for line in shared.log.getvalue().splitlines() if line.startswith("X-Evil"))


async def test_C31_a_thousand_names_do_not_grow_the_metrics(shared: Running):
    [wire] = shared.wires
    await shared.chat(model="no-such-model")
    before = len((await shared.metrics()).samples)

    async def some(start: int) -> None:
        async with shared.client() as client:
            for k in range(start, start + 125):
                shared.sent += 1
                await client.send(json_request(CHAT, body(model=f"name-{k}")))
                assert (await client.read()).status == 404

    await asyncio.gather(*(some(k * 125) for k in range(8)))
    assert len((await shared.metrics()).samples) == before
    assert not wire.requests
