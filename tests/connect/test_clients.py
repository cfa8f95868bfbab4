"""What each client is told of a fleet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.connect.clients import CLIENTS
from gateway.connect.command import shown, told
from gateway.connect.fleet import CONTEXT, NO_KEY, Fleet, Model, NoSuchModel, read

URL, KEY, VARIABLE = "http://gw:4000", "sk-secret-91", "GATEWAY_API_KEY"


def card(name: str, *, tools: bool = True, ready: bool = True, fixture: bool = False, **more: Any) -> dict[str, Any]:
    targets = [{"facts": {"fixture": {"value": fixture, "source": "operator"}}}]
    parameters = ["tools"] if tools else []
    return {"id": name, "supported_parameters": parameters, "gateway": {"ready": ready, "targets": targets}, **more}


def fleet(key: str = "") -> Fleet:
    cards = [card("small", context_length=4096), card("gemma-4", context_length=131_072)]
    cards[1]["architecture"] = {"input_modalities": ["text", "image"]}
    return read(URL, cards, name="gemma-4", key=key, key_env=VARIABLE)


def everything(client: str, given: Fleet) -> str:
    c = CLIENTS[client](given)
    return " ".join([json.dumps(dict(c.env)), json.dumps(dict(c.run_env)), *c.argv, *(f.text() for f in c.files)])


@pytest.mark.parametrize("client", CLIENTS)
def test_each_is_told_the_address_and_the_model(client: str):
    said = everything(client, fleet())
    assert URL in said and "gemma-4" in said and VARIABLE not in said


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_is_never_printed(client: str):
    out = told(CLIENTS[client](shown(fleet(KEY))), fleet(KEY), {})
    assert KEY not in out and VARIABLE in out
    assert KEY in everything(client, fleet(KEY))  # but the client gets it


@pytest.mark.parametrize("client", CLIENTS)
def test_a_file_that_holds_the_key_is_private(client: str):
    for file in CLIENTS[client](fleet(KEY)).files:
        assert file.secret == (KEY in file.text()), file.path


@pytest.mark.parametrize("client", CLIENTS)
def test_what_it_can_do_alone_is_said_without_its_file(client: str):
    connection = CLIENTS[client](fleet())
    if connection.alone:
        assert URL in " ".join([*connection.argv, *connection.run_env.values()])


def test_the_model_that_suits_an_agent_is_chosen():
    cards = [card("no-tools", tools=False), card("stand-in", fixture=True), card("down", ready=False), card("good")]
    assert read(URL, cards, name=None, key="", key_env=VARIABLE).model.name == "good"
    assert read(URL, cards[:1], name=None, key="", key_env=VARIABLE).model.name == "no-tools"
    assert read(URL, [card("a"), card("b")], name=None, key="", key_env=VARIABLE).model.name == "a"


def test_models_that_are_not_there():
    with pytest.raises(NoSuchModel, match="there are: a, b"):
        read(URL, [card("a"), card("b")], name="c", key="", key_env=VARIABLE)
    with pytest.raises(NoSuchModel):
        read(URL, [], name=None, key="", key_env=VARIABLE)


def test_what_the_fleet_does_not_say():
    given = read(f"{URL}/", [card("a", context_length=None)], name=None, key="", key_env=VARIABLE)
    assert (given.url, given.key, given.key_env, given.model) == (URL, NO_KEY, "", Model("a", CONTEXT))
    assert given.model.output == 8192 and Model("a", 4096).output == 1024


def test_what_will_keep_a_client_from_working_is_said():
    def said(**more: Any) -> str:
        given = read(URL, [card("m", **more)], name=None, key="", key_env=VARIABLE)
        return told(CLIENTS["codex"](given), given, {})

    assert "No server is ready for m now: `gateway caps` shows what there is." in said(ready=False)
    assert "m takes 4,096 tokens at once, fewer than most coding agents send" in said(context_length=4096)
    assert said() == said(context_length=32_768)
    assert "tokens at once" not in said() and "ready" not in said()
