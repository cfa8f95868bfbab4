from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.demo import media
from gateway.demo.fixture import Fixture, digest, ensure, write

REPLY = "[fixture] I took it, and this sentence is all that ever comes back."
THOUGHT = "Nothing needs long pondering."
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_the_same_bytes_every_time_whatever_the_hash_seed(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    write(Fixture(REPLY, image=True, audio=True), here)
    program = (
        "import sys; from pathlib import Path; from gateway.demo.fixture import Fixture, write\n"
        f"write(Fixture({REPLY!r}, image=True, audio=True), Path(sys.argv[1]))"
    )
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run([sys.executable, "-c", program, str(there)], check=True, env={"PYTHONHASHSEED": "77"})
    assert files_of(here) == files_of(there)
    assert set(files_of(here)) == {"model.gguf", "mmproj.gguf"}


def test_a_text_fixture_has_no_projector(tmp_path: Path) -> None:
    model, mmproj = ensure(Fixture(REPLY), tmp_path)
    assert mmproj is None
    assert [p.name for p in model.parent.iterdir()] == ["model.gguf"]


def test_it_is_made_once_and_leaves_nothing_else_in_the_cache(tmp_path: Path) -> None:
    fixture = Fixture(REPLY, audio=True)
    model, mmproj = ensure(fixture, tmp_path)
    assert mmproj is not None
    made = model.stat().st_mtime_ns
    assert ensure(fixture, tmp_path) == (model, mmproj)
    assert model.stat().st_mtime_ns == made
    assert [p.name for p in tmp_path.iterdir()] == [f"fixture-{digest(fixture)}"]


def test_what_changes_the_fixture_changes_its_name() -> None:
    variants = [Fixture(REPLY), Fixture("[fixture] No."), Fixture(REPLY, "Hm."), Fixture(REPLY, image=True)]
    assert len({digest(f) for f in variants}) == len(variants)


def test_a_sentence_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long"):
        ensure(Fixture(" ".join(f"w{i}" for i in range(200))), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_demo_needs_no_numpy_and_no_wheel() -> None:
    program = (
        "import sys; sys.modules.update(numpy=None, gguf=None, xllamacpp=None)\n"
        "import gateway.demo.fixture, gateway.demo.run, gateway.worker.llamacpp"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- in a real server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(serve_fixture: Callable[[Fixture], httpx2.Client]) -> httpx2.Client:
    return serve_fixture(Fixture(REPLY, THOUGHT, image=True, audio=True))


def chat(server: httpx2.Client, content: Any = "Hello", *, thinks: bool = False, **more: Any) -> dict[str, Any]:
    body = {
        "messages": [{"role": "user", "content": content}],
        "chat_template_kwargs": {"enable_thinking": thinks},
        **more,
    }
    answer = server.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def message(answer: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = answer["choices"][0]["message"]
    return result


def finish(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["finish_reason"])


def data_url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@pytest.mark.real
@pytest.mark.parametrize("temperature", [0.0, 0.8, 2.0])
def test_it_says_its_sentence_and_stops(server: httpx2.Client, temperature: float) -> None:
    answer = chat(server, temperature=temperature)
    assert message(answer) == {"role": "assistant", "content": REPLY}
    assert finish(answer) == "stop"
    assert answer["usage"]["completion_tokens"] == len(REPLY.split()) + 1


@pytest.mark.real
def test_its_own_sentence_is_read_as_the_tokens_it_was_written_in(server: httpx2.Client) -> None:
    tokens = server.post("/tokenize", json={"content": REPLY, "with_pieces": True}).json()["tokens"]
    assert [t["piece"].strip() for t in tokens] == REPLY.split()


@pytest.mark.real
def test_it_takes_pictures_and_sound(server: httpx2.Client) -> None:
    plain = chat(server, [{"type": "text", "text": "What?"}])["usage"]["prompt_tokens"]
    picture = {"type": "image_url", "image_url": {"url": data_url("image/png", media.png())}}
    sound = {"type": "input_audio", "input_audio": {"format": "wav", "data": base64.b64encode(media.wav()).decode()}}
    for part in (picture, sound):
        answer = chat(server, [{"type": "text", "text": "What?"}, part])
        assert message(answer)["content"] == REPLY
        assert answer["usage"]["prompt_tokens"] > plain + 5, "it was really read"


@pytest.mark.real
def test_it_takes_video(server: httpx2.Client, needs_ffmpeg: None) -> None:
    video = {"type": "video_url", "video_url": {"url": data_url("video/mp4", media.mp4())}}
    answer = chat(server, [{"type": "text", "text": "What?"}, video])
    assert message(answer)["content"] == REPLY
    assert answer["usage"]["prompt_tokens"] > 50


@pytest.mark.real
def test_media_that_cannot_be_decoded_is_refused(server: httpx2.Client) -> None:
    part = {"type": "input_audio", "input_audio": {"format": "wav", "data": base64.b64encode(b"no sound").decode()}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert server.post("/v1/chat/completions", json=body).status_code == 400


@pytest.mark.real
@pytest.mark.parametrize(("image", "audio"), [(True, False), (False, True)])
def test_a_projector_for_one_sense_is_listed_as_that(
    serve_fixture: Callable[[Fixture], httpx2.Client], image: bool, audio: bool
) -> None:
    client = serve_fixture(Fixture(REPLY, image=image, audio=audio))
    listed = client.get("/v1/models").json()["data"][0]["architecture"]["input_modalities"]
    assert set(listed) == {"text", *(("image", "video") if image else ()), *(("audio",) if audio else ())}


@pytest.mark.real
def test_it_thinks_where_it_may(server: httpx2.Client) -> None:
    assert message(chat(server, thinks=True)) == {
        "role": "assistant",
        "content": REPLY,
        "reasoning_content": THOUGHT,
    }


@pytest.mark.real
def test_it_calls_a_tool_when_it_must(server: httpx2.Client) -> None:
    answer = chat(server, tools=[WEATHER], tool_choice="required")
    (call,) = message(answer)["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert finish(answer) == "tool_calls"


@pytest.mark.real
def test_it_speaks_on_after_a_tool_result(server: httpx2.Client) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]
    answer = chat(server, messages=turns, tools=[WEATHER])
    assert message(answer)["content"] == REPLY


@pytest.mark.real
def test_a_bias_makes_it_call_by_its_own_choice(server: httpx2.Client) -> None:
    answer = chat(server, tools=[WEATHER], logit_bias=[["<|tool_call>", 100]])
    assert message(answer)["tool_calls"][0]["function"]["name"] == "get_weather"


@pytest.mark.real
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}, {"city": "Paris"}),
        (
            {
                "type": "object",
                "properties": {
                    "n": {"type": "integer"},
                    "ok": {"type": "boolean"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "inner": {
                        "type": "object",
                        "properties": {"color": {"enum": ["red", "green"]}},
                        "required": ["color"],
                    },
                },
                "required": ["n", "ok", "tags", "inner"],
                "additionalProperties": False,
            },
            {"n": 1, "ok": False, "tags": ["Paris"], "inner": {"color": "green"}},
        ),
        ({"type": "object"}, {"Paris": "Paris"}),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1, 1]),
    ],
)
def test_it_closes_json(server: httpx2.Client, schema: dict[str, Any], value: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    for _ in range(2):
        answer = chat(server, response_format=wanted, max_tokens=200)
        assert json.loads(message(answer)["content"]) == value
        assert finish(answer) == "stop"


@pytest.mark.real
def test_it_goes_on_for_as_long_as_it_is_told(server: httpx2.Client) -> None:
    answer = chat(server, ignore_eos=True, max_tokens=1500)
    assert answer["usage"]["completion_tokens"] == 1500
    assert finish(answer) == "length"
    assert message(answer)["content"].startswith(f"{REPLY} {REPLY} [fixture]")
