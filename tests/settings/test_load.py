# ruff: noqa: E501 (tables)
"""Whole files: what they become, and what is said about those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from gateway import backends
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Sampling, ThinkingConfig
from gateway.routing.rules import DEFAULT_RULES
from gateway.settings import (
    Address,
    ConfigErrors,
    Limits,
    Settings,
    TargetSettings,
    Timeouts,
    defaults,
    key_variable,
    load,
    parse,
)

DESIGN = """
listen: 127.0.0.1:4000
auth: none
cors: {origins: []}
backends:
  ears:      {kind: llamacpp, url: "http://127.0.0.1:8081"}
  blackwell: {kind: vllm, url: "http://gpu1:8000", hardware: blackwell, api_key_env: VLLM_KEY}
  google:    {kind: gemini, api_key_env: GEMINI_API_KEY}
  mac: http://mac.local:8080
models:
  gemma-4:
    aliases: [gpt-4o-mini, "claude-*"]
    targets:
      - {backend: ears}
      - {backend: blackwell, model: nvidia/Gemma-4-31B-IT-NVFP4, weight: 2}
routes:
  - {match: {quantization: nvfp4}, require: {kind: vllm, hardware: [blackwell]}}
  - {match: {modality: [video]}, prefer: [{kind: vllm}]}
  - {match: {modality: [audio]}, prefer: [{kind: llamacpp}, {kind: vllm, variant: [e2b, e4b, 12b]}]}
privacy: {audio: local}
media: {remote: guarded}
"""
ENV = {"VLLM_KEY": "vllm-secret-value", "GEMINI_API_KEY": "gemini-secret-value"}


def problems(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, env or {}, "f.yaml")
    return str(caught.value).split("\n")


def test_the_shape_of_the_design() -> None:
    settings = parse(DESIGN, ENV)
    assert settings.listen == (Address("127.0.0.1", 4000),)
    assert settings.auth.mode == "none"
    assert {n: (b.kind, b.url, b.local) for n, b in settings.backends.items()} == {
        "ears": ("llamacpp", "http://127.0.0.1:8081", True),
        "blackwell": ("vllm", "http://gpu1:8000", True),
        "google": ("gemini", "https://api.example.com", False),
        "mac": (None, "http://mac.local:8080", True),
    }
    key = settings.backends["blackwell"].api_key
    assert key is not None and key.get_secret_value() == "vllm-secret-value"
    assert settings.backends["blackwell"].facts == Facts(hardware="blackwell")
    assert settings.models["gemma-4"].aliases == ("gpt-4o-mini", "claude-*")
    assert settings.models["gemma-4"].targets == (
        TargetSettings(backend="ears"),
        TargetSettings(backend="blackwell", model="nvidia/Gemma-4-31B-IT-NVFP4", weight=2.0),
    )
    assert [(r.match, r.require, r.prefer) for r in settings.routes] == [
        (r.match, r.require, r.prefer) for r in DEFAULT_RULES
    ]
    assert [r.path for r in settings.routes] == ["routes[0]", "routes[1]", "routes[2]"]
    assert settings.privacy == {"audio": "local"}
    assert settings.media.remote == "guarded"


@pytest.mark.parametrize("text", ["", "backends:\nmodels:\nlimits:\nauth:\nroutes:\nprivacy:\n", "{}"])
def test_nothing_said_is_the_default(text: str) -> None:
    settings = parse(text, {})
    assert settings == Settings() == defaults({})
    assert settings.digest == defaults({}).digest
    assert (settings.routes, settings.limits, settings.timeouts) == (DEFAULT_RULES, Limits(), Timeouts())
    assert (settings.repair, settings.unknown_model, settings.auto.hosted) == ("fix", "error", False)


def test_all_problems_at_once_with_line_path_and_choices() -> None:
    text = (
        "backends:\n"
        "  ears: {kind: llamacp, url: 'http://127.0.0.1:8081'}\n"
        "  gpu: {kind: vllm, url: 'http://gpu1:8000', hardwear: blackwell, api_key_env: VLLM_KEY}\n"
        "  bare: {kind: vllm}\n"
        "models:\n"
        "  gemma:\n"
        "    targets: [{backend: eras}]\n"
        "route: []\n"
        "repair: obserfe\n"
        "timeouts: {idle: 0, total: never}\n"
    )
    assert problems(text) == [
        "f.yaml:2: backends.ears.kind: unknown kind 'llamacp' (choices: gemini, llamacpp, openai, vllm; did you mean llamacpp?)",
        "f.yaml:3: backends.gpu.hardwear: unknown key 'hardwear' (choices: allow, api_key_env, api_key_file, endpoint, facts, "
        "hardware, kind, local, location, max_in_flight, project, quantization, run, timeouts, url, variant; did you mean hardware?)",
        "f.yaml:3: backends.gpu.api_key_env: the environment variable VLLM_KEY is not set or empty: export VLLM_KEY=...",
        "f.yaml:4: backends.bare: url is required, such as url: \"http://127.0.0.1:8080\"",
        "f.yaml:7: models.gemma.targets[0].backend: unknown backend 'eras' (choices: bare, ears, gpu; did you mean ears?)",
        "f.yaml:8: route: unknown key 'route' (choices: admin, auth, auto, backends, cors, limits, listen, log, media, models, "
        "otel, privacy, quotas, repair, routes, runaway, state, timeouts, tls, unknown_model; did you mean routes?)",
        "f.yaml:9: repair: unknown value 'obserfe' (choices: fix, observe, off; did you mean observe?)",
        "f.yaml:10: timeouts.idle: must be more than 0 and at most 7d: nothing here waits without end",
        "f.yaml:10: timeouts.total: must be more than 0 and at most 7d: nothing here waits without end",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("backends: 3", "backends"),
        ("backends: [a]", "backends"),
        ("models: x", "models"),
        ("routes: {}", "routes"),
        ("cors: []", "cors"),
        ("cors: {origins: ['https://a/b']}", "cors.origins[0]"),
        ("cors: {origins: a/b}", "cors.origins"),
        ("privacy: 3", "privacy"),
        ("privacy: {audio: hosted}", "privacy.audio"),
        ("privacy: {sound: local}", "privacy.sound"),
        ("media: off", "media"),
        ("media: {remote: open}", "media.remote"),
        ("media: {remote: allow}", "media.remote"),
        ("media: {remote: 3}", "media.remote"),
        ("media: {remote: {allow: []}}", "media.remote"),
        ("media: {remote: {allow: ['http://a']}}", "media.remote.allow[0]"),
        ("media: {remote: {alow: [a], allow: [a]}}", "media.remote.alow"),
        ("media: {allow: [a]}", "media.allow"),
        ("auto: true", "auto"),
        ("auto: {hosted: 1}", "auto.hosted"),
        ("auto: {prefer: [{kin: vllm}]}", "auto.prefer[0].kin"),
        ("auto: {prefer: [{backend: nobody}]}", "auto.prefer[0].backend"),
        ("unknown_model: gema", "unknown_model"),
        ("unknown_model: [a]", "unknown_model"),
        ("limits: {body: 0}", "limits.body"),
        ("limits: {body: 64 TiB}", "limits.body"),
        ("limits: {messages: many}", "limits.messages"),
        ("limits: {mesages: 3}", "limits.mesages"),
        ("limits: 3", "limits"),
        ("timeouts: {idle: .inf}", "timeouts.idle"),
        ("timeouts: {idle: -1}", "timeouts.idle"),
        ("timeouts: {queue: 10}", "timeouts.queue"),
        ("timeouts: {queue: 3, life_sign: 3}", "timeouts.queue"),
        ("{timeouts: {queue: 30}, backends: {a: 'http://a'}}", "timeouts.queue"),
        ("backends: {a: {url: 'http://a', timeouts: {queue: 10}}}", "backends.a.timeouts.queue"),
        (
            "{timeouts: {life_sign: 5}, backends: {a: {url: 'http://a', timeouts: {queue: 5}}}}",
            "backends.a.timeouts.queue",
        ),
        ("repair: true", "repair"),
        ("state: /var", "state"),
        ("state: {dir: 3}", "state.dir"),
        ("log: {level: loud}", "log.level"),
        ("log: {format: xml}", "log.format"),
        ("otel: {}", "otel.endpoint"),
        ("otel: {endpoint: 'http://u:p@c'}", "otel.endpoint"),
        ("tls: {cert: a.pem}", "tls.key"),
        ("tls: {cert: /no/where, key: a.pem}", "tls.cert"),
        ("quotas: {in_flight: 0}", "quotas.in_flight"),
        ("listen: {a: 1}", "listen"),
        ("backends: {a: {api_key: sk-1234, url: 'http://a'}}", "backends.a.api_key"),
    ],
)
def test_every_wrong_value_is_named_by_its_path(text: str, path: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, {})
    assert path in [p.path for p in caught.value.problems]
    assert all(p.line == 1 for p in caught.value.problems)


def test_yaml_that_cannot_be_read_says_only_that() -> None:
    assert len(problems("listen: [\nauth: none\n")) == 1
    assert problems("- a\n") == ["f.yaml:1: the top level must be a mapping (key: value), not a list"]
    assert problems("repair: fix\nrepair: off\n") == ["f.yaml:2: repair: stands twice (first on line 1)"]


def test_values_of_the_top_level() -> None:
    settings = parse(
        """
models: {m: {aliases: [other, "x-*"], targets: [{backend: b, model: id/of-it}]}}
backends: {b: "http://b:1"}
cors: {origins: https://a.example}
privacy: {image: local, text: any}
media: {remote: {allow: [a.example, "b:8080"]}}
auto: {hosted: yes, prefer: {variant: 31B}}
unknown_model: other
limits: {body: 1MiB, stop: 4, queue: 0}
timeouts: {idle: 2m, total: 90}
repair: off
state: {dir: data}
log: {level: WARNING, format: text}
otel: {endpoint: "http://c:4318"}
quotas: {requests_per_minute: 60}
routes: []
""",
        {},
        base=Path("/etc/gateway"),
    )
    assert settings.cors.origins == ("https://a.example",)
    assert settings.privacy == {"audio": "local", "image": "local", "text": "any"}, "sound stays home all the same"
    assert (settings.media.remote, settings.media.allow) == ("allow", ("a.example", "b:8080"))
    assert settings.auto.hosted and settings.auto.prefer[0].variant == ("31b",)
    assert settings.unknown_model == "other"
    assert (settings.limits.body, settings.limits.stop, settings.limits.queue) == (1 << 20, 4, 0)
    assert (settings.timeouts.idle, settings.timeouts.total, settings.timeouts.connect) == (120.0, 90.0, 3.0)
    assert settings.repair == "off"
    assert settings.state.dir == Path("/etc/gateway/data")
    assert (settings.log.level, settings.log.format) == ("warning", "text")
    assert settings.otel is not None and (settings.otel.service_name, settings.otel.sample) == ("gemma-gateway", 1.0)
    assert settings.quotas.requests_per_minute == 60 and settings.quotas.tokens_per_minute is None
    assert settings.routes == ()


@pytest.mark.parametrize("name", ["error", "auto", "m", "other", "id/of-it"])
def test_unknown_model_takes_any_name_of_the_file(name: str) -> None:
    base = (
        'models: {m: {aliases: [other, "x-*"], targets: [{backend: b, model: id/of-it}]}}\nbackends: {b: "http://b"}\n'
    )
    assert parse(base + f"unknown_model: {name}\n", {}).unknown_model == name
    assert (
        "unknown model 'x-*' (choices: auto, error, id/of-it, m, other)" in problems(base + 'unknown_model: "x-*"\n')[0]
    )


def test_audio_may_leave_only_where_the_file_says_so() -> None:
    assert parse("privacy: {audio: any}", {}).privacy == {"audio": "any"}
    assert parse("privacy: {audio: }", {}).privacy == {"audio": "local"}


def test_the_digest_follows_the_content_and_not_the_secret() -> None:
    one = parse(DESIGN, ENV)
    assert one.digest == parse("# a comment\n" + DESIGN, ENV | {"OTHER": "x"}).digest
    assert one.digest == parse(DESIGN, ENV | {"VLLM_KEY": "rotated"}).digest
    assert one.digest != parse(DESIGN + "repair: off\n", ENV).digest
    assert one.digest != parse(DESIGN.replace("weight: 2", "weight: 3"), ENV).digest
    assert one.digest != parse(DESIGN, ENV | {"PORT": "5000"}).digest
    assert len(one.digest) == 16


def test_a_secret_shows_up_nowhere() -> None:
    settings = parse(DESIGN, ENV)
    shown = repr(settings) + str(settings) + settings.model_dump_json() + repr(settings.model_dump())
    assert "secret-value" not in shown
    with pytest.raises(ConfigErrors) as caught:
        parse(DESIGN + "oops: 1\n", ENV | {"VLLM_KEY": "secret-value with spaces"})
    assert "secret-value" not in repr(caught.value) + str(caught.value)
    assert "VLLM_KEY" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "auth: hunter2",
        "auth: {api_key: hunter2}",
        "auth: {api_key_env: hunter-2-hunter2}",
        "auth: {key: hunter2}",
        "backends: {a: {url: 'http://a', api_key: hunter2}}",
        "backends: {a: {url: 'http://me:hunter2@a'}}",
        "backends: {a: 'http://a?key=hunter2'}",
        "backends: {a: {url: 'http://a', api_key_env: 'hunter2 x'}}",
        "backends: {a: {url: 'http://a', token: hunter2}}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    assert "hunter2" not in "\n".join(problems(text))


def test_settings_do_not_change() -> None:
    settings = parse(DESIGN, ENV)
    with pytest.raises(ValueError):
        settings.repair = "off"
    with pytest.raises(ValueError):
        settings.backends["ears"].local = False


def test_load_reads_a_file_and_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("file-secret\n")
    file = tmp_path / "my.yaml"
    file.write_text("backends: {a: {url: 'http://a', api_key_file: key}}\n")
    key = load(file, {}).backends["a"].api_key
    assert key is not None and key.get_secret_value() == "file-secret"
    file.write_text("backends: {a: {url: 'http://a', api_key_file: nokey}}\n")
    with pytest.raises(ConfigErrors, match=r"^my.yaml:1: backends.a.api_key_file: can't read 'nokey': No such file"):
        load(file, {})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"/none.yaml: there is no such file: `gateway init`"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigErrors, match="is a folder: name the file in it"):
        load(tmp_path, {})
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(ConfigErrors, match=r"^bad.yaml:2: is not UTF-8"):
        load(bad, {})


def test_without_a_file_backends_come_from_the_environment() -> None:
    env = {"GATEWAY_BACKEND_EARS": "http://127.0.0.1:8081", "GATEWAY_BACKEND_X": "", "PORT": "5000"}
    settings = defaults(env)
    assert {n: (b.kind, b.url) for n, b in settings.backends.items()} == {"ears": (None, "http://127.0.0.1:8081")}
    assert settings.listen == (Address("127.0.0.1", 5000),)
    with pytest.raises(ConfigErrors, match=r"^environment: GATEWAY_BACKEND_X: must begin with http"):
        defaults({"GATEWAY_BACKEND_X": "ftp://x"})
    assert parse("", {"GATEWAY_BACKEND_EARS": "http://a"}).backends == {}, "with a file, the file alone says it"


def test_keys_and_hosted_ones_from_the_environment() -> None:
    env = {
        "GATEWAY_BACKEND_EARS": "http://127.0.0.1:8081",
        "GATEWAY_BACKEND_EARS_API_KEY": "sk-1",
        "GATEWAY_BACKEND_LLAMACPP_8080_API_KEY": "sk-2",
        "GATEWAY_BACKEND_NOBODY_API_KEY": "sk-3",
        "GEMINI_API_KEY": "sk-4",
    }
    found = {
        "llamacpp-8080": {"kind": "llamacpp", "url": "http://127.0.0.1:8080"},
        "ears": {"kind": "vllm", "url": "http://127.0.0.1:8000"},
    }
    settings = defaults(env, found)
    told = {n: (b.kind, b.api_key.get_secret_value() if b.api_key else None) for n, b in settings.backends.items()}
    assert told == {"ears": (None, "sk-1"), "google": ("gemini", "sk-4"), "llamacpp-8080": ("llamacpp", "sk-2")}
    assert (settings.backends["google"].local, settings.auto.hosted) == (False, False)
    assert defaults({"GATEWAY_BACKEND_GOOGLE": "http://a", "GEMINI_API_KEY": "k"}).backends["google"].url == "http://a"
    assert key_variable("llamacpp-8080") == "GATEWAY_BACKEND_LLAMACPP_8080_API_KEY"


def test_thinking_and_defaults_of_a_model() -> None:
    text = "backends: {b: 'http://b'}\nmodels: {m: {targets: [{backend: b}], thinking: high, defaults: {temperature: 0.5}}}"
    model = parse(text, {}).models["m"]
    assert model.thinking == ThinkingConfig(enabled=True, effort="high")
    assert model.defaults == {"temperature": 0.5}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("temperature: 1", {"temperature": 1.0}),
        ("temperature: 0", {"temperature": 0.0}),
        ("top_k: -1", {"top_k": -1}),
        ("seed: -5", {"seed": -5}),
        ("max_tokens: 100", {"max_tokens": 100}),
        ('stop: "\\n"', {"stop": ["\n"]}),
        ("stop: [a, ' b']", {"stop": ["a", " b"]}),
        ("logit_bias: {15: -3, x: 2.5}", {"logit_bias": {"15": -3.0, "x": 2.5}}),
        ("min_p: null", {}),
    ],
)
def test_defaults_are_what_a_request_would_say(said: str, meant: dict[str, Any]) -> None:
    text = f"backends: {{b: 'http://b'}}\nmodels: {{m: {{targets: [{{backend: b}}], defaults: {{{said}}}}}}}"
    defaults = parse(text, {}).models["m"].defaults
    assert defaults == meant
    Sampling(**defaults)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("temprature: 1", "temprature"),
        ("n: 3", "n"),
        ("model: x", "model"),
        ("temperature: hot", "temperature"),
        ("temperature: 2.1", "temperature"),
        ("temperature: .nan", "temperature"),
        ("temperature: true", "temperature"),
        ("top_p: -0.1", "top_p"),
        ("top_k: 1.5", "top_k"),
        ("max_tokens: 0", "max_tokens"),
        ("stop: 5", "stop"),
        ("stop: [a, '']", "stop"),
        ("logit_bias: [1]", "logit_bias"),
        ("logit_bias: {1: 101}", "logit_bias"),
        ("logit_bias: {1: x}", "logit_bias"),
    ],
)
def test_defaults_that_no_request_may_say(said: str, path: str) -> None:
    text = f"backends: {{b: 'http://b'}}\nmodels: {{m: {{targets: [{{backend: b}}], defaults: {{{said}}}}}}}"
    with pytest.raises(ConfigErrors) as caught:
        parse(text, {})
    assert [(p.path, p.line) for p in caught.value.problems] == [(f"models.m.defaults.{path}", 2)]


def test_a_shorter_life_sign_takes_the_queue_along() -> None:
    assert parse("timeouts: {life_sign: 2}", {}).timeouts.queue == pytest.approx(1.6)
    assert parse("timeouts: {life_sign: 9}", {}).timeouts.queue == 8.0
    settings = parse("timeouts: {life_sign: 2}\nbackends: {a: 'http://a'}", {})
    assert settings.backends["a"].timeouts.queue == settings.timeouts.queue


KEYS = st.sampled_from(
    [
        *Settings.model_fields,
        "kind",
        "url",
        "targets",
        "backend",
        "aliases",
        "match",
        "require",
        "prefer",
        "x",
        "remote",
        "dir",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "auto", "none", "vllm", "http://a", "http://u:p@b", "*", "a:1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(
    st.dictionaries(KEYS, VALUES, max_size=5),
    st.dictionaries(st.sampled_from(["PORT", "GATEWAY_LISTEN"]), st.text(max_size=8)),
)
@effort(max_examples=250, deadline=None)
def test_whatever_the_file_says_it_is_settings_or_problems(values: dict[str, object], env: dict[str, str]) -> None:
    # Fixtures do not go with hypothesis: the kinds are the ones that `conftest` put there for the whole test.
    assert backends.kinds()
    try:
        settings = parse(json.dumps(values), env)
    except ConfigErrors as errors:
        assert errors.problems
        assert all("\n" not in str(p) for p in errors.problems)
    else:
        assert settings.digest
        assert settings.auth.mode != "none" or all(a.loopback for a in settings.listen)
