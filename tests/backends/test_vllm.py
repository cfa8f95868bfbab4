import re

import msgspec
import pytest

from gateway.backends import Call, Discovery, Load, Reply, load, run_probe
from gateway.backends.wire.samples import MP4
from gateway.canonical.content import Audio, Image, Media, Message, Text, Thinking, ToolCall, ToolResult, Video
from gateway.canonical.facts import Facts, Finding, Target, layer
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    Options,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)
from gateway.errors import BadRequest, UnsupportedParameter
from tests.backends.recorded import body_of, exchange, reply
from tests.canonical.media.test_tracks import FTYP, SOUND, VIDEO, box

HEARD = Media("video/mp4", octets=FTYP + box(b"moov", VIDEO + SOUND))
BACKEND = load("vllm")
TARGET = Target("gpu", "vllm", "nvidia/Gemma-4-31B-IT-NVFP4")
FACTS = layer(("probed", Facts(image=True, audio=True, video=True)), ("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
OFF = {"enable_thinking": False}
BASE = {"model": TARGET.model, "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": OFF}
TOOLS = [Tool("a"), Tool("b")]
RENDERED = [{"type": "function", "function": {"name": n}} for n in "ab"]


def chat(**fields) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


def body(request, facts=FACTS):
    return body_of(BACKEND.build(request, TARGET, facts))


BUILT = [
    (chat(), BASE),
    (chat(stream=True), {**BASE, "stream": True, "stream_options": {"include_usage": True}}),
    (chat(tools=[], tool_choice=ToolChoice("auto")), BASE),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("named", ["b"])),
        {**BASE, "tools": RENDERED, "tool_choice": {"type": "function", "function": {"name": "b"}}},
    ),
    (
        chat(tools=TOOLS, tool_choice=ToolChoice("auto", ["b"])),
        {**BASE, "tools": RENDERED[1:], "tool_choice": "auto"},
    ),
    (
        chat(thinking=ThinkingConfig(True, "high")),
        {**BASE, "chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"},
    ),
    (chat(thinking=ThinkingConfig(False, "none")), BASE),
    (chat(thinking=ThinkingConfig(True, include=False)), {**BASE, "chat_template_kwargs": {"enable_thinking": True}}),
    (
        chat(messages=[USER, Message("assistant", [Text("The")])], prefill=True),
        {
            **BASE,
            "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "The"}],
            "continue_final_message": True,
            "add_generation_prompt": False,
        },
    ),
    (chat(extra={"openai": {"guided_regex": "a+"}}), {**BASE, "structured_outputs": {"regex": "a+"}}),
    (
        chat(output=OutputFormat("json_object"), sampling=Sampling(top_k=2, repetition_penalty=1.1)),
        {**BASE, "response_format": {"type": "json_object"}, "top_k": 2, "repetition_penalty": 1.1},
    ),
    (
        chat(
            messages=[
                Message("assistant", [Thinking("hm"), ToolCall("c", "f", "{}")]),
                Message("tool", [ToolResult("c", [Text("ok")])]),
            ]
        ),
        {
            **BASE,
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning": "hm",
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "ok"},
            ],
        },
    ),
    (
        chat(
            messages=[
                Message(
                    "user",
                    [
                        Image(Media("image/webp", base64="AAAA")),
                        Audio(Media("audio/mp4", base64="AAAA")),
                        Audio(Media("audio/webm", base64="AAAA")),
                        Video(Media("video/quicktime", base64="AAAA")),
                    ],
                )
            ]
        ),
        {
            **BASE,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
                        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "m4a"}},
                        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "webm"}},
                        {"type": "video_url", "video_url": {"url": "data:video/quicktime;base64,AAAA"}},
                    ],
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("request_", "expected"), BUILT)
def test_bodies(request_: Chat, expected: dict) -> None:
    assert body(request_) == expected


def test_one_constraint_at_a_time() -> None:
    both = {"openai": {"guided_regex": "a", "structured_outputs": {"choice": ["a"]}}}
    with pytest.raises(BadRequest):
        body(chat(extra=both))
    with pytest.raises(BadRequest):
        body(chat(extra={"openai": {"guided_choice": ["a"]}}, output=OutputFormat("json_object")))
    with pytest.raises(UnsupportedParameter):
        body(chat(extra={"openai": {"grammar": "x"}}))


@pytest.mark.parametrize(
    ("choice", "written", "other"),
    [
        (ToolChoice("required"), "call:a.b-c{x:1}", "call:aXb-c{}"),
        (ToolChoice("required", ["g"]), "call:g{}", "call:a.b-c{}"),
        (ToolChoice("named", ["a.b-c"]), "call:a.b-c{}", "call:g{}"),
    ],
)
def test_a_call_of_gemma_4_is_forced_by_what_it_may_write(choice: ToolChoice, written: str, other: str) -> None:
    request = chat(tools=[Tool("a.b-c"), Tool("g")], tool_choice=choice)
    sent = body(request, Facts(family="gemma4"))
    assert "tool_choice" not in sent and sent["tools"]
    regex = sent["structured_outputs"]["regex"]
    assert re.fullmatch(regex, f"<|tool_call>{written}<tool_call|>")
    assert not re.fullmatch(regex, f"<|tool_call>{other}<tool_call|>") and not re.fullmatch(regex, "It is sunny.")
    assert "structured_outputs" not in body(request), "any other family"
    request.output = OutputFormat("json_object")
    call = BACKEND.build(request, TARGET, Facts(family="gemma4"))
    assert call.dropped == ["response_format"] and body_of(call) == sent


def test_what_is_not_sent_is_named() -> None:
    extra = {"openai": {"mm_processor_kwargs": {"max_soft_tokens": 70}, "skip_special_tokens": True}}
    call = BACKEND.build(chat(extra=extra, thinking=ThinkingConfig(True, budget=9)), TARGET, FACTS)
    assert call.dropped == ["mm_processor_kwargs", "skip_special_tokens", "thinking_budget"]


def test_completions() -> None:
    request = Completion("m", ["a", "b"], suffix="c", extra={"openai": {"guided_choice": ["x"]}})
    assert body(request) == {
        "model": TARGET.model,
        "prompt": ["a", "b"],
        "suffix": "c",
        "structured_outputs": {"choice": ["x"]},
    }


def test_counting() -> None:
    request = CountTokens(chat(tools=TOOLS, prefill=True, sampling=Sampling(max_tokens=3)))
    call = BACKEND.count(request, TARGET, FACTS)
    assert call is not None
    assert call.path == "/tokenize"
    sent = {**BASE, "tools": RENDERED, "continue_final_message": True, "add_generation_prompt": False}
    assert body_of(call) == sent
    assert BACKEND.read_count(msgspec.json.decode(reply("vllm/tokenize_chat").body)) == 14


class Server:
    """Answers a probe from recorded replies, by what is asked; keeps what was asked."""

    def __init__(self, **replies: Reply) -> None:
        self.replies = {
            "text": reply("vllm/tokenize_chat"),
            "embeddings": reply("vllm/embeddings"),
            "transcriptions": reply("vllm/transcriptions"),
            "rerank": reply("vllm/transcriptions"),
            "server_info": reply("vllm/err_404"),
            "knobs": reply("vllm/mm_processor_kwargs"),
            **replies,
        }
        self.asked: list[str] = []

    def __call__(self, call: Call) -> Reply:
        what = call.path.rsplit("/", 1)[-1].partition("?")[0]
        if what == "tokenize" and "media_io_kwargs" in body_of(call):
            what = "knobs"
        elif what == "tokenize":
            content = body_of(call)["messages"][0]["content"]
            what = content[0]["type"].removesuffix("_url").removeprefix("input_")
            assert len(content) == (1 if what == "text" else 2)
        self.asked.append(what)
        return self.replies[what]

    def probe(self) -> Discovery:
        steps = BACKEND.probe()
        call = next(steps)
        try:
            while True:
                call = steps.send(self(call))
        except StopIteration as stop:
            return stop.value


COUNTED = reply("vllm/tokenize_chat")
NO_PARSER = reply("vllm/imgonly_err_tools_auto_not_enabled")
TRUSTS = Reply(
    400,
    body=b'{"error":{"message":"Chat template is passed with request, but --trust-request-chat-template is not set.",'
    b'"type":"BadRequestError","param":null,"code":400}}',
)
BASIC = {"models": reply("vllm/models"), "version": reply("vllm/version"), "completions": TRUSTS}


def test_probe_of_a_server_that_takes_all() -> None:
    server = Server(**BASIC, image=COUNTED, audio=reply("vllm/err_two_audio"), video=COUNTED)
    found = server.probe()
    assert server.asked == [
        *("models", "version", "server_info", "text", "image", "audio", "video", "knobs", "completions", "embeddings"),
        *("transcriptions", "rerank"),
    ]
    assert (found.state, found.version) == ("ready", "0.32.0")
    (model,) = found.models
    assert (model.id, model.aliases, model.root) == ("tiny-gemma4", ["gemma-alias"], "models/hf-tiny")
    assert model.facts == Facts(
        operations=frozenset({"chat", "completion", "count_tokens"}),
        image=True,
        audio=True,
        video=True,
        audio_limit=1,
        media_knobs=False,
        tools=True,
        context=2048,
        counts=True,
        version="0.32.0",
    )


def server_info(quantization: object, gpus: object) -> Reply:
    """As its source writes it: only in development mode."""
    told = {
        "vllm_config": {"model_config": {"model": "x", "quantization": quantization}},
        "vllm_env": {},
        "system_env": {"nvidia_gpu_models": gpus},
    }
    return Reply(200, body=msgspec.json.encode(told))


@pytest.mark.parametrize(
    ("quantization", "gpus", "expected"),
    [
        ("modelopt_fp4", "GPU 0: NVIDIA B200\nGPU 1: NVIDIA B200", ("nvfp4", "blackwell")),
        ("awq_marlin", "GPU 0: NVIDIA H100 80GB HBM3", ("awq", "hopper")),
        ("compressed-tensors", "GPU 0: NVIDIA B200\nGPU 1: NVIDIA L4", (None, None)),
        (None, None, (None, None)),
        (["x"], 3, (None, None)),
    ],
)
def test_development_mode_tells_more(quantization: object, gpus: object, expected: tuple) -> None:
    replies = BASIC | {"server_info": server_info(quantization, gpus)}
    facts = Server(**replies, image=COUNTED, audio=COUNTED, video=COUNTED).probe().models[0].facts
    assert (facts.quantization, facts.hardware) == expected
    assert Server(**BASIC, image=COUNTED, audio=COUNTED, video=COUNTED).probe().models[0].facts.quantization is None


@pytest.mark.parametrize("told", [b"[]", b"{}", b'{"vllm_config":"text","system_env":[]}'])
def test_development_mode_in_another_shape(told: bytes) -> None:
    replies = BASIC | {"server_info": Reply(200, body=told)}
    facts = Server(**replies, image=COUNTED, audio=COUNTED, video=COUNTED).probe().models[0].facts
    assert (facts.quantization, facts.hardware) == (None, None)


PARSERS = "start it with --enable-auto-tool-choice --tool-call-parser gemma4 --reasoning-parser gemma4"
NAMES = {k: f"vllm.v1.attention.backends.{k}.Backend" for k in ("flash_attn", "flashinfer", "triton_attn")}


def found_with(told: bytes, *, completions: Reply | None = None, root: str = "google/gemma-4-31B-it") -> list[Finding]:
    card = {"id": "g", "owned_by": "vllm", "root": root, "max_model_len": 4096}
    listed = Reply(200, body=msgspec.json.encode({"object": "list", "data": [card]}))
    replies = BASIC | {"models": listed, "server_info": Reply(200, body=told)}
    if completions is not None:
        replies["completions"] = completions
    return Server(**replies, image=COUNTED, audio=Reply(400), video=COUNTED).probe().findings


def config(**parts: object) -> bytes:
    return msgspec.json.encode({"vllm_config": parts, "vllm_env": {}})


def test_one_that_was_started_well_says_so_in_development_mode() -> None:
    """What 0.32 says of itself, of which these parts are read."""
    told = reply("vllm/server_info").body
    assert found_with(told) == []
    bare = told.replace(b'"reasoning_parser":"gemma4"', b'"reasoning_parser":""')
    assert [f.code for f in found_with(bare)] == ["no-reasoning-parser"]


def test_a_gemma_4_without_its_parsers() -> None:
    told = config(structured_outputs_config={"reasoning_parser": "", "backend": "auto"})
    assert [(f.code, f.model, f.fix) for f in found_with(told, completions=NO_PARSER)] == [
        ("no-tool-parser", "g", PARSERS),
        ("no-reasoning-parser", "g", "start it with --reasoning-parser gemma4"),
    ]
    assert found_with(config(structured_outputs_config={"reasoning_parser": "gemma4"})) == []
    assert found_with(b"{}") == [], "who does not run in development mode does not tell"
    assert found_with(told, completions=NO_PARSER, root="Qwen/Qwen3-8B") == []


@pytest.mark.parametrize(
    ("attention", "gpus", "said"),
    [
        ({"backend": NAMES["flashinfer"]}, "", "FLASHINFER"),
        ({"backend": "FLASHINFER"}, "", "FLASHINFER"),
        ({"backend": NAMES["flash_attn"], "flash_attn_version": 2}, "", "FlashAttention 2"),
        ({"backend": None, "flash_attn_version": 3}, "GPU 0: NVIDIA H100", "FlashAttention 3"),
        ({"backend": NAMES["flash_attn"], "flash_attn_version": None}, "GPU 0: NVIDIA L40S", "FLASH_ATTN"),
        ({"backend": NAMES["flash_attn"], "flash_attn_version": None}, "GPU 0: NVIDIA H100 80GB HBM3", None),
        ({"backend": NAMES["flash_attn"], "flash_attn_version": 4}, "GPU 0: NVIDIA B200", None),
        ({"backend": NAMES["triton_attn"], "flash_attn_version": None}, "", None),
        ({"backend": None, "flash_attn_version": None}, "", None),
        ("text", "", None),
    ],
    ids=str,
)
def test_attention_that_was_chosen_by_hand(attention: object, gpus: str, said: str | None) -> None:
    told = {"vllm_config": {"attention_config": attention}, "system_env": {"nvidia_gpu_models": gpus}}
    found = found_with(msgspec.json.encode(told))
    assert [f.code for f in found] == (["attention-override"] if said else [])
    assert all(f"set to {said}:" in f.text and "--attention-backend" in f.fix for f in found)


def test_attention_of_an_old_version() -> None:
    [found] = found_with(b'{"vllm_env":{"VLLM_ATTENTION_BACKEND":"FLASHINFER"}}')
    assert found.code == "attention-override" and "VLLM_ATTENTION_BACKEND" in found.fix


def test_media_knobs_only_where_the_server_trusts() -> None:
    for answer, known in ((COUNTED, True), (reply("vllm/mm_processor_kwargs"), False), (Reply(500), None)):
        server = Server(**BASIC, image=COUNTED, audio=COUNTED, video=COUNTED, knobs=answer)
        assert server.probe().models[0].facts.media_knobs is known
    blind = Server(**BASIC, image=Reply(400), audio=COUNTED, video=Reply(400))
    blind.probe()
    assert "knobs" not in blind.asked
    knobs = {"mm_processor_kwargs": {"max_soft_tokens": 70}, "media_io_kwargs": {"video": {"num_frames": 8}}}
    request = chat(extra={"openai": knobs})
    assert BACKEND.build(request, TARGET, FACTS).dropped == list(knobs)
    trusted = BACKEND.build(request, TARGET, layer(("probed", Facts(media_knobs=True)), ("family", FACTS)))
    assert body_of(trusted) == BASE | knobs
    assert trusted.dropped == []


NO_ROUTE = reply("vllm/transcriptions")


@pytest.mark.parametrize("answer", [Reply(400), Reply(422), Reply(415)])
def test_a_server_that_is_made_for_sounds(answer: Reply) -> None:
    """What its model does not do has no route: Whisper's does not chat."""
    server = Server(**(BASIC | {"completions": NO_ROUTE}), text=NO_ROUTE, transcriptions=answer)
    assert server.probe().models[0].facts.operations == {"transcription", "translation"}
    both = Server(**BASIC, image=COUNTED, audio=COUNTED, video=COUNTED, transcriptions=answer).probe().models[0]
    assert both.facts.operations == {"chat", "completion", "count_tokens", "transcription", "translation"}


def test_a_server_that_ranks() -> None:
    server = Server(**(BASIC | {"completions": NO_ROUTE}), text=NO_ROUTE, rerank=Reply(400), embeddings=Reply(400))
    assert server.probe().models[0].facts.operations == {"embedding", "rerank"}


def test_tenants_have_salts_of_their_own() -> None:
    salted = chat(options=Options(tenant="a/b@c\\d" + "x" * 200))
    assert body(salted)["cache_salt"] == "a_b_c_d" + "x" * 121
    assert body(Completion("m", ["a"], options=Options(tenant="t1")))["cache_salt"] == "t1"
    own = BACKEND.build(chat(extra={"openai": {"cache_salt": "mine"}}), TARGET, FACTS)
    assert "cache_salt" not in body_of(own)
    assert own.dropped == ["cache_salt"]


def test_a_video_is_not_heard() -> None:
    request = chat(messages=[Message("user", [Text("x"), Video(Media("video/mp4", base64=MP4)), Video(HEARD)])])
    call = BACKEND.build(request, TARGET, FACTS)
    assert call.fates == {2: "video,sound=dropped"}


def test_busy() -> None:
    assert run_probe(BACKEND.busy("m"), iter([reply("vllm/metrics")])) == Load(0, 0, 0.0)
    old = (
        b'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_running{engine="1"} 1.0\n'
        b'vllm:num_requests_waiting{engine="0"} 2.0\n'
        b'vllm:gpu_cache_usage_perc{engine="0"} 0.5\nvllm:gpu_cache_usage_perc{engine="1"} 0.7\n'
    )
    assert run_probe(BACKEND.busy("m"), iter([Reply(200, body=old)])) == Load(4, 2, 0.6)
    for other in (Reply(404), Reply(0), Reply(200, body=b"<html>")):
        assert run_probe(BACKEND.busy("m"), iter([other])) is None


def test_probe_of_a_server_that_only_sees() -> None:
    server = Server(
        **(BASIC | {"completions": NO_PARSER}),
        image=reply("vllm/imgonly_err_two_images"),
        audio=reply("vllm/imgonly_err_audio"),
        video=reply("vllm/imgonly_err_video"),
    )
    facts = server.probe().models[0].facts
    assert (facts.image, facts.audio, facts.video) == (True, False, False)
    assert (facts.image_limit, facts.audio_limit) == (1, None)
    assert (facts.tools, facts.forced_tool) == (False, "ignored")


def test_other_answers_leave_facts_open() -> None:
    server = Server(**(BASIC | {"completions": Reply(500)}), image=Reply(500), audio=Reply(0), video=Reply(401))
    facts = server.probe().models[0].facts
    assert (facts.image, facts.audio, facts.video, facts.tools) == (None, None, None, None)
    assert facts.operations == frozenset({"chat", "completion", "count_tokens"})


def test_a_pooling_model_and_a_base() -> None:
    none = Reply(404, body=b'{"detail":"Not Found"}')
    pooling = Server(**(BASIC | {"completions": none}), text=none, embeddings=Reply(400))
    facts = pooling.probe().models[0].facts
    assert (facts.operations, facts.counts, facts.image) == (frozenset({"embedding"}), False, None)
    words = b'{"error":{"message":"default chat template is no longer allowed","type":"BadRequestError","code":400}}'
    base = Server(**BASIC, text=Reply(400, body=words))
    assert base.probe().models[0].facts.operations == frozenset({"completion"})


def test_silence_in_the_middle_leaves_operations_open() -> None:
    server = Server(**(BASIC | {"completions": Reply(0)}), text=Reply(0))
    assert server.probe().models[0].facts.operations is None


def test_adapters() -> None:
    cards = [
        {"id": "base", "root": "google/gemma-4-12B-it", "parent": None, "max_model_len": 4096},
        {"id": "sql", "root": "/loras/sql", "parent": "base", "max_model_len": None},
        {"id": "lost", "root": "/loras/x", "parent": "gone", "max_model_len": None},
        {"id": "bare"},
    ]
    listed = Reply(200, body=msgspec.json.encode({"data": cards}))
    server = Server(**(BASIC | {"models": listed}), image=COUNTED, audio=Reply(400), video=Reply(400))
    found = server.probe()
    assert [(m.id, m.root, m.facts.context, m.facts.image) for m in found.models] == [
        ("base", "google/gemma-4-12B-it", 4096, True),
        ("sql", "google/gemma-4-12B-it", 4096, True),
        ("lost", "/loras/x", None, True),
        ("bare", "bare", None, True),
    ]
    assert server.asked.count("image") == 3


@pytest.mark.parametrize("first", [Reply(0), reply("vllm/imgonly_err_401_models"), Reply(200, body=b"<html>")])
def test_probe_of_something_else(first: Reply) -> None:
    found = run_probe(BACKEND.probe(), iter([first]))
    assert (found.state, found.models) == ("down", [])


def test_the_probe_of_tools_is_what_was_recorded() -> None:
    recorded = exchange("vllm/imgonly_err_tools_auto_not_enabled")
    calls: list[Call] = []
    server = Server(**BASIC, image=COUNTED, audio=COUNTED, video=COUNTED)
    steps = BACKEND.probe()
    call = next(steps)
    try:
        while True:
            calls.append(call)
            call = steps.send(server(call))
    except StopIteration:
        pass
    (asked,) = [c for c in calls if c.path == recorded.path]
    assert set(body_of(asked)) == set(recorded.request) | {"tool_choice", "chat_template"}


def test_life() -> None:
    assert run_probe(BACKEND.alive(), iter([reply("vllm/health")])) == "ready"
    assert run_probe(BACKEND.alive(), iter([Reply(503)])) == "down"


def test_claims() -> None:
    assert BACKEND.claims(reply("vllm/models"))
    assert not BACKEND.claims(reply("llamacpp/models"))
    assert not BACKEND.claims(reply("vllm/imgonly_err_401_models"))
