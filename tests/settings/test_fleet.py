# ruff: noqa: E501 (tables)
from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway import backends
from gateway.canonical.facts import Facts
from gateway.canonical.requests import ThinkingConfig
from gateway.routing.rules import Match, Rule, Selector
from gateway.settings import BackendTimeouts, ConfigErrors, ModelSettings, parse
from gateway.settings.model import BackendSettings


def problems(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse(text, env or {}, "f.yaml")
    return [str(p).split(": ", 1)[1] for p in caught.value.problems]


def backend(text: str, env: dict[str, str] | None = None, top: str = "") -> BackendSettings:
    return parse(f"backends: {{a: {text}}}\n{top}", env or {}).backends["a"]


def test_a_backend_with_every_key() -> None:
    full = backend(
        """{kind: VLLM, url: "https://gpu.example.com/v1", local: yes, hardware: Blackwell, quantization: nvfp4, variant: 31B,
        max_in_flight: 64, allow: nvfp4-weight-only, timeouts: {connect: 1s, total: 1h}, api_key_env: K, project: p,
        location: global, endpoint: "12", facts: {modalities: [text, image], context: 8192}, run: {cmd: [x], ttl: {deep: 1}}}""",
        {"K": "secret"},
        "timeouts: {idle: 5, total: 60}",
    )
    assert (full.name, full.kind, full.url, full.local) == ("a", "vllm", "https://gpu.example.com", True)
    assert (full.hardware, full.quantization, full.variant, full.max_in_flight) == ("blackwell", "nvfp4", "31b", 64)
    assert full.allow == {"nvfp4-weight-only"}
    assert (full.project, full.location, full.endpoint) == ("p", "global", "12")
    assert full.run == {"cmd": ["x"], "ttl": {"deep": 1}}
    assert full.facts == Facts(
        image=True, audio=False, video=False, document=False, context=8192,
        hardware="blackwell", quantization="nvfp4", variant="31b",
    )  # fmt: skip
    assert set(full.facts.sources.values()) == {"operator"}
    assert full.timeouts == BackendTimeouts(connect=1, total=3600, idle=5)


def test_a_url_is_a_whole_backend() -> None:
    bare = backend("'http://mac.local:8080/'")
    assert (bare.kind, bare.url, bare.local, bare.api_key) == (None, "http://mac.local:8080", True, None)
    assert bare.timeouts == BackendTimeouts()


def test_local_is_the_default_for_private_addresses_and_can_be_said() -> None:
    assert backend("'http://10.0.0.1'").local
    assert not backend("'https://api.example.com'").local
    assert not backend("{url: 'http://10.0.0.1', local: false}").local
    assert backend("{url: 'https://gpu.example.com', local: true}").local
    assert not backend("{kind: gemini}").local
    assert backend("{kind: gemini, url: 'http://127.0.0.1:8080'}").local


def test_a_kind_that_cannot_be_loaded_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(kind: str) -> SimpleNamespace:
        raise ImportError("needs google-auth: pip install 'gemma-gateway[vertex]'")

    monkeypatch.setattr(backends, "load", load)
    (problem,) = problems("backends: {a: {kind: gemini}}")
    assert (
        problem == "backends.a.kind: gemini can't be used here: needs google-auth: pip install 'gemma-gateway[vertex]'"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "backends.a: url is required"),
        ("{kind: vllm}", "backends.a: url is required"),
        ("{kind: 5, url: 'http://a'}", "backends.a.kind: must be text: put it in quotes"),
        ("~", "backends.a: must be a URL, or a mapping of allow, api_key_env"),
        ("[x]", "backends.a: must be a URL, or a mapping of allow, api_key_env"),
        ("nowhere", "backends.a.url: must begin with http:// or https://"),
        ("{url: 'http://a', name: b}", "backends.a.name: unknown key 'name'"),
        ("{url: 'http://a', api_key: k}", "backends.a.api_key: a secret may not stand in this file"),
        ("{url: 'http://a', local: 1}", "backends.a.local: must be true or false"),
        ("{url: 'http://a', max_in_flight: 0}", "backends.a.max_in_flight: must be a whole number from 1 on"),
        ("{url: 'http://a', timeouts: {drain: 5}}", "backends.a.timeouts.drain: unknown key 'drain' (choices: connect,"),
        ("{url: 'http://a', timeouts: 5}", "backends.a.timeouts: must be a mapping of connect,"),
        ("{url: 'http://a', timeouts: {idle: 0}}", "backends.a.timeouts.idle: must be more than 0"),
        ("{url: 'http://a', allow: [everything]}", "backends.a.allow[0]: unknown value 'everything' (choices: nvfp4-weight-only)"),
        ("{url: 'http://a', facts: 5}", "backends.a.facts: must be a mapping of audio,"),
        ("{url: 'http://a', facts: {hears: true}}", "backends.a.facts.hears: unknown key 'hears' (choices: audio,"),
        ("{url: 'http://a', facts: {context: 8k}}", "backends.a.facts.context: must be a whole number"),
        ("{url: 'http://a', facts: {modalities: [], audio: true}}", "backends.a.facts: modalities and audio contradict"),
        ("{url: 'http://a', hardware: x, facts: {hardware: y}}", "backends.a.hardware: contradicts facts.hardware"),
        ("{url: 'http://a', run: 5}", "backends.a.run: must be a mapping"),
        ("{url: 'http://a', api_key_env: NO}", "backends.a.api_key_env: the environment variable NO is not set or empty: export NO=..."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_backend(text: str, said: str) -> None:
    (problem,) = problems(f"backends: {{a: {text}}}")
    assert problem.startswith(said)


def test_names_of_backends() -> None:
    (problem,) = problems('backends: {"a/b": "http://a"}')
    assert problem.startswith("backends.a/b: must be a name of letters")


def model(text: str) -> ModelSettings:
    return parse(f"backends: {{a: 'http://a', b: 'http://b'}}\nmodels: {{m: {text}}}", {}).models["m"]


@pytest.mark.parametrize(
    ("text", "thinking"),
    [
        ("off", ThinkingConfig(enabled=False)),
        ("false", ThinkingConfig(enabled=False)),
        ("on", ThinkingConfig(enabled=True)),
        ("high", ThinkingConfig(enabled=True, effort="high")),
        ("none", ThinkingConfig(enabled=False, effort="none")),
        ("{budget: 512, include: false}", ThinkingConfig(enabled=True, budget=512, include=False)),
        ("", None),
    ],
)
def test_thinking_of_a_model(text: str, thinking: ThinkingConfig | None) -> None:
    assert model(f"{{targets: [{{backend: a}}], thinking: {text}}}").thinking == thinking


def test_a_single_alias_and_target_need_no_list() -> None:
    one = model("{aliases: gpt-4o, targets: {backend: a}}")
    assert one.aliases == ("gpt-4o",)
    assert [t.backend for t in one.targets] == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m: {}", "models.m.targets: is required"),
        ("m: [a]", "models.m: must be a mapping of aliases"),
        ("m: {targets: [{backend: A}]}", "models.m.targets[0].backend: unknown backend 'A' (choices: a, b; did you mean a?)"),
        ("m: {targets: [{backend: a}, {backend: a}]}", "models.m.targets[1]: is the same target"),
        ("auto: {targets: [{backend: a}]}", "models.auto: auto is reserved"),
        ("'a b': {targets: [{backend: a}]}", 'models."a b": must be a model\'s name'),
        ("m: {aliases: [auto], targets: [{backend: a}]}", "models.m.aliases[0]: auto is reserved"),
        ("m: {aliases: [m], targets: [{backend: a}]}", "models.m.aliases[0]: 'm' is the name of a model"),
        ("m: {aliases: [x, x], targets: [{backend: a}]}", "models.m.aliases[1]: 'x' is already an alias of m"),
        ("m: {aliases: ['a b'], targets: [{backend: a}]}", "models.m.aliases[0]: must be a model's name, or a pattern"),
        ("m: {thinking: loud, targets: [{backend: a}]}", "models.m.thinking.effort: unknown value 'loud'"),
        ("m: {thinking: {effort: none, enabled: true}, targets: [{backend: a}]}", "models.m.thinking: enabled contradicts"),
        ("m: {thinking: 5, targets: [{backend: a}]}", "models.m.thinking: must be a mapping of budget,"),
        ("m: {tragets: [], targets: [{backend: a}]}", "models.m.tragets: unknown key 'tragets' (choices: aliases"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_model(text: str, said: str) -> None:
    (problem,) = problems(f"backends: {{a: 'http://a', b: 'http://b'}}\nmodels: {{{text}}}")
    assert problem.startswith(said)


def test_an_alias_belongs_to_one_model() -> None:
    text = "backends: {a: 'http://a'}\nmodels:\n  m: {aliases: ['x-*'], targets: [{backend: a}]}\n  n: {aliases: ['x-*', m], targets: [{backend: a}]}"
    assert problems(text) == [
        "models.n.aliases[0]: 'x-*' is already an alias of m",
        "models.n.aliases[1]: 'm' is the name of a model",
    ]


def test_a_wrong_backend_is_still_there_for_its_targets() -> None:
    text = "backends: {a: {kind: nope, url: 'http://a'}}\nmodels: {m: {targets: [{backend: a}]}}"
    assert len(problems(text)) == 1


def test_targets_without_any_backend() -> None:
    (problem,) = problems("models: {m: {targets: [{backend: a}]}}")
    assert problem == "models.m.targets[0].backend: unknown backend 'a' (there is none)"


def test_routes() -> None:
    text = """
backends: {a: 'http://a'}
routes:
  - {match: {modality: [image, video], tools: true, context: 1000}, require: {backend: a, local: true}}
  - {prefer: {kind: [vllm, llamacpp]}}
"""
    assert parse(text, {}).routes == (
        Rule(Match(modality=("image", "video"), tools=True, context=1000), Selector(backend=("a",), local=True), (), "routes[0]"),
        Rule(Match(), Selector(), (Selector(kind=("vllm", "llamacpp")),), "routes[1]"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{match: {modality: smell}, require: {kind: vllm}}", "routes[0].match.modality: unknown value 'smell' (choices: audio"),
        ("{match: {modality: [audio, smell]}, require: {kind: vllm}}", "routes[0].match.modality[1]: unknown value 'smell'"),
        ("{match: {mode: x}, require: {kind: vllm}}", "routes[0].match.mode: unknown key 'mode' (choices: context"),
        ("{match: {kind: vlm}, require: {kind: vllm}}", "routes[0].match.kind: unknown kind 'vlm' (choices: gemini"),
        ("{match: {tools: 1}, require: {kind: vllm}}", "routes[0].match.tools: must be true or false"),
        ("{require: {backend: b}}", "routes[0].require.backend: unknown backend 'b' (choices: a)"),
        ("{prefer: [{kind: vllm}, {backend: b}]}", "routes[0].prefer[1].backend: unknown backend 'b'"),
        ("{prefer: [vllm]}", "routes[0].prefer[0]: must be a mapping of backend,"),
        ("{match: {modality: audio}}", "routes[0]: does nothing: write require or prefer"),
        ("{wen: {}, require: {kind: vllm}}", "routes[0].wen: unknown key 'wen' (choices: match, prefer, require"),
        ("nonsense", "routes[0]: must be a mapping of match, prefer, require"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_route(text: str, said: str) -> None:
    (problem,) = problems(f"backends: {{a: 'http://a'}}\nroutes: [{text}]")
    assert problem.startswith(said)
