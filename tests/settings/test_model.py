from __future__ import annotations

from dataclasses import fields

from pydantic import SecretStr

from gateway.routing.rules import DEFAULT_RULES, Selector
from gateway.settings.model import (
    AuthSettings,
    AutoSettings,
    BackendSettings,
    BackendTimeouts,
    Limits,
    Section,
    Settings,
    Timeouts,
)


def test_a_key_without_a_value_is_not_there() -> None:
    assert Limits.model_validate({"body": None, "tools": 3}) == Limits(tools=3)


def test_every_section_refuses_unknown_keys_and_changes() -> None:
    for cls in (*Section.__subclasses__(), Timeouts):
        assert cls.model_config["extra"] == "forbid"
        assert cls.model_config["frozen"]
        assert cls.derived <= set(cls.model_fields)


def test_the_numbers() -> None:
    limits, times = Limits(), Timeouts()
    assert (limits.body, limits.memory, limits.json_depth) == (64 << 20, 256 << 20, 64)
    assert (limits.messages, limits.parts, limits.images, limits.tools) == (4096, 256, 32, 128)
    assert (limits.choices, limits.top_logprobs, limits.model_name, limits.in_flight) == (16, 20, 256, 1024)
    assert (times.connect, times.first_byte, times.first_byte_unknown, times.idle, times.total) == (
        3,
        120,
        600,
        60,
        1800,
    )
    assert (times.queue, times.life_sign, times.drain, times.probe, times.liveness, times.facts) == (
        8,
        10,
        300,
        2,
        5,
        30,
    )
    assert (times.client_body, times.send_stall) == (30, 60)
    assert set(BackendTimeouts.model_fields) < set(Timeouts.model_fields)


def test_the_keys_of_a_section_are_what_the_file_may_say() -> None:
    assert "name" not in BackendSettings.key_names()
    assert "api_key" not in BackendSettings.key_names()
    assert AuthSettings.key_names() == ["api_key_env", "api_key_file", "keys_file"]
    assert "digest" not in Settings.key_names()


def test_the_digest_is_stable_across_order_and_blind_to_secrets() -> None:
    a = BackendSettings(name="a", url="http://a", allow=frozenset({"nvfp4-weight-only", "x", "y"}))
    b = BackendSettings(name="b", url="http://b", api_key=SecretStr("1"))
    again = b.model_copy(update={"api_key": SecretStr("2")})
    one = Settings(backends={"a": a, "b": b})
    assert one.digest == Settings(backends={"b": again, "a": a}).digest
    assert one.digest != Settings(backends={"a": a}).digest
    assert one.digest != Settings(backends={"a": a.model_copy(update={"local": False}), "b": b}).digest


def test_every_known_fact_reaches_the_digest() -> None:
    a = BackendSettings(name="a", url="http://a")
    plain = Settings(backends={"a": a}).digest
    facts = a.facts
    for name in ("audio", "context", "operations"):
        assert name in {f.name for f in fields(facts)}
    changed = type(facts)(operations=frozenset({"chat"}), audio=True, context=5)
    assert plain != Settings(backends={"a": a.model_copy(update={"facts": changed})}).digest


def test_the_policy_is_one_object_per_configuration() -> None:
    plain = Settings()
    assert plain.policy is plain.policy
    assert (list(plain.policy.rules), plain.policy.auto_hosted) == (list(DEFAULT_RULES), False)
    assert plain.policy.privacy == {"audio": "local"}
    wish = Selector(kind=("vllm",))
    liked = Settings(auto=AutoSettings(hosted=True, prefer=(wish,)), privacy={"image": "local"}).policy
    assert (liked.rules[-1].match.model, liked.rules[-1].prefer) == (("auto",), (wish,))
    assert (liked.auto_hosted, liked.privacy) == (True, {"image": "local"})
