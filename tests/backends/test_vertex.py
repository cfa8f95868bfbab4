"""Managed models and endpoints. No live service was recorded: replies are written as the documentation has them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway import errors
from gateway.backends import Place, Reply, load, run_probe
from gateway.backends.vertex import MANAGED, Backend, base_url, right_form
from gateway.backends.wire.samples import PNG, WAV
from gateway.canonical.content import Audio, Image, Media, Message, Text
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    Embedding,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)
from tests.backends.recorded import body_of

USER = Message("user", [Text("x")])
OPENAI_BODY = {"messages": [{"role": "user", "content": "x"}]}
HERE = "projects/p/locations/us-central1/endpoints"


def managed(*models: str) -> Backend:
    return Backend().placed(Place("https://aiplatform.googleapis.com", "p", models=models))


def own(own_host: bool = False, *models: str) -> Backend:
    host = "123.us-central1-9.prediction.vertexai.goog" if own_host else "us-central1-aiplatform.googleapis.com"
    return Backend().placed(Place(f"https://{host}", "p", "us-central1", "123", models))


def built(backend: Backend, request: Any = None, model: str = MANAGED, **facts: Any) -> Any:
    return backend.build(request or Chat("public", [USER]), Target("v", "vertex", model), Facts(image=True, **facts))


def test_the_managed_model() -> None:
    call = built(managed(), Chat("public", [USER], stream=True, sampling=Sampling(min_p=0.1, max_tokens=5)))
    assert call.path == "/v1/projects/p/locations/global/endpoints/openapi/chat/completions"
    assert body_of(call) == {
        "model": MANAGED,
        **OPENAI_BODY,
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert call.streamed and call.dropped == ["min_p"]
    thinking = Chat("public", [USER], thinking=ThinkingConfig(True, "high", 100))
    assert "thinking" in built(managed(), thinking, thinking=False).dropped


def test_pictures_that_only_google_can_read() -> None:
    """A managed model reads them by their address; a container on an endpoint does not, so it is told by path."""
    chat = Chat(
        "m", [Message("user", [Image(Media("image/png", url="gs://bucket/a.png"), path="messages[0].content[0]")])]
    )
    facts = layer(("probed", probe(managed()).models[0].facts), ("assumed", Backend.assumed))
    call = managed().build(chat, Target("v", "vertex", MANAGED), facts)
    (content,) = body_of(call)["messages"][0]["content"]
    assert content["image_url"]["url"] == "gs://bucket/a.png"
    with pytest.raises(errors.PartRefused) as caught:
        built(own(), chat)
    assert caught.value.param == "messages[0].content[0]"


def test_endpoints() -> None:
    shared, dedicated = built(own()), built(own(True))
    assert shared.path == f"/v1beta1/{HERE}/123/chat/completions"
    assert dedicated.path == f"/v1/{HERE}/123/chat/completions"
    assert body_of(shared) == {
        "model": "",
        **OPENAI_BODY,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert built(own(), runtime="vllm").path == shared.path
    named = Backend().placed(Place("http://10.0.0.1:8", "p", "l", "/projects/9/locations/x/endpoints/7"))
    assert built(named).path == "/v1/projects/9/locations/x/endpoints/7/chat/completions"


def test_older_containers_take_a_wrapped_chat() -> None:
    picture = Message("user", [Image(Media("image/png", base64=PNG))])
    request = Chat("public", [picture], stream=True, sampling=Sampling(temperature=0.5), dropped=["user"])
    call = built(own(), request, runtime="sax")
    assert (call.path, call.streamed, call.dropped) == (f"/v1/{HERE}/123:predict", False, ["user"])
    (inner,) = body_of(call)["instances"]
    assert inner.pop("messages")[0]["content"][0]["type"] == "image_url"
    assert inner == {"@requestFormat": "chatCompletions", "temperature": 0.5}


@pytest.mark.parametrize(
    "request_",
    [
        Chat("m", [USER], tools=[Tool("f")]),
        Chat("m", [USER], output=OutputFormat("json_object")),
        Chat("m", [Message("user", [Audio(Media("audio/wav", base64=WAV), path="p")])]),
    ],
)
def test_what_older_containers_can_not(request_: Chat) -> None:
    with pytest.raises(errors.BadRequest):
        built(own(), request_, runtime="other", audio=True)
    built(own(), request_, runtime="vllm", audio=True)


def test_tools_that_are_not_to_be_used() -> None:
    built(own(), Chat("m", [USER], tools=[Tool("f")], tool_choice=ToolChoice("none")), runtime="sax")


def test_wrapped_answers_and_errors() -> None:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    request = Chat("m", [USER])
    for body in (answer, {"predictions": answer}, {"predictions": [answer]}):
        assert own().read(request, body).choices[0].parts == [Text("Hi")]
    fault = {"predictions": {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}}
    assert type(own().error_in(fault)) is errors.UpstreamRefused
    with pytest.raises(errors.UpstreamRefused):
        own().read(request, fault)
    for body in ({}, {"predictions": []}, {"predictions": "x"}):
        with pytest.raises(errors.BadResponse):
            own().read(request, body)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"code": 401, "status": "UNAUTHENTICATED", "message": "x"}, errors.BadCredentials),
        (404, {"code": 404, "status": "NOT_FOUND", "message": "Endpoint `x` not found."}, errors.ModelGone),
        (429, {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}, errors.Overloaded),
        (400, {"code": 400, "status": "INVALID_ARGUMENT", "message": "x"}, errors.UpstreamRefused),
        (500, {"code": 500, "status": "INTERNAL", "message": "x"}, errors.UpstreamError),
    ],
)
def test_refusals(status: int, body: Any, kind: type) -> None:
    for value in ({"error": body}, [{"error": body}]):
        assert type(managed().refusal(status, {}, msgspec.json.encode(value))) is kind


NAME = "google/gemma4@gemma-4-31b-it"


@pytest.mark.parametrize("name", [NAME, f"publishers/{NAME}", "publishers/google/models/gemma4@gemma-4-31b-it"])
def test_a_name_to_deploy_is_answered_with_the_right_form(name: str) -> None:
    advice = right_form(name, Place("", "p", "us-central1"))
    assert advice is not None and f"{HERE}/ENDPOINT_ID/chat/completions" in advice and MANAGED in advice
    with pytest.raises(errors.UnsupportedParameter) as caught:
        built(managed(), model=name)
    assert caught.value.message == right_form(name, Place("", "p"))
    assert right_form(MANAGED, Place("", "p")) is None


def test_other_operations() -> None:
    for request in (Completion("m", ["x"]), Embedding("m", ["x"]), CountTokens(Chat("m", [USER]))):
        with pytest.raises(errors.NotImplementedHere):
            built(managed(), request)


def reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, body=msgspec.json.encode(value))


def probe(backend: Backend, *replies: Reply) -> Any:
    return run_probe(backend.probe(), iter(replies))


def test_probe_of_managed_models() -> None:
    found = probe(managed())
    assert (found.state, [m.id for m in found.models]) == ("ready", [MANAGED])
    facts = found.models[0].facts
    assert (facts.context, facts.image, facts.audio, facts.thinking) == (262144, True, False, False)
    both = probe(managed("google/other-maas", NAME))
    assert [m.id for m in both.models] == ["google/other-maas"] and "to deploy" in both.detail
    assert probe(managed(NAME)).state == "down" and "to deploy" in probe(managed(NAME)).detail
    assert "project" in probe(Backend()).detail


ENDPOINT = {"deployedModels": [{"model": "projects/p/locations/l/models/9"}]}


def model(image: str) -> Reply:
    garden = {"modelGardenSource": {"publicModelName": "publishers/google/models/gemma4@gemma-4-31b-it"}}
    return reply({"containerSpec": {"imageUri": image}, "baseModelSource": garden})


@pytest.mark.parametrize(
    ("image", "runtime", "tools"),
    [
        ("us-docker.pkg.dev/vertex-ai/vertex-vision-model-garden-dockers/pytorch-vllm-serve:gemma4", "vllm", None),
        ("us-docker.pkg.dev/vertex-ai-restricted/sax-gpu", "sax", False),
        ("us-docker.pkg.dev/vertex-ai/hex-llm-serve:1", "hexllm", False),
        ("example/own:1", "other", False),
    ],
)
def test_probe_of_an_endpoint(image: str, runtime: str, tools: bool | None) -> None:
    steps = own().probe()
    assert next(steps).path == f"/v1/{HERE}/123"
    assert steps.send(reply(ENDPOINT)).path == "/v1/projects/p/locations/l/models/9"
    found = probe(own(), reply(ENDPOINT), model(image))
    (only,) = found.models
    assert (found.state, only.id, only.root, only.aliases) == ("ready", "gemma-4-31b-it", "gemma-4-31b-it", ["123"])
    assert (only.facts.runtime, only.facts.tools) == (runtime, tools)
    assert probe(own(False, "mine"), reply(ENDPOINT), model(image)).models[0].id == "mine"


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (Reply(0, error="nobody"), "nobody"),
        (reply({}, 401), "credentials"),
        (reply({}, 404), "no such endpoint"),
        (reply({"error": {"message": "boom"}}, 500), "boom"),
        (reply({"deployedModels": []}), "no model is deployed"),
        (
            reply({**ENDPOINT, "dedicatedEndpointEnabled": True, "dedicatedEndpointDns": "1.l-2.x.goog"}),
            "https://1.l-2",
        ),
    ],
)
def test_probe_of_something_else(first: Reply, words: str) -> None:
    found = probe(own(), first)
    assert (found.state, found.models) == ("down", []) and words in found.detail


def test_probe_without_calls() -> None:
    assert [m.id for m in probe(own(True)).models] == ["123"]
    assert [m.id for m in probe(own(True, "mine")).models] == ["mine"]
    assert probe(own(), reply(ENDPOINT), Reply(403)).models[0].facts.runtime is None
    assert run_probe(managed().alive(), iter([])) == "ready"
    assert not managed().claims(reply({"data": []}))


def test_hosts() -> None:
    assert base_url("global") == load("vertex").default_url == "https://aiplatform.googleapis.com"
    assert base_url("us-central1") == "https://us-central1-aiplatform.googleapis.com"
    assert base_url("eu") == "https://aiplatform.eu.rep.googleapis.com"
