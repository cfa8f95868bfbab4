"""Every code of `gateway doctor`: how it comes about, and exactly what it says to type or change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import yaml

from gateway.backends import Discovery, Model, Reply, load, run_probe
from gateway.canonical.facts import Facts, Finding
from gateway.engine.fleet import Fleet
from gateway.report.doctor import Complaint, known, mixed_names
from gateway.routing.findings import CODES
from gateway.settings import parse

Json = dict[str, Any]

E4B, MOE, DENSE = "google/gemma-4-E4B-it", "google/gemma-4-26B-A4B-it", "nvidia/Gemma-4-31B-IT-NVFP4"


def fleet_of(*kinds: str, **backend: Any) -> Fleet:
    fleet = Fleet()
    backends = {f"b{i}": {"kind": k, "url": f"http://127.0.0.1:{9 + i}", **backend} for i, k in enumerate(kinds)}
    models = {"m": {"targets": [{"backend": name} for name in backends]}}
    fleet.apply(parse(yaml.safe_dump({"backends": backends, "models": models}), {}))
    return fleet


def seen(kind: str, model: str, *, probe: Discovery | None = None, **facts: Any) -> list[Finding]:
    """What is known of a server of that kind that has that model."""
    fleet = fleet_of(kind)
    enough = {"context": 32768, "image": True, "audio": True, "video": True, "tools": True}
    fleet.servers["b0"].learn(probe or Discovery("ready", [Model(model, facts=Facts(**(enough | facts)))]))
    return known(fleet.servers["b0"], in_container=False)


def answered(kind: str, *replies: Any, status: int = 200, headers: dict[str, str] | None = None) -> list[Finding]:
    """What a probe makes of these answers; after them there is nothing."""

    def said() -> Iterator[Reply]:
        for value in replies:
            body = value if isinstance(value, bytes) else msgspec.json.encode(value)
            yield Reply(status, headers or {}, body)
        while True:
            yield Reply(404)

    return seen(kind, "", probe=run_probe(load(kind).probe(), said()))


def cards(*ids: str, **more: Any) -> Json:
    return {"object": "list", "data": [{"id": i, "owned_by": "x", **more} for i in ids]}


def down(detail: str = "", state: Any = "down", *, inside: bool = False) -> list[Finding]:
    fleet = fleet_of("vllm")
    fleet.servers["b0"].learn(Discovery(state, detail=detail))
    return known(fleet.servers["b0"], in_container=inside)


def mismatch() -> list[Finding]:
    fleet = fleet_of("vllm")
    for model in ("google/gemma-4-E4B-it", "google/gemma-4-12B-it"):
        facts = Facts(context=32768, image=True, audio=True, video=True, tools=True)
        fleet.servers["b0"].learn(Discovery("ready", [Model(model, facts=facts)]))
    return known(fleet.servers["b0"], in_container=False)


def mixed() -> list[Finding]:
    fleet = fleet_of("vllm", "vllm")
    for name, model in (("b0", E4B), ("b1", MOE)):
        fleet.servers[name].learn(Discovery("ready", [Model(model)]))
    fleet.rename()
    return list(mixed_names(fleet))


def late() -> list[Finding]:
    fleet = fleet_of("vllm")
    fleet.servers["b0"].learn(Discovery("ready", [Model("x", facts=Facts(image=False, audio=False, video=False))]))
    fleet.servers["b0"].skew = -120.0
    return known(fleet.servers["b0"], in_container=False)


def routed(**status: Any) -> list[Finding]:
    listed = cards("a", status=status, architecture={"input_modalities": ["text"]})
    return answered("llamacpp", listed, {"role": "router", "models_autoload": False})


def development(part: str, value: Json) -> list[Finding]:
    """A vLLM in development mode whose configuration has that part."""
    listed = cards("g", root=E4B, max_model_len=32768)
    return answered("vllm", listed, {"version": "0.32.0"}, {"vllm_config": {part: value}})


def no_parser() -> list[Finding]:
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    replies = [Reply(200, body=msgspec.json.encode(cards("g", root=E4B, max_model_len=32768)))]
    replies += [Reply(404)] * 3 + [Reply(400, body=msgspec.json.encode({"error": {"message": words}}))]
    probe = run_probe(load("vllm").probe(), iter([*replies, *[Reply(404)] * 9]))
    return seen("vllm", "", probe=probe)


def old_template() -> list[Finding]:
    props = {"chat_template": "{{ messages }}", "model_path": "/m/gemma-4-E4B-it-Q8_0.gguf", "total_slots": 1}
    return answered("llamacpp", cards("gemma-4-E4B-it"), props)


CASES: dict[str, tuple[Callable[[], list[Finding]], str]] = {
    "unreachable": (lambda: down("nobody answers", inside=True), "--add-host host.docker.internal:host-gateway"),
    "loading": (lambda: down("Loading model", "loading"), ""),
    "failed-model": (lambda: routed(value="unloaded", failed=True), "POST /models/load"),
    "not-loaded": (lambda: routed(value="unloaded"), "without --no-models-autoload"),
    "no-key": (lambda: answered("vllm", {"error": "Unauthorized"}, status=401), "`api_key_env`"),
    "redirect": (lambda: answered("vllm", b"", status=301), "set `url`"),
    "web-page": (lambda: answered("vllm", b"<!doctype html><html>"), "check `url`"),
    "other-api": (lambda: answered("vllm", {"hello": 1}), "correct `kind`"),
    "no-models": (lambda: answered("vllm", cards()), "GET /v1/models"),
    "wrong-model": (mismatch, "set the target's `model`"),
    "which-model": (lambda: answered("mlx_lm", cards("a", "b"), {"status": "ok"}), "--model PATH"),
    "mixed-name": (mixed, "a name of its own"),
    "unsupported-model": (lambda: answered("trtllm", cards(E4B), {"version": "1.0"}), "vLLM"),
    "unknown-media": (
        lambda: seen("openai", "m", image=None, audio=None, video=None),
        "`facts: {image: true, audio: true",
    ),
    "no-image": (lambda: seen("llamacpp", E4B, image=False), "--mmproj FILE"),
    "no-audio": (lambda: seen("vllm", E4B, audio=False), "--limit-mm-per-prompt '{\"audio\":1}'"),
    "no-video": (lambda: seen("vllm", E4B, video=False), "--limit-mm-per-prompt '{\"video\":1}'"),
    "media-limit": (lambda: seen("vllm", E4B, image_limit=1), "--limit-mm-per-prompt '{\"image\":N}'"),
    "no-tools": (lambda: seen("llamacpp", E4B, tools=False), "--chat-template-file"),
    "no-tool-parser": (no_parser, "--enable-auto-tool-choice --tool-call-parser gemma4"),
    "no-reasoning-parser": (
        lambda: development("structured_outputs_config", {"reasoning_parser": ""}),
        "--reasoning-parser gemma4",
    ),
    "small-context": (lambda: seen("vllm", E4B, context=4096), "--max-model-len"),
    "old-template": (old_template, "--chat-template-file"),
    "attention-override": (lambda: development("attention_config", {"backend": "FLASHINFER"}), "--attention-backend"),
    "nvfp4-hardware": (lambda: seen("vllm", DENSE, hardware="hopper", audio=None), "`allow: [nvfp4-weight-only]`"),
    "moe-quantization": (
        lambda: seen("llamacpp", MOE, quantization="q4_k_m", audio=None),
        "-hf google/gemma-4-26B-A4B-it-qat-q4_0-gguf",
    ),
    "clock-skew": (late, "`timedatectl set-ntp true`"),
    "cloud-models": (
        lambda: answered("ollama", {"models": [{"name": "a:cloud", "remote_host": "https://x"}, {"name": "b"}]}),
        "`ollama rm`",
    ),
}
ELSEWHERE = {"wrong-kind", "kind-guessed", "body-limit"}
"""What has to be tried at a server that listens: test_doctor.py."""


@pytest.mark.parametrize("code", CASES)
def test_it_comes_about_and_says_what_to_change(code: str) -> None:
    make, words = CASES[code]
    found = [f for f in make() if f.code == code]
    assert found, [f.code for f in make()]
    assert words in found[0].fix and bool(found[0].fix) is bool(words) and found[0].text
    assert Complaint("b0", found[0]).view()["level"] == CODES[code][0]


def test_every_code_is_here() -> None:
    assert set(CASES) | ELSEWHERE == set(CODES) and not ELSEWHERE & set(CASES)
    assert {code for code, (_, fix) in CASES.items() if not fix} == {"loading"}, (
        "only for this there is nothing to type"
    )
