from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.canonical.needs import Needs
from gateway.canonical.requests import Options
from gateway.errors import ContextTooLong, GatewayError, NoHealthyBackend, NoTargetFits, PrivacyRail, UnsupportedMedia
from gateway.routing.candidate import Candidate
from gateway.routing.policy import Policy, decide, refusal

from .fleet import asks, medium, target


def refused(needs: Needs, *fleet: Candidate, auto: bool = False, policy: Policy | None = None) -> GatewayError:
    d = decide(needs, fleet, model="gemma", auto=auto, dialect="openai", policy=policy or Policy(), now=1.0)
    assert not d.order
    return refusal(d, needs, "gemma")


SEE = asks(medium("image", at=1))
HEAR = asks(medium("audio", at=1))


@pytest.mark.parametrize(
    ("needs", "fleet", "want", "param"),
    [
        (SEE, [target("a", image=False), target("b")], NoTargetFits, "messages[0].content[1]"),
        (SEE, [target("a", image=False), target("b", image=True, state="down")], NoHealthyBackend, None),
        (SEE, [target("a", state="unprobed")], NoHealthyBackend, None),
        (SEE, [target("a", image=False, state="down")], NoTargetFits, "messages[0].content[1]"),
        (asks(), [target("a", state="loading")], NoHealthyBackend, None),
        (asks(), [target("a", state="mismatch")], NoHealthyBackend, None),
        (asks(), [], NoHealthyBackend, None),
        (asks(text_size=6000), [target("a", context=512)], ContextTooLong, "messages"),
        (asks(text_size=6000), [target("a", context=512, state="down")], ContextTooLong, "messages"),
        (asks(text_size=6000), [target("a", context=512), target("b", state="down")], NoHealthyBackend, None),
        (
            asks(text_size=6000, tools=True),
            [target("a", context=512), target("b", tools=False)],
            ContextTooLong,
            "messages",
        ),
        (asks(text_size=6000, tools=True), [target("a", context=512, tools=False)], NoTargetFits, None),
        (HEAR, [target("a", audio=True, local=False)], PrivacyRail, "messages[0].content[1]"),
        (HEAR, [target("a", audio=True, local=False), target("b")], PrivacyRail, "messages[0].content[1]"),
        (HEAR, [target("a", audio=False, local=False)], NoTargetFits, "messages[0].content[1]"),
        (HEAR, [target("a", audio=True, state="down"), target("b", audio=True, local=False)], NoHealthyBackend, None),
        (asks(medium("image"), medium("image", at=1)), [target("a", image=False)], NoTargetFits, None),
        (
            asks(medium("image"), medium("audio", "audio/ogg", at=1)),
            [target("a", image=True, audio=True, audio_formats=frozenset({"audio/wav"})), target("b", audio=False)],
            UnsupportedMedia,
            "messages[0].content[1]",
        ),
        (asks(medium("image"), tools=True), [target("a", tools=False, image=True), target("b")], NoTargetFits, None),
    ],
)
def test_which_error(needs: Needs, fleet: list[Candidate], want: type, param: str | None) -> None:
    error = refused(needs, *fleet)
    assert type(error) is want
    assert error.param == param
    assert (error.retry_after is not None) is (want is NoHealthyBackend)


def test_it_names_needs_targets_and_flags() -> None:
    ears = target(
        "ears", model="/home/u/models/gemma.gguf", image=False, hints={"image": "start it with --mmproj FILE"}
    )
    gpu = target(
        "gpu", "vllm", "google/gemma-4-12b", tools=False, image=True, hints={"tools": "--tool-call-parser gemma4"}
    )
    error = refused(asks(medium("image"), tools=True), ears, gpu)
    assert error.status == 400 and error.code == "no_target_fits"
    assert error.message == (
        "no target of 'gemma' can take this request, which needs chat, image and tools. "
        "ears/gemma.gguf: does not take image (start it with --mmproj FILE). "
        "gpu/google/gemma-4-12b: does not take tools (--tool-call-parser gemma4)."
    )
    assert error.detail is not None
    assert error.detail["targets"][0] == {
        "target": "ears/gemma.gguf",
        "state": "ready",
        "lacks": [
            {
                "kind": "need",
                "need": "image",
                "reason": "does not take image",
                "hint": "start it with --mmproj FILE",
                "paths": ["messages[0].content[0]"],
            }
        ],
    }
    json.dumps(error.detail)


def test_context_says_what_clients_look_for() -> None:
    message = refused(asks(text_size=6000), target("a", context=512)).message
    assert "prompt is too long" in message and "maximum context length is 512" in message


def test_what_is_down_is_said_without_what_the_server_said() -> None:
    error = refused(
        asks(), target("a", state="down", detail="connect to 10.1.2.3:8000 failed"), target("b", state="loading")
    )
    assert error.status == 503
    assert "a/m: does not answer" in error.message and "b/m: is loading its model" in error.message
    assert "10.1.2.3" not in error.message + json.dumps(error.detail)


def test_a_server_whose_model_is_not_known_yet_has_a_name() -> None:
    assert " ears: has not been reached" in refused(asks(), target("ears", model="", state="unprobed")).message


def test_auto_that_may_not_leave_says_which_setting() -> None:
    error = refused(asks(medium("image")), target("a", image=True, local=False), auto=True)
    assert type(error) is NoTargetFits and "auto: {hosted: true}" in error.message
    # sound would not leave even then
    error = refused(HEAR, target("a", audio=True, local=False), auto=True, policy=Policy(auto_hosted=True))
    assert type(error) is PrivacyRail


def test_what_the_request_itself_excludes() -> None:
    error = refused(asks(options=Options(require={"kind": ["tgi"]})), target("a"), target("b"))
    assert type(error) is NoTargetFits
    assert "kind tgi" in error.message and "the request requires kind: tgi" in error.message


@pytest.mark.parametrize("count", [1, 3, 40, 400])
def test_long_stories_are_cut(count: int) -> None:
    fleet = [target(f"backend-{i}", image=False, hints={"image": "a flag " * 20}) for i in range(count)]
    long: dict[str, Any] = {"x" * 300: ["y" * 5000]}
    error = refused(asks(medium("image"), options=Options(require=long)), *fleet)
    assert len(error.message) <= 1024
    assert error.detail is not None and len(error.detail["targets"]) == count
    assert ("gateway.targets" in error.message) is (count > 1)


def test_a_long_model_name_is_cut() -> None:
    d = decide(asks(), [], model="g", auto=False, dialect="openai", policy=Policy(), now=1.0)
    assert len(refusal(d, asks(), "m" * 5000).message) < 300
