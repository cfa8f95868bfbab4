"""Google Cloud's Vertex AI: Gemma as a managed model, and on endpoints of one's own. Read in documentation and in other
gateways' source, not run. It speaks Chat Completions, not `generateContent`.

- The managed model `google/gemma-4-26b-a4b-it-maas` is served at `global` only: text and pictures, tools, schemas; no
  thinking. It reads pictures at `gs://` addresses itself; a container on an endpoint does not. There is no list of
  managed models: what the configuration names is taken to be there.
- An endpoint of one's own has a number. It is called at the location's shared host, or at a host of its own, whose name
  `gcloud ai endpoints describe` shows as `dedicatedEndpointDns`: that is the backend's `url`.
- What runs behind an endpoint is seen from its container's image. With vLLM tools and sound work as they do there; the
  older containers take a chat only wrapped in `:predict`, answer whole, know no tools, and tell their errors inside a
  reply of status 200.
- `google/gemma4@gemma-4-31b-it` is a name to deploy, not to call.
- Tokens are Application Default Credentials; the engine gets and renews them. A key in `api_key_env` is sent as it is
  instead, and a private `url` gets none unless it has `local: false`.
Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/maas/use-open-models,
https://cloud.google.com/vertex-ai/docs/predictions/use-dedicated-endpoints,
https://cloud.google.com/vertex-ai/generative-ai/docs/open-models/use-gemma.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from gateway.backends import Call, Discovery, Liveness, Model, Place, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire, post, template_kwargs
from gateway.backends.wire import refusal
from gateway.backends.wire.listing import json_of
from gateway.backends.wire.prepare import Manner, words
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.scrub import scrub
from gateway.canonical.content import Audio, Video
from gateway.canonical.events import Answer
from gateway.canonical.facts import Facts, Target
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import Chat, Request, ThinkingConfig
from gateway.errors import GatewayError, NotImplementedHere, PartRefused, UnsupportedParameter

REQUIRES: Final = {"google.auth": "vertex"}
PROVIDER: Final = "gcp.vertex_ai"
MANAGED: Final = "google/gemma-4-26b-a4b-it-maas"
_MANAGED_FACTS: Final = Facts(
    operations=frozenset({"chat"}),
    image=True,
    audio=False,
    video=False,
    tools=True,
    thinking=False,
    context=262144,
    own_uris=frozenset({"gs://"}),
)
_DEPLOYABLE = re.compile(r"(?:publishers/)?[\w-]+/(?:models/)?[\w.-]+@[\w.-]+")
_REGIONS: Final = ("us", "eu")
"""Locations that are several regions, with hosts of their own."""
_RUNTIMES: Final = (
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("text-generation-inference", "tgi"),
    ("hex-llm", "hexllm"),
    ("sax", "sax"),
    ("keras", "keras"),
)
"""A word in a container's image -> what runs in it."""
_CHATTING: Final = frozenset({"vllm", "sglang"})
"""Runtimes that take a chat at the endpoint itself; all others take it wrapped."""


def resource_of(place: Place) -> str:
    """The endpoint's name, also where the configuration has it in full. No endpoint = the managed models."""
    if "/" in place.endpoint:
        return place.endpoint.strip("/")
    location = place.location or "global"
    return f"projects/{place.project}/locations/{location}/endpoints/{place.endpoint or 'openapi'}"


def has_own_host(place: Place) -> bool:
    """Is it called at a host of its own, which knows nothing but its model?"""
    host = urlsplit(place.url).hostname or ""
    return bool(place.endpoint and host) and not host.endswith("googleapis.com")


def base_url(location: str) -> str:
    """The shared host of a location."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def right_form(model: str, place: Place) -> str | None:
    """What to write instead of a name that can be deployed but not called; None for any other name."""
    if not _DEPLOYABLE.fullmatch(model):
        return None
    called = resource_of(replace(place, endpoint="ENDPOINT_ID"))
    return (
        f"{model} is a model to deploy, not one to call: deploy it with Model Garden and set `endpoint:` of this "
        f"backend to the endpoint's number (it is then called at {called}/chat/completions), or name the managed "
        f"{MANAGED}"
    )


class Backend(OpenAIWire):
    kind = "vertex"
    local = False
    tier = 2
    slots = 16
    token_scope: ClassVar[str] = "https://www.googleapis.com/auth/cloud-platform"
    default_url: ClassVar[str] = base_url("global")
    assumed = Facts(
        operations=frozenset({"chat"}),
        video_sound=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp"}),
        audio_formats=frozenset({"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg"}),
        video_formats=frozenset({"video/mp4"}),
        forced_tool="verified",
        json_schema="verified",
        seed=True,
        prefill=False,
        audio_out=False,
        counts=False,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        "audio": "the managed Gemma does not hear: deploy a size that does, or send sound to a local server",
        "video": "the managed Gemma takes no video: deploy the model on an endpoint with vLLM",
        "image": "deploy a model that sees",
        "tools": "deploy the model with a vLLM container",
        "forced_tool": "deploy the model with a vLLM container",
        "json_schema": "deploy the model with a vLLM container",
        "thinking": "deploy the model on an endpoint with vLLM: the managed one does not think",
        "context": "deploy the model with a longer --max-model-len",
        **dict.fromkeys(
            ("logprobs", "choices", "prefill", "operation", "chat", "completion", "embedding", "count_tokens"),
            "use another kind of server for that",
        ),
    }
    manner = Manner(extras=words("chat_template_kwargs"), sampling=words("min_p repetition_penalty"), thoughts=False)
    signs = Signs(
        context=re.compile(r"(?i)maximum context length|input token count[^.]{0,60}exceeds|maximum model length"),
        modality=re.compile(r"(?i)At most 0 (?:image|audio|video)\(s\)|is not a multimodal model"),
        gone=re.compile(r"(?i)(?:model|endpoint)[^.]{0,200}(?:does not exist|not found)"),
    )

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or Place()

    def placed(self, place: Place) -> Self:
        return type(self)(place)

    def url_at(self, location: str) -> str:
        """Where it is unless the configuration says so."""
        return base_url(location)

    # --- requests

    def build(self, request: Request, target: Target, facts: Facts) -> Call:
        advice = right_form(target.model, self.place)
        if advice is not None:
            raise UnsupportedParameter(advice, param="model")
        if not isinstance(request, Chat):
            raise NotImplementedHere("servers of this kind only chat")
        wrapped = self._wrapped(facts)
        if wrapped:
            _check_plain(request, facts)
        call = super().build(request, target, facts)
        if not wrapped:
            return replace(call, path=self._path("/chat/completions"))
        dropped: list[str] = []
        body = self._chat_body(request, target, facts, dropped)
        for key in ("model", "stream", "stream_options", "chat_template_kwargs"):
            body.pop(key, None)
        inner = {"@requestFormat": "chatCompletions", **body}
        out = post(self._path(":predict"), {"instances": [inner]})
        out.dropped, out.fates = call.dropped, call.fates
        return out

    def _wrapped(self, facts: Facts) -> bool:
        return bool(self.place.endpoint) and facts.runtime is not None and facts.runtime not in _CHATTING

    def _path(self, method: str) -> str:
        """Endpoints at a shared host chat in the newer version of the API only."""
        shared = bool(self.place.endpoint) and not has_own_host(self.place) and method == "/chat/completions"
        return f"/{'v1beta1' if shared else 'v1'}/{resource_of(self.place)}{method}"

    def called(self, target: Target) -> str:
        """An endpoint has one model, and wants no name for it."""
        return "" if self.place.endpoint else target.model

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        body.pop("reasoning", None)
        body.pop("reasoning_effort", None)
        if self.place.endpoint:
            body["chat_template_kwargs"] = template_kwargs(body, thinking)
        else:
            body.pop("chat_template_kwargs", None)
        if thinking.budget is not None:
            dropped.append("thinking_budget")

    # --- answers

    def read(self, request: Request, body: Any) -> Answer | Json:
        return super().read(request, _unwrapped(body))

    def error_in(self, body: Any) -> GatewayError | None:
        return super().error_in(_unwrapped(body))

    # --- probing

    def claims(self, models: Reply) -> bool:
        """It is never at an address that somebody scans."""
        return False

    def alive(self) -> Liveness:
        """A hosted service has no cheap sign of life: the probe looks at its endpoint, requests tell the rest."""
        return "ready"
        yield

    def probe(self) -> Probe:
        place = self.place
        if not place.project and "/" not in place.endpoint:
            return Discovery("down", detail="set `project:` to the id of the project that it is called in")
        wrong = [advice for m in place.models if (advice := right_form(m, place)) is not None]
        named = [m for m in place.models if m and right_form(m, place) is None]
        if wrong and not named and not place.endpoint:
            return Discovery("down", detail=wrong[0])
        if not place.endpoint:
            facts = [(m, replace(_MANAGED_FACTS) if m == MANAGED else Facts()) for m in named or [MANAGED]]
            return Discovery("ready", [Model(m, [], f) for m, f in facts], detail=wrong[0] if wrong else "")
        if has_own_host(place):
            # that host knows nothing but the model
            return Discovery("ready", [Model(named[0] if named else place.endpoint, [place.endpoint])])
        found = yield from _endpoint(place)
        return found


def _endpoint(place: Place) -> Probe:
    """What is deployed at an endpoint, and what runs it."""
    reply = yield Call("GET", f"/v1/{resource_of(place)}")
    told = json_of(reply)
    if not isinstance(told, dict):
        return _trouble(reply)
    deployed = told.get("deployedModels")
    if not isinstance(deployed, list) or not deployed or not isinstance(deployed[0], dict):
        return Discovery("down", detail="no model is deployed at the endpoint: deploy one with Model Garden")
    host = told.get("dedicatedEndpointDns")
    if isinstance(host, str) and host and told.get("dedicatedEndpointEnabled") is True:
        return Discovery("down", detail=f'the endpoint has a host of its own: set `url: "https://{host}"`')
    resource = deployed[0].get("model")
    model = json_of((yield Call("GET", f"/v1/{resource}"))) if isinstance(resource, str) else None
    model = model if isinstance(model, dict) else {}
    root = _garden_name(model)
    facts = Facts(runtime=_runtime(model))
    if facts.runtime not in (None, *_CHATTING):
        facts.tools, facts.audio, facts.video = False, False, False
        facts.forced_tool = facts.json_schema = "ignored"
        facts.thinking = False
    name = next((m for m in place.models if m), "") or root or place.endpoint
    return Discovery("ready", [Model(name, [place.endpoint], facts, root=root)])


def _runtime(model: Json) -> str | None:
    """What the container's image tells; None if it is not known."""
    spec = model.get("containerSpec")
    image = spec.get("imageUri") if isinstance(spec, dict) else None
    if not isinstance(image, str):
        return None
    return next((runtime for word, runtime in _RUNTIMES if word in image), "other")


def _garden_name(model: Json) -> str:
    """`gemma-4-31b-it` of `publishers/google/models/gemma4@gemma-4-31b-it`, "" if it comes from elsewhere."""
    source = model.get("baseModelSource")
    garden = source.get("modelGardenSource") if isinstance(source, dict) else None
    name = garden.get("publicModelName") if isinstance(garden, dict) else None
    return name.rpartition("@")[2].rpartition("/")[2] if isinstance(name, str) else ""


def _trouble(reply: Reply) -> Discovery:
    if reply.status == 0:
        return Discovery("down", detail=reply.error or "nobody answers")
    if reply.status in (401, 403):
        return Discovery("down", detail="it refuses the credentials: see `gcloud auth application-default login`")
    if reply.status == 404:
        return Discovery("down", detail="there is no such endpoint: look at `project`, `location` and `endpoint`")
    said = scrub(refusal.read(reply.body).message)[:200]
    return Discovery("down", detail=f"its endpoint gave status {reply.status}" + (f": {said}" if said else ""))


def _check_plain(chat: Chat, facts: Facts) -> None:
    """The older containers' limits, where no probe has told routing of them."""
    runtime = facts.runtime
    if chat.tools and (chat.tool_choice is None or chat.tool_choice.mode != "none"):
        raise UnsupportedParameter(f"tools do not work with {runtime} behind this endpoint", param="tools")
    if chat.output is not None:
        raise UnsupportedParameter(f"{runtime} behind this endpoint keeps to no format", param="response_format")
    for part in content_parts(chat):
        if isinstance(part, Audio | Video):
            raise PartRefused(f"{runtime} behind this endpoint takes neither sound nor video", param=part.path)


def _unwrapped(body: Any) -> Any:
    """The container's own answer."""
    inner = body.get("predictions") if isinstance(body, dict) else None
    if isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    return inner if isinstance(inner, dict) else body
