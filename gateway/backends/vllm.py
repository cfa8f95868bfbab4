"""vLLM's OpenAI server. Read in 0.19 to 0.33, measured on 0.32.

- `max_model_len` in /v1/models is the room for prompt and answer; every `--served-model-name` is a card of its own with
  the same `root`; a LoRA's card has a `parent` and no length.
- `POST /tokenize` runs the whole multimodal front end on the CPU and generates nothing: it counts, and a tiny medium
  shows what the server takes. Over a limit it is 400 `At most N image(s) may be provided in one prompt`.
- Whether tools work is seen without generating: a body with tools and a `chat_template` is refused for the one or the
  other, tools first.
- Its gemma4 parser does not enforce `required` or a named tool: what comes back has to be verified.
- Thinking is off unless told otherwise. Past thoughts are read from `reasoning`.
- Sound as `input_audio` in any format that its decoders know; video as `video_url` (`input_video` is 400).
- To continue a begun answer it must be told twice: `continue_final_message`, and `add_generation_prompt` false.
- The old `guided_*` fields are ignored without a word; `structured_outputs` took their place.
- `mm_processor_kwargs` and `media_io_kwargs` of a request are refused unless it runs with --trust-request-mm-kwargs:
  /tokenize tells, and they are sent only where they are taken. A `chat_template` is never sent.
- A video is looked at in 32 frames at most; on every Gemma 4 its sound is dropped without a word.
- Quantization is read from `root`; with VLLM_SERVER_DEV_MODE=1 /server_info tells it, the GPUs, and which parser and
  attention it was started with.
- `cache_salt` keeps the prompts of several tenants apart in its prefix cache: at most 128 characters, none of @ / \\.
- /v1/audio/transcriptions and /translations are there when the model is made for them (not Gemma 4's). It cuts long
  sounds itself; times (verbose_json) only with Whisper; streams have a form of their own, so a whole answer is asked.
- /metrics (no key) has requests running and waiting, and the use of the KV cache, which changed its name once.
- The key guards /v1 only; 401 is `{"error": "Unauthorized"}`. Until it has loaded nobody listens.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gateway.backends import Busyness, Call, Discovery, Load, Model, Probe, Reply
from gateway.backends.base import HINTS, JSON, Json, OpenAIWire, keep, number_in, post, think_by_template
from gateway.backends.wire import refusal
from gateway.backends.wire.gauges import average, gauge
from gateway.backends.wire.hardware import generation
from gateway.backends.wire.listing import by_root, cards, json_of, trouble
from gateway.backends.wire.prepare import Manner, words
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.samples import PARTS
from gateway.backends.wire.values import as_object
from gateway.canonical.facts import Facts, Finding, State, Target
from gateway.canonical.requests import Chat, Completion, CountTokens, ThinkingConfig
from gateway.errors import BadRequest
from gateway.families import identify

_GUIDED = {"guided_regex": "regex", "guided_choice": "choice", "guided_grammar": "grammar"}
"""Old field -> its name in `structured_outputs`."""

_EXTRAS = words(
    "chat_template_kwargs structured_outputs ignore_eos min_tokens stop_token_ids include_stop_str_in_output bad_words "
    "allowed_token_ids length_penalty prompt_logprobs return_token_ids return_tokens_as_token_ids "
    "continue_final_message add_generation_prompt truncate_prompt_tokens normalize add_special_tokens"
) | frozenset(_GUIDED)

_SCHEMES = {
    "modelopt_fp4": "nvfp4",
    "modelopt": "fp8",
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "mxfp4": "mxfp4",
    "awq": "awq",
    "awq_marlin": "awq",
    "gptq": "gptq",
    "gptq_marlin": "gptq",
    "bitsandbytes": "bnb-4bit",
    "experts_int8": "int8",
    "int8_per_channel_weight_only": "int8",
}
"""The server's word for a quantization -> ours, where it means one thing."""
_NOT_IN_A_SALT = re.compile(r"[@/\\\x00]")
_AT_MOST = re.compile(r"At most (\d+) (image|audio|video)\(s\)")
_NO_TOOLS = "--enable-auto-tool-choice"
_TOOLS = "--trust-request-chat-template"
_KNOBS = "--trust-request-mm-kwargs"
_ASKED = {"type": "function", "function": {"name": "probe", "parameters": {"type": "object", "properties": {}}}}


class Backend(OpenAIWire):
    kind = "vllm"
    reads_thoughts = True
    loose_arguments = True
    parts_tenants = True
    names_itself = True
    tier = 0
    slots = 64
    assumed = Facts(
        operations=frozenset({"chat", "completion", "count_tokens"}),
        video_sound=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"}),
        audio_formats=frozenset(
            {"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/opus", "audio/mp4", "audio/aac", "audio/webm"}
        ),
        video_formats=frozenset(
            {"video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo", "video/jpeg"}
        ),
        forced_tool="verified",
        json_schema="enforced",
        logprobs=True,
        seed=True,
        prefill=True,
        audio_out=False,
        counts=True,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        "image": "serve a model that sees, with --limit-mm-per-prompt '{\"image\":4}'; not --language-model-only",
        "audio": "serve a model that hears, with --limit-mm-per-prompt '{\"audio\":1}', and install vllm[audio]",
        "video": "serve a model that takes video, with --limit-mm-per-prompt '{\"video\":1}'",
        "image_limit": "raise --limit-mm-per-prompt '{\"image\":N}'",
        "audio_limit": "raise --limit-mm-per-prompt '{\"audio\":N}'",
        "video_limit": "raise --limit-mm-per-prompt '{\"video\":N}'",
        "moe_quantization": "serve RedHatAI/gemma-4-26B-A4B-it-FP8-dynamic, or google/gemma-4-26B-A4B-it with "
        "--quantization int8_per_channel_weight_only",
        "tools": "start it with --enable-auto-tool-choice --tool-call-parser NAME (gemma4 for Gemma 4)",
        "forced_tool": "start it with --enable-auto-tool-choice --tool-call-parser NAME (gemma4 for Gemma 4)",
        "json_schema": "start it without --structured-outputs-config that turns the back end off",
        "logprobs": "raise --max-logprobs",
        "choices": "ask for fewer choices",
        "thinking": "start it with --reasoning-parser NAME (gemma4 for Gemma 4)",
        "prefill": "update vLLM",
        "context": "raise --max-model-len",
        **dict.fromkeys(
            ("operation", "chat"), "serve a generating model that has a chat template (--chat-template FILE)"
        ),
        "completion": "serve a generating model",
        "count_tokens": "let the gateway reach its POST /tokenize",
        **dict.fromkeys(
            ("transcription", "translation", "timestamps"), "serve a model that is made for it, such as Whisper"
        ),
        "rerank": "serve a model that scores or classifies",
        "embedding": "serve a pooling model, or one with --runner pooling",
    }
    manner = Manner(extras=_EXTRAS)
    knobs = Manner(extras=_EXTRAS | {"mm_processor_kwargs", "media_io_kwargs"})
    signs = Signs(
        context=re.compile(
            r"maximum context length|longer than the maximum model length|exceeds? (?:the )?max_model_len"
            r"|maximum model length of \d+|Please reduce the length of the (?:input|messages)"
        ),
        modality=re.compile(
            r"At most 0 (?:image|audio|video)\(s\)|does not have an? (?:audio|vision|image|video) tower"
            r"|is not a multimodal model|does not support (?:image|audio|video)"
        ),
        gone=re.compile(r"The model `[^`]*` does not exist"),
        dead=re.compile(r"EngineCore|EngineDead|engine (?:is )?dead"),
    )
    reasoning_field = "reasoning"
    witness = "/metrics"
    unready: ClassVar[State] = "down"  # its /health says 503 only when the engine is dead

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        think_by_template(
            body, thinking, dropped
        )  # a budget is 400 unless the server was started with a reasoning config
        if thinking.enabled and thinking.effort is not None:
            body["reasoning_effort"] = thinking.effort

    def manner_for(self, facts: Facts) -> Manner:
        return self.knobs if facts.media_knobs else self.manner

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        _constrain(body)
        _force(body, request, facts, dropped)
        _salt(body, request)
        if request.prefill:
            body.setdefault("continue_final_message", True)
            body.setdefault("add_generation_prompt", False)

    def adapt_completion(self, body: Json, request: Completion, facts: Facts, dropped: list[str]) -> None:
        _constrain(body)
        _salt(body, request)

    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call | None:
        body = self._chat_body(request.chat, target, facts, [])
        if request.chat.prefill:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        kept = ("model", "messages", "tools", "chat_template_kwargs", "continue_final_message", "add_generation_prompt")
        return post("/tokenize", keep(body, *kept))

    def read_count(self, body: Any) -> int:
        return number_in(body, "count")

    def claims(self, models: Reply) -> bool:
        return any(c.get("owned_by") == "vllm" for c in cards(models) or ())

    def admits(self, reply: Reply) -> bool:
        """Its metrics want no key."""
        return reply.status == 200 and b"\nvllm:" in b"\n" + reply.body

    def busy(self, model: str) -> Busyness:
        reply = yield Call("GET", "/metrics")
        running = gauge(reply, "vllm:num_requests_running")
        waiting = gauge(reply, "vllm:num_requests_waiting")
        cache = average(reply, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
        if running is None or waiting is None:
            return None
        return Load(int(running), int(waiting), cache)

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if not found:
            return trouble(listed)
        told = json_of((yield Call("GET", "/version")))
        version = told.get("version") if isinstance(told, dict) else None
        version = version if isinstance(version, str) else ""
        info = json_of((yield Call("GET", "/server_info?config_format=json")))
        quantized, hardware = _server_info(info)
        models = by_root(found)
        measured: dict[str, Facts] = {}
        for model in models:
            if model.root not in measured:
                measured[model.root] = yield from _measure(model.id)
            # adapters of a root see and hear what it does
            model.facts = replace(
                measured[model.root],
                context=model.facts.context,
                version=version or None,
                quantization=quantized,
                hardware=hardware,
            )
        return Discovery("ready", models, version, findings=_findings(models, info))


def _findings(models: list[Model], info: Any) -> list[Finding]:
    """What is wrong with it for Gemma 4."""
    out = []
    parsers = as_object(as_object(as_object(info).get("vllm_config")).get("structured_outputs_config"))
    for model in models:
        if identify(model.id, model.root).family != "gemma4":
            continue
        if model.facts.tools is False:
            fix = "start it with --enable-auto-tool-choice --tool-call-parser gemma4 --reasoning-parser gemma4"
            out.append(Finding("no-tool-parser", "it reads no tool calls", fix, model.id))
        if parsers.get("reasoning_parser") == "":
            text = "it does not tell thoughts from the answer"
            out.append(Finding("no-reasoning-parser", text, "start it with --reasoning-parser gemma4", model.id))
        chosen = _attention(info, model.facts.hardware)
        if chosen is not None:
            text = f"its attention is set to {chosen}: Gemma 4's heads of 512 are more than some of its kernels take"
            out.append(Finding("attention-override", text, _LEAVE_ATTENTION, model.id))
    return out


_LEAVE_ATTENTION = (
    "start it without --attention-backend and --attention-config (VLLM_ATTENTION_BACKEND in old versions)"
)


def _attention(info: Any, hardware: str | None) -> str | None:
    """The kernels for attention where they were chosen by hand and do not take heads of 512, in development mode. What
    vLLM itself chooses for Gemma 4 is Triton's, FlashAttention 4, or on Hopper 3 and 4 by layer (Gemma4Config in
    vllm/model_executor/models/config.py)."""
    old = as_object(as_object(info).get("vllm_env")).get("VLLM_ATTENTION_BACKEND")
    if old in ("FLASH_ATTN", "FLASHINFER"):
        return str(old)
    config = as_object(as_object(as_object(info).get("vllm_config")).get("attention_config"))
    name, version = str(config.get("backend")), config.get("flash_attn_version")
    if ".flashinfer." in name or name == "FLASHINFER":
        return "FLASHINFER"
    if version in (2, 3):
        return f"FlashAttention {version}"
    by_hand = ".flash_attn." in name or name == "FLASH_ATTN"
    return "FLASH_ATTN" if by_hand and version is None and hardware != "hopper" else None


def _salt(body: Json, request: Chat | Completion) -> None:
    tenant = _NOT_IN_A_SALT.sub("_", request.options.tenant)[:128]
    if tenant:
        body["cache_salt"] = tenant


def _server_info(told: Any) -> tuple[str | None, str | None]:
    """(quantization, generation of the GPUs) where the server runs in development mode. What its scheme leaves open
    (`compressed-tensors` holds several) is left to the model's names."""
    scheme = as_object(as_object(as_object(told).get("vllm_config")).get("model_config")).get("quantization")
    gpus = as_object(as_object(told).get("system_env")).get("nvidia_gpu_models")
    known = _SCHEMES.get(scheme) if isinstance(scheme, str) else None
    return known, generation(gpus) if isinstance(gpus, str) else None


def _constrain(body: Json) -> None:
    """The old names of a constraint, which would be ignored, become the new one."""
    asked = [k for k in (*_GUIDED, "structured_outputs", "response_format") if k in body]
    if len(asked) > 1:
        raise BadRequest("only one constraint on the answer can hold at a time", param=asked[0])
    for key in asked:
        if key in _GUIDED:
            body["structured_outputs"] = {_GUIDED[key]: body.pop(key)}


def _force(body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
    """Gemma 4's parser lets a model that must call talk instead, and says `tool_calls` all the same. What it can't do,
    a constraint on the text can: the answer is a call of one of the tools, whose arguments are the model's own."""
    choice = request.tool_choice
    if facts.family != "gemma4" or choice is None or choice.mode not in ("required", "named"):
        return
    if "structured_outputs" in body:
        return  # that one holds, and the gateway verifies the call
    if body.pop("response_format", None) is not None:
        dropped.append("response_format")  # under it no call could be written; an answer that must call has no text
    names = choice.names or [tool.name for tool in request.tools]
    known = "|".join(re.escape(name) for name in names)
    body.pop("tool_choice", None)
    body["structured_outputs"] = {"regex": rf"<\|tool_call>call:({known})\{{[\s\S]*\}}<tool_call\|>"}


def _measure(model: str) -> Generator[Call, Reply, Facts]:
    """What a model takes, at no cost but a little of the server's CPU. 200 = it does, 400 = it does not; any other
    answer leaves the fact open."""
    facts = Facts()
    text = yield _tokenize(model, [{"type": "text", "text": "x"}])
    counts = text.status == 200
    if counts:
        facts.counts = True
        for modality, part in PARTS.items():
            # two at once: a limit of one, which is usual, shows itself
            _learn(facts, modality, (yield _tokenize(model, [part, part])))
        if facts.image or facts.video:
            asked = yield _tokenize(
                model, [{"type": "text", "text": "x"}], media_io_kwargs={"video": {"num_frames": 4}}
            )
            if asked.status == 200 or (asked.status == 400 and _KNOBS in refusal.read(asked.body).message):
                facts.media_knobs = asked.status == 200
    elif text.status == 404:
        facts.counts = False
    tools = yield post(
        "/v1/chat/completions",
        {
            "model": model,
            "messages": [{"role": "user", "content": "x"}],
            "tools": [_ASKED],
            "tool_choice": "auto",
            "chat_template": "x",
            "max_tokens": 1,
        },
    )
    words = refusal.read(tools.body).message
    if tools.status == 400 and _NO_TOOLS in words:
        facts.tools, facts.forced_tool = False, "ignored"
    elif tools.status == 200 or (tools.status == 400 and _TOOLS in words):
        facts.tools = True
    embeddings = yield Call("POST", "/v1/embeddings", [b"{}"], dict(JSON))
    sounds = yield Call("POST", "/v1/audio/transcriptions", [b"{}"], dict(JSON))
    reranking = yield Call("POST", "/v1/rerank", [b"{}"], dict(JSON))
    templated = "chat template" not in refusal.read(text.body).message
    facts.operations = _operations(tools, [embeddings, sounds, reranking], templated=templated, counts=counts)
    return facts


def _operations(chat: Reply, others: list[Reply], templated: bool, counts: bool) -> frozenset[str] | None:
    """Which routes there are: 404 and 405 = not this one. None if the server said too little. `others`: embeddings,
    transcriptions, rerank."""
    if chat.status == 0 or any(reply.status == 0 for reply in others):
        return None
    embeds, hears, ranks = (reply.status not in (404, 405, 501) for reply in others)
    out: set[str] = set()
    if chat.status not in (404, 405):
        out |= {"chat", "completion"} if templated else {"completion"}
        if counts:
            out.add("count_tokens")
    if embeds:
        out.add("embedding")
    if hears:
        out |= {"transcription", "translation"}
    if ranks:
        out.add("rerank")
    return frozenset(out) or None


def _learn(facts: Facts, modality: str, reply: Reply) -> None:
    if reply.status == 200:
        setattr(facts, modality, True)
    elif reply.status == 400:
        limit = _AT_MOST.search(refusal.read(reply.body).message)
        most = int(limit[1]) if limit and limit[2] == modality else 0
        setattr(facts, modality, most > 0)
        setattr(facts, f"{modality}_limit", most or None)


def _tokenize(model: str, content: list[Json], **more: Any) -> Call:
    return post("/tokenize", {"model": model, "messages": [{"role": "user", "content": content}], **more})
