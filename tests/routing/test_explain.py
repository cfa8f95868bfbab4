from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.facts import Facts, layer
from gateway.canonical.needs import Needs
from gateway.canonical.requests import Options
from gateway.errors import RateLimited
from gateway.routing.candidate import Candidate
from gateway.routing.explain import explain
from gateway.routing.policy import Policy, decide, refusal

from .fleet import asks, candidates, medium, policies, requests, target


def test_what_it_says() -> None:
    ears = target("ears", audio=True, in_flight=1)
    ears.facts = layer(
        ("operator", Facts(audio=True)), ("probed", Facts(context=8192, audio_formats=frozenset({"b", "a"})))
    )
    fleet = [
        target("deaf", audio=False),
        target("gpu", "vllm", audio=True),
        ears,
        target("full", audio=True, in_flight=4),
    ]
    needs = asks(medium("audio", "b", size=9), tools=True, options=Options(prefer=[{"backend": ["ears"]}]))
    d = decide(needs, fleet, model="g", auto=False, dialect="openai", policy=Policy(), now=1.0)
    out = explain(d, needs, model="g", chosen=ears, dialect="openai", parts=["0=audio"], dropped=["user"])
    assert out["model"] == "g" and out["dialect"] == "openai" and out["auto"] is False
    assert out["rules"] == ["default[2]"]
    assert (
        out["chosen"] == "ears/m"
        and out["parts"] == ["0=audio"]
        and out["dropped"] == ["user"]
        and out["error"] is None
    )
    assert out["needs"] == {
        "operation": "chat",
        "tokens": {"at_least": 6, "at_most": 40 + 16 + 64 + 800},
        "modalities": ["audio"],
        "media": [
            {"path": "messages[0].content[0]", "modality": "audio", "mime": "b", "form": "base64", "size": 9},
        ],
        "tools": True,
        "prefer": [{"backend": ["ears"]}],
    }
    assert [(c["target"], c["verdict"]) for c in out["candidates"]] == [
        ("ears/m", "chosen"),
        ("gpu/m", "fits"),
        ("full/m", "busy"),
        ("deaf/m", "refused"),
    ]
    chosen = out["candidates"][0]
    assert chosen["facts"] == {
        "audio": {"value": True, "source": "operator"},
        "audio_formats": {"value": ["a", "b"], "source": "probed"},
        "context": {"value": 8192, "source": "probed"},
    }
    load = {"in_flight": 1, "limit": 4, "queued": 0, "queue_limit": 64, "others": 0, "cache": None}
    assert chosen["limits"] == load | {"weight": 1.0}
    assert out["candidates"][3]["lacks"][0]["need"] == "audio"


def test_what_serving_would_answer() -> None:
    needs = asks(medium("image"))
    d = decide(needs, [target("a")], model="g", auto=False, dialect="openai", policy=Policy(), now=1.0)
    error = explain(d, needs, model="g", chosen=None)["error"]
    assert (error["status"], error["code"], error["param"]) == (400, "no_target_fits", "messages[0].content[0]")
    own = explain(d, needs, model="g", chosen=None, error=RateLimited("slow down", retry_after=3.0))["error"]
    assert own == {
        "status": 429,
        "code": "rate_limit_exceeded",
        "message": "slow down",
        "param": None,
        "retry_after": 3.0,
    }


@settings(max_examples=60)
@given(requests(), candidates(), st.booleans(), policies)
def test_explain_says_what_serving_does(needs: Needs, fleet: list[Candidate], auto: bool, policy: Policy) -> None:
    d = decide(needs, fleet, model="g", auto=auto, dialect="openai", policy=policy, now=100.0)
    chosen = d.order[0] if d.order else None
    out = json.loads(json.dumps(explain(d, needs, model="g", auto=auto, chosen=chosen)))
    shown = [c["target"] for c in out["candidates"]]
    assert shown[: len(d.order)] == [c.target.label for c in d.order]
    assert len(shown) == len(fleet)
    free = [c.target.label for c in d.order if c not in d.busy]
    standing = {c["target"]: c["verdict"] for c in out["candidates"]}
    assert [t for t in shown if standing[t] in ("chosen", "fits")] == free
    assert [t for t in shown if standing[t] == "busy"] == [c.target.label for c in d.busy]
    assert [t for t in shown if standing[t] == "chosen"] == [c.target.label for c in d.order[:1] if c not in d.busy]
    for c in out["candidates"]:
        assert (c["verdict"] == "refused") is bool({x["kind"] for x in c["lacks"]} - {"busy"})
    if chosen is not None:
        assert out["chosen"] == chosen.target.label and out["error"] is None
    else:
        assert out["error"]["message"] == refusal(d, needs, "g").message
