"""What explain foresees is what serving does now, and foreseeing changes nothing that serving goes by."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import yaml

from gateway.backends import Call, Discovery, Model
from gateway.canonical.content import Audio, Image, Media, Message, Text, Thinking, ToolCall, ToolResult
from gateway.canonical.context import Context
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, Options, OutputFormat, Sampling
from gateway.engine.fleet import Fleet
from gateway.engine.relay import Relay
from gateway.engine.route import Route, Router, affinity, with_defaults
from gateway.engine.servers import MAY_ASK_EVERY, Deployment
from gateway.errors import GatewayError
from gateway.routing.candidate import Candidate
from gateway.settings import Settings, parse

STAND_IN = {"facts": {"fixture": True}}


class NoRelay(Relay):
    """Nobody is asked to count in these tests."""

    def __init__(self) -> None:
        pass


def settings_of(**backends: dict[str, Any]) -> Settings:
    entries = {name: {"kind": "llamacpp", "url": "http://127.0.0.1:9", **more} for name, more in backends.items()}
    models = {"g": {"targets": [{"backend": name} for name in entries]}}
    return parse(yaml.safe_dump({"backends": entries, "models": models}), {})


def routed(settings: Settings) -> tuple[Router, dict[str, Deployment]]:
    """A router over servers that are all ready, and the one target of each."""
    fleet = Fleet()
    fleet.apply(settings)
    for server in fleet.servers.values():
        server.learn(Discovery("ready", [Model("m", facts=Facts(context=100_000))]))
    fleet.rename()
    return Router(fleet, NoRelay()), {d.server.name: d for d in fleet.resolve("g").deployments}


def ask(**fields: Any) -> Chat:
    return Chat("g", [Message("user", [Text("hello")])], **fields)


def context(settings: Settings) -> Context[Settings]:
    return Context("r", "openai", "", settings, 0.0, 1e9)


async def foreseen(router: Router, settings: Settings, chat: Chat) -> tuple[Route, str | GatewayError]:
    route = router.route(context(settings), chat)
    found = await router.foresee(route, chat)
    if isinstance(found, GatewayError):
        return route, found
    assert isinstance(found[0], Candidate) and isinstance(found[1], Call)
    return route, found[0].target.backend


async def test_the_last_target_rests_between_two_tries_and_foreseeing_uses_up_none():
    settings = settings_of(one={})
    router, targets = routed(settings)
    d = targets["one"]
    now = asyncio.get_running_loop().time()
    d.candidate.ejected_until, d.asked = now + 100, now
    route, error = await foreseen(router, settings, ask())
    assert isinstance(error, GatewayError) and (error.status, error.code) == (503, "no_healthy_backend")
    assert [x.need for v in route.decision.verdicts for x in v.lacks] == ["ejected"]
    assert d.asked == now
    d.asked = long_ago = now - 2 * MAY_ASK_EVERY
    for _ in range(3):
        assert (await foreseen(router, settings, ask()))[1] == "one"
    assert d.asked == long_ago


async def test_where_nobody_may_wait_any_more_serving_is_overloaded():
    settings = settings_of(one={}, two={})
    router, targets = routed(settings)
    for d in targets.values():
        d.candidate.in_flight, d.candidate.queued = d.candidate.limit, d.candidate.queue_limit
    _, error = await foreseen(router, settings, ask())
    assert isinstance(error, GatewayError) and (error.status, error.code) == (503, "server_is_overloaded")
    targets["two"].candidate.queued -= 1
    assert (await foreseen(router, settings, ask()))[1] == "two"


async def test_for_text_a_stand_in_is_for_where_no_real_one_can_be_waited_for():
    settings = settings_of(real={}, fake=STAND_IN, false=STAND_IN)
    router, targets = routed(settings)
    real = targets["real"].candidate
    real.in_flight = real.limit
    assert (await foreseen(router, settings, ask()))[1] == "real"
    real.queued = real.queue_limit
    _, error = await foreseen(router, settings, ask())
    assert isinstance(error, GatewayError) and error.code == "server_is_overloaded"
    real.state = "down"
    assert (await foreseen(router, settings, ask()))[1] in ("fake", "false")
    # stand-ins wait for each other like any others
    for name in ("fake", "false"):
        c = targets[name].candidate
        c.in_flight, c.queued = c.limit, c.queue_limit
    targets["false"].candidate.queued = 0
    assert (await foreseen(router, settings, ask()))[1] == "false"


async def test_what_a_kind_refuses_when_it_builds_stands_with_its_target():
    settings = settings_of(one={}, two={"kind": "openai"})
    router, targets = routed(settings)
    chat = ask(extra={"openai": {"grammar": 'root ::= "x"'}})
    route, chosen = await foreseen(router, settings, chat)
    assert chosen == "one"
    targets["one"].candidate.state = "down"
    route, error = await foreseen(router, settings, chat)
    lacks = {v.candidate.target.backend: [x.paths for x in v.lacks] for v in route.decision.verdicts}
    assert lacks == {"one": [()], "two": [("grammar",)]}
    assert isinstance(error, GatewayError) and error.status == 503


def test_a_conversation_keeps_its_affinity():
    first = ask()
    again = replace(first, messages=[*first.messages, Message("assistant", [Text("hi")]), Message("user", [Text("x")])])
    assert affinity(first) == affinity(again) != affinity(Chat("g", [Message("user", [Text("other")])]))


def test_defaults_fill_what_the_client_left_open_and_leave_its_request_alone():
    fleet = Fleet()
    fleet.apply(parse(yaml.safe_dump({
        "backends": {"one": {"kind": "llamacpp", "url": "http://127.0.0.1:9"}},
        "models": {"g": {"targets": [{"backend": "one"}], "defaults": {"temperature": 0.5, "top_p": 0.9}}},
    }), {}))  # fmt: skip
    chat = ask(sampling=Sampling(temperature=0.0))
    filled = with_defaults(chat, fleet.resolve("g"))
    assert isinstance(filled, Chat)
    assert (filled.sampling.temperature, filled.sampling.top_p) == (0.0, 0.9)
    assert chat.sampling.top_p is None


STRICT = Options(strict_parameters=True)


async def test_who_would_drop_a_parameter_does_not_fit_where_all_are_required():
    settings = settings_of(one={"kind": "openai"}, two={})
    router, targets = routed(settings)
    chat = ask(sampling=Sampling(top_k=40), options=STRICT)
    targets["one"].candidate.weight = 1000.0
    targets["two"].candidate.in_flight = 1
    assert (await foreseen(router, settings, replace(chat, options=Options())))[1] == "one"
    route, chosen = await foreseen(router, settings, chat)
    assert chosen == "two"
    lacks = {v.candidate.target.backend: [(x.need, x.paths) for x in v.lacks] for v in route.decision.verdicts}
    assert lacks == {"one": [("parameters", ("top_k",))], "two": []}
    chat.dropped.append("user")
    _, error = await foreseen(router, settings, chat)
    assert isinstance(error, GatewayError)
    assert (error.status, error.code) == (400, "no_target_fits") and "user" in error.message
    _, error = await foreseen(router, settings, replace(ask(options=STRICT), dropped=["user"]))
    assert isinstance(error, GatewayError) and error.param == "user"


async def test_a_part_that_would_not_arrive_whole_is_refused_by_its_place():
    settings = settings_of(one={"kind": "openai"})
    router, _ = routed(settings)
    thought = Thinking("hm", path="messages[1].reasoning_content")
    turn = Message("assistant", [thought, ToolCall("1", "look", "{}")])
    messages = [Message("user", [Text("a")]), turn, Message("tool", [ToolResult("1", [Text("b")])])]
    chat = replace(ask(), messages=messages)
    assert (await foreseen(router, settings, chat))[1] == "one"
    assert (await foreseen(router, settings, replace(chat, options=STRICT)))[1] != "one"
    _, error = await foreseen(router, settings, replace(chat, options=Options(strict_parts=True)))
    assert isinstance(error, GatewayError)
    assert (error.status, error.code, error.param) == (400, "no_target_fits", thought.path)


async def test_a_default_of_the_operator_is_no_parameter_of_the_request():
    entries = {"one": {"kind": "openai", "url": "http://127.0.0.1:9"}}
    models = {"g": {"targets": [{"backend": "one"}], "defaults": {"top_k": 40}}}
    settings = parse(yaml.safe_dump({"backends": entries, "models": models}), {})
    router, _ = routed(settings)
    assert (await foreseen(router, settings, ask(options=STRICT)))[1] == "one"


async def test_a_request_keeps_the_policy_that_it_came_with():
    def under(privacy: str, prefer: str) -> Settings:
        return parse(yaml.safe_dump({
            "backends": {
                "near": {"kind": "llamacpp", "url": "http://127.0.0.1:9", "facts": {"audio": False}},
                "far": {"kind": "openai", "url": "http://127.0.0.1:8", "local": False, "facts": {"audio": True}},
            },
            "models": {"g": {"targets": [{"backend": "near"}, {"backend": "far"}]}},
            "routes": [{"match": {}, "prefer": [{"backend": prefer}]}],
            "privacy": {"audio": privacy},
        }), {})  # fmt: skip

    old, new = under("any", "near"), under("local", "far")
    router, _ = routed(new)
    assert (await foreseen(router, old, ask()))[1] == "near"
    assert (await foreseen(router, new, ask()))[1] == "far"
    sound = Audio(Media("audio/wav", base64="UklGRiQAAABXQVZFZm10IA=="), path="messages[0].content[0]")
    chat = Chat("g", [Message("user", [sound])])
    assert (await foreseen(router, old, chat))[1] == "far"
    _, error = await foreseen(router, new, chat)
    assert isinstance(error, GatewayError) and error.code == "privacy_rail"


# ---- whose request it is ----


@pytest.mark.parametrize("auth", ["none", {"api_key_env": "KEY"}])
async def test_a_server_that_keeps_prompts_apart_is_told_whose_they_are(auth: Any):
    entries = {"one": {"kind": "vllm", "url": "http://127.0.0.1:9"}}
    models = {"g": {"targets": [{"backend": "one"}]}}
    settings = parse(yaml.safe_dump({"backends": entries, "models": models, "auth": auth}), {"KEY": "a-key-of-clients"})
    router, _ = routed(settings)
    asked = ask()
    route = router.route(replace(context(settings), key_id="id-of-the-key"), asked)
    found = await router.foresee(route, asked)
    assert not isinstance(found, GatewayError)
    body = msgspec.json.decode(found[1].octets())
    assert body.get("cache_salt") == (None if auth == "none" else "id-of-the-key")
    assert asked.options.tenant == "", "the client's request stays as it was"


async def test_the_words_about_the_answer_s_form_do_not_shift_the_receipt():
    settings = settings_of(one={"facts": {"family": "gemma4", "image": True, "json_schema": "verified"}})
    router, targets = routed(settings)
    picture = Message("user", [Text("see"), Image(Media("image/png", base64="iVBORw0KGgo="))])
    chat = ask(output=OutputFormat("json_object"))
    chat.messages = [picture, Message("assistant", [Text("yes")]), Message("user", [Text("x<turn|>")])]
    route = router.route(context(settings), chat)
    call = await router.prepare(route, chat, targets["one"].candidate)
    assert call is not None and call.fates == {3: "text>neutralised"}
