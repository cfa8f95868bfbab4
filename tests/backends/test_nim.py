"""The engine inside speaks with recorded bytes; the management routes around it as NVIDIA's documentation has them."""

import msgspec
import pytest

from gateway.backends import Discovery, Load, Reply, load, run_probe
from gateway.canonical.facts import Target
from gateway.canonical.requests import Chat
from tests.backends.recorded import body_of, reply
from tests.backends.test_vllm import BASIC, COUNTED, USER, Server

BACKEND = load("nim")
METADATA = {
    "version": "1.7.0",
    "modelInfo": [{"shortName": "gemma-4-31b-it:hf-fp8", "modelUrl": "ngc://nim/google/gemma-4-31b-it:hf-fp8"}],
    "selectedModelProfileId": "vllm-nvfp4-tp1",
}


def test_it_speaks_as_its_engine_does() -> None:
    target, request = Target("n", "nim", "google/gemma-4-31b-it"), Chat("m", [USER], stream=True)
    engine = load("vllm")
    assert body_of(BACKEND.build(request, target, BACKEND.assumed)) == body_of(
        engine.build(request, target, engine.assumed)
    )
    assert BACKEND.tier == engine.tier
    assert "NIM_PASSTHROUGH_ARGS" in BACKEND.hints["tools"]
    assert "NIM_PASSTHROUGH_ARGS" not in BACKEND.hints["url"]


def probe(**replies: Reply) -> Discovery:
    server = Server(**BASIC, image=COUNTED, audio=reply("vllm/imgonly_err_audio"), video=COUNTED, **replies)
    steps = BACKEND.probe()
    call = next(steps)
    try:
        while True:
            call = steps.send(server(call))
    except StopIteration as stop:
        return stop.value


def test_probe() -> None:
    found = probe(metadata=Reply(200, body=msgspec.json.encode(METADATA)))
    (model,) = found.models
    assert (found.state, found.version) == ("ready", "NIM 1.7.0")
    assert (model.facts.image, model.facts.audio, model.facts.quantization) == (True, False, "fp8")
    assert model.facts.version == "NIM 1.7.0" and model.facts.runtime == "vllm"


def test_an_engine_that_is_not_vllm_is_not_called_it() -> None:
    gone = dict.fromkeys(("text", "image", "audio", "video", "knobs", "metadata"), Reply(404))
    server = Server(**{**BASIC, **gone})
    steps = BACKEND.probe()
    call = next(steps)
    try:
        while True:
            call = steps.send(server(call))
    except StopIteration as stop:
        found = stop.value
    assert found.state == "ready" and found.models[0].facts.runtime is None


@pytest.mark.parametrize(
    "told", [Reply(404), Reply(200, body=b"[]"), Reply(200, body=b'{"modelInfo":[1],"version":2}')]
)
def test_probe_without_metadata(told: Reply) -> None:
    found = probe(metadata=told)
    assert (found.state, found.version, found.models[0].facts.quantization) == ("ready", "0.32.0", None)


def test_a_model_without_a_root_is_called_by_its_own_name() -> None:
    listed = Reply(200, body=b'{"object":"list","data":[{"id":"served","owned_by":"system","max_model_len":4096}]}')
    server = {**BASIC, "models": listed}
    steps = BACKEND.probe()
    call = next(steps)
    fake = Server(
        **server, image=COUNTED, audio=COUNTED, video=COUNTED, metadata=Reply(200, body=msgspec.json.encode(METADATA))
    )
    try:
        while True:
            call = steps.send(fake(call))
    except StopIteration as stop:
        found = stop.value
    assert found.models[0].root == "gemma-4-31b-it:hf-fp8"


def test_it_is_not_there_yet() -> None:
    assert run_probe(BACKEND.probe(), iter([Reply(503, body=b'{"message":"not ready"}')])).state == "loading"
    assert run_probe(BACKEND.alive(), iter([Reply(503)])) == "loading"
    steps = BACKEND.alive()
    assert next(steps).path == "/v1/health/ready"


@pytest.mark.parametrize(
    "text",
    [
        b"num_requests_running 3\nnum_requests_waiting 1\ngpu_cache_usage_perc 0.25\n",
        b'vllm:num_requests_running{e="0"} 3\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.25\n',
        b"sglang:num_running_reqs 3\nsglang:num_queue_reqs 1\nsglang:token_usage 0.25\n",
    ],
)
def test_busy(text: bytes) -> None:
    assert run_probe(BACKEND.busy("m"), iter([Reply(200, body=text)])) == Load(3, 1, 0.25)
    assert run_probe(BACKEND.busy("m"), iter([Reply(404)])) is None


def test_claims() -> None:
    assert BACKEND.claims(Reply(200, body=b'{"data":[{"id":"google/gemma-4-31b-it","owned_by":"system"}]}'))
    for other in ("llamacpp/models", "vllm/models", "mlx_lm/models", "mlx_vlm/models"):
        assert not BACKEND.claims(reply(other))
