from base64 import b64encode

import msgspec
import pytest

from gateway import errors
from gateway.backends import Discovery, Load, Reply, load, run_probe
from gateway.canonical.content import Audio, Image, Media, Message, Text, Thinking, ToolCall, ToolResult, Video
from gateway.canonical.events import End, Fault, Folder, fold
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import Chat, CountTokens, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.errors import PartRefused, UnsupportedParameter
from tests.backends.recorded import body_of, exchange, reply

BACKEND = load("mlx_vlm")
TARGET = Target("mac", "mlx_vlm", "mlx-community/gemma-4-12B-it-4bit")
FACTS = layer(("probed", Facts(image=True, audio=True, video=True, tools=True)), ("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
BASE = {
    "model": TARGET.model,
    "messages": [{"role": "user", "content": "x"}],
    "enable_thinking": False,
    "stream": True,
    "stream_options": {"include_usage": True},
    "context_management": [],
}
TOOLS = [Tool("a"), Tool("b")]
RENDERED = [{"type": "function", "function": {"name": n}} for n in "ab"]
PNG = Media("image/png", base64="iVBORw0KGgo=")
WAV = Media("audio/wav", base64="UklGRgAAAABXQVZF")


def box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def mp4(*handlers: bytes) -> Media:
    tracks = b"".join(box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + h + bytes(12)))) for h in handlers)
    data = box(b"ftyp", b"isom" + bytes(8)) + box(b"mdat", b"soun") + box(b"moov", tracks)
    return Media("video/mp4", base64=b64encode(data).decode())


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


def build(request):
    return BACKEND.build(request, TARGET, FACTS)


BUILT = [
    (chat(), BASE),
    (chat(stream=True), BASE),
    (
        chat(thinking=ThinkingConfig(True, "high", budget=9)),
        {**BASE, "enable_thinking": True, "thinking_budget": 9, "reasoning_effort": "high"},
    ),
    (chat(sampling=Sampling(stop=["x"], max_tokens=3, top_k=4)), {**BASE, "max_tokens": 3, "top_k": 4}),
    (chat(tools=TOOLS, tool_choice=ToolChoice("none")), {**BASE, "tools": RENDERED, "tool_choice": "none"}),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"])),
        {**BASE, "tools": RENDERED, "tool_choice": {"type": "function", "function": {"name": "b"}}},
    ),
    (chat(logprobs=True, top_logprobs=2), {**BASE, "logprobs": True, "top_logprobs": 2}),
    (
        chat(
            messages=[Message("user", [Text(" a"), Text("b "), Image(PNG), Text("c"), Audio(WAV), Video(mp4(b"vide"))])]
        ),
        {
            **BASE,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": " a\nb "},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                        {"type": "text", "text": "c"},
                        {"type": "input_audio", "input_audio": {"data": WAV.base64, "format": "wav"}},
                        {
                            "type": "video_url",
                            "video_url": {"url": f"data:video/mp4;base64,{mp4(b'vide').base64}"},
                        },
                    ],
                }
            ],
        },
    ),
    (
        chat(messages=[USER, Message("assistant", [Thinking("hm"), Text("ok")])]),
        {
            **BASE,
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "ok", "reasoning_content": "hm"},
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    call = build(request_)
    assert body_of(call) == expected
    assert call.streamed
    assert call.fates == {}


def test_what_would_change_the_server_is_never_sent() -> None:
    extra = {
        "openai": {"adapter_path": "/x", "tool_parser": "y", "context_management": [{}], "chat_template_kwargs": {}}
    }
    call = build(chat(extra=extra))
    assert call.dropped == list(extra["openai"])
    assert body_of(call) == BASE


@pytest.mark.parametrize("url", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x.png", "relative.png", "~/x"])
@pytest.mark.parametrize("part", [Image, Audio, Video])
def test_no_path_and_no_url_ever_reaches_it(url: str, part: type) -> None:
    with pytest.raises(PartRefused) as caught:
        build(chat(messages=[Message("user", [part(Media(url=url), path="messages[0].content[0]")])]))
    assert caught.value.param == "messages[0].content[0]"


def test_it_would_have_read_them() -> None:
    for name in ("err_image_file_url", "err_image_http_loopback"):
        assert b"Failed to load image from" in reply(f"mlx_vlm/{name}").body


@pytest.mark.parametrize(
    "message",
    [
        Message("system", [Image(PNG, path="here")]),
        Message("assistant", [Text("x"), Image(PNG, path="here")]),
        Message("tool", [ToolResult("c", [Text("x"), Image(PNG, path="here")])]),
    ],
)
def test_media_that_it_would_drop_are_refused(message: Message) -> None:
    with pytest.raises(PartRefused) as caught:
        build(chat(messages=[USER, message, USER]))
    assert caught.value.param == "here"


def test_sound_and_video_that_it_moves_are_told() -> None:
    first = Message("user", [Text("a"), Audio(WAV), Video(mp4(b"vide", b"soun")), Image(PNG)])
    last = Message("user", [Audio(WAV), Video(mp4(b"soun"))])
    call = build(chat(messages=[first, Message("assistant", [Text("ok")]), last]))
    assert call.fates == {1: "audio>last_turn", 2: "video>last_turn,sound=dropped", 6: "video,sound=dropped"}


@pytest.mark.parametrize(("request_", "param"), [(chat(choices=2), "n")])
def test_what_it_would_ignore_is_refused(request_, param: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        build(request_)
    assert caught.value.param == param


def test_facts_of_what_was_seen_to_be_ignored() -> None:
    for name, field in (("n2", "n"), ("stop_seq", "stop"), ("tools_required", "tool_choice")):
        got = exchange(f"mlx_vlm/{name}")
        assert field in got.request
        (choice,) = msgspec.json.decode(got.reply.body)["choices"]
        assert choice["message"]["tool_calls"] is None
        if field == "stop":
            assert "tiny" in choice["message"]["content"]
    thinking = exchange("mlx_vlm/thinking")
    assert thinking.request["chat_template_kwargs"] == {"enable_thinking": True}
    assert msgspec.json.decode(thinking.reply.body)["choices"][0]["message"]["reasoning"] is None


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_answer_ends_at_the_stop_text(size: int) -> None:
    data = reply("mlx_vlm/stream").body
    decoder = BACKEND.decoder(chat(sampling=Sampling(stop=["tiny"])))
    folder = Folder()
    for at in range(0, len(data), size):
        folder.feed(decoder.feed(data[at : at + size]))
    assert folder.ended
    assert folder.answer.choices[0].parts == [Text("Hello! I am a ")]


def test_streams() -> None:
    events = BACKEND.decoder(chat()).feed(reply("mlx_vlm/tools_call_stream").body)
    assert isinstance(events[-1], End)
    answer = fold(events)
    (choice,) = answer.choices
    assert choice.finish == "tool_calls"
    call = choice.parts[-1]
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("get_weather", '{"days": 3}')
    thought = fold(BACKEND.decoder(chat()).feed(reply("mlx_vlm/thinking_stream").body)).choices[0].parts
    assert [type(p) for p in thought] == [Text]  # chat_template_kwargs did nothing there


def test_an_error_in_a_stream() -> None:
    (fault,) = BACKEND.decoder(chat()).feed(b'data: {"error": "Failed to load image from /home/me/x.png"}\n\n')
    assert isinstance(fault, Fault)
    assert fault.code == "invalid_value"
    assert "/home" not in fault.message


REFUSED = [
    ("err_unknown_model", errors.ModelGone),
    ("err_bad_image", errors.UpstreamRefused),
    ("err_bad_audio", errors.UpstreamRefused),
    ("err_bad_video", errors.UpstreamRefused),
    ("video_frames_jpeg_dataurl", errors.UpstreamRefused),
    ("err_bad_schema", errors.UpstreamRefused),
    ("err_context_too_long", errors.ContextTooLong),
    ("err_stream_context_too_long", errors.ContextTooLong),
    ("err_invalid_json", errors.UpstreamRefused),
    ("err_404", errors.ModelGone),
    ("err_no_model", errors.UpstreamRefused),
    ("err_image_file_url", errors.UpstreamRefused),
    ("err_image_http_loopback", errors.UpstreamRefused),
    ("err_unknown_part", errors.UpstreamRefused),
    ("err_empty_messages", errors.UpstreamRefused),
    ("err_bad_role", errors.UpstreamRefused),
    ("err_temp_string", errors.UpstreamRefused),
    ("completions", errors.ModelGone),
    ("embeddings", errors.UpstreamRefused),
    ("json_schema", errors.UpstreamError),
    ("json_object", errors.UpstreamError),
]
SECRETS = ("127.0.0.1", "/etc/", "http://", "BytesIO object at", "9j/4AAQ")


@pytest.mark.parametrize(("name", "expected"), REFUSED)
def test_recorded_errors(name: str, expected: type) -> None:
    got = reply(f"mlx_vlm/{name}")
    assert got.status >= 400
    error = BACKEND.refusal(got.status, got.headers, got.body)
    assert type(error) is expected
    assert error.message
    assert not any(s in error.message for s in SECRETS)


@pytest.mark.parametrize("name", ["image", "input_audio", "input_audio_mp3", "video_url", "all_modalities"])
def test_what_it_takes(name: str) -> None:
    assert reply(f"mlx_vlm/{name}").status == 200


def test_counting() -> None:
    messages = [
        Message("system", [Text("be kind")]),
        USER,
        Message("assistant", [ToolCall("c", "a", "{}")]),
        Message("tool", [ToolResult("c", [Text("ok")])]),
    ]
    request = CountTokens(chat(messages=messages, tools=TOOLS, sampling=Sampling(max_tokens=3)))
    call = BACKEND.count(request, TARGET, FACTS)
    assert call is not None
    assert call.path == "/v1/responses/input_tokens"
    assert body_of(call) == {
        "model": TARGET.model,
        "input": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
        ],
        "enable_thinking": False,
        "tools": RENDERED,
    }
    assert BACKEND.read_count({"input_tokens": 7}) == 7
    heard = CountTokens(chat(messages=[Message("user", [Audio(WAV)])]))
    assert BACKEND.count(heard, TARGET, FACTS) is None


def probe(*replies: Reply) -> Discovery:
    return run_probe(BACKEND.probe(), iter(replies))


def test_probe() -> None:
    found = probe(reply("mlx_vlm/health"))
    assert (found.state, found.version) == ("ready", "0.7.10")
    (model,) = found.models
    assert model.id == "models/hf-tied"
    assert model.facts == Facts(context=8192, tools=True, version="0.7.10")


def health(**fields) -> Reply:
    told = msgspec.json.decode(reply("mlx_vlm/health").body)
    return Reply(200, {"server": "mlx_vlm/0.7.10"}, msgspec.json.encode(told | fields))


def test_probe_without_a_model_or_a_parser() -> None:
    found = probe(health(loaded_model=None))
    assert (found.state, found.models) == ("down", [])
    assert "no model loaded" in found.detail
    facts = probe(health(loaded_tool_parser=None, loaded_model="/m/gemma-4-12B-it-8bit")).models[0].facts
    assert (facts.tools, facts.forced_tool, facts.quantization) == (False, "ignored", "mlx-8bit")


def test_probe_of_something_else() -> None:
    for replies in ((Reply(0),), (Reply(401, body=b'{"detail":"Invalid API key"}'),)):
        assert probe(*replies).state == "down"
    assert "key" in probe(Reply(401)).detail
    assert probe(Reply(200, body=b'{"status":"ok"}'), reply("llamacpp/models")).state == "down"


def test_busy() -> None:
    assert run_probe(BACKEND.busy("m"), iter([reply("mlx_vlm/metrics")])) == Load(0, 0)
    busy = b'{"summary":{"in_flight":5},"server":{"request_queue_depth":2}}'
    assert run_probe(BACKEND.busy("m"), iter([Reply(200, body=busy)])) == Load(3, 2)
    for other in (b"{}", b"[]", b"# HELP x", b'{"summary":[],"server":1}'):
        assert run_probe(BACKEND.busy("m"), iter([Reply(200, body=other)])) is None


def test_claims() -> None:
    assert BACKEND.claims(reply("mlx_vlm/models"))
    assert BACKEND.claims(Reply(401, {"server": "mlx_vlm/0.7.10"}))
    assert BACKEND.claims(Reply(200, {}, reply("mlx_vlm/models").body))
    for other in ("llamacpp/models", "vllm/models", "mlx_lm/models"):
        assert not BACKEND.claims(reply(other))
