"""What was found: as a table, and as a file that says the same."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from gateway.backends import Discovery, Model
from gateway.canonical.facts import Facts
from gateway.engine.fleet import Fleet
from gateway.engine.scan import Found, Scan, Spot
from gateway.report.found import as_yaml, told, view
from gateway.settings import defaults, parse

ENV = {"GATEWAY_BACKEND_MAC": "http://mac.local:8080", "GEMINI_API_KEY": "sk-gemini"}


def scan_of(*found: Found) -> Scan:
    return Scan([f.spot for f in found], found={f.spot: f for f in found}, took=0.21)


def four() -> Scan:
    return scan_of(
        Found(Spot(8080), "http://127.0.0.1:8080", "llamacpp"),
        Found(Spot(8000), "http://127.0.0.1:8000", "vllm", locked=True),
        Found(Spot(1234), "http://127.0.0.1:1234", "openai", sure=False),
        Found(Spot(8081), "http://127.0.0.1:8081", left_out="a web page answers there, not an API"),
    )


def fleet_of(scan: Scan, env: dict[str, str]) -> Fleet:
    fleet = Fleet()
    fleet.apply(defaults(env, scan.backends()))
    facts = Facts(image=True, audio=True, video=False, context=32768)
    fleet.servers["llamacpp-8080"].learn(
        Discovery("ready", [Model("/m/gemma-4-E4B.gguf", [], facts), Model("other", [], Facts(fixture=True))])
    )
    fleet.servers["vllm-8000"].live("down", "it wants an API key: name a variable that holds it in `api_key_env`")
    return fleet


def test_the_table() -> None:
    seen = view(fleet_of(four(), {}), four())
    assert told(seen, 105).splitlines() == [
        "looked at 127.0.0.1, ports 1234 8000 8080 8081, for 0.2 s: 3 model servers",
        "",
        "BACKEND        KIND      MODEL             SEES      HEARS  CONTEXT  STATE",
        "llamacpp-8080  llamacpp  gemma-4-E4B.gguf  pictures  yes    32,768   ready",
        "                         other             no        no     unknown  ready: a test stand-in",
        "vllm-8000      vllm      -                 -         -      -        down: it wants an API key: export",
        " " * 69 + "GATEWAY_BACKEND_VLLM_8000_API_KEY=...",
        "openai-1234    unknown   -                 -         -      -        unprobed: nothing tells what it is:",
        " " * 69 + "taken for a server that speaks the",
        " " * 69 + "OpenAI API",
        "",
        "left out: http://127.0.0.1:8081: a web page answers there, not an API",
    ]


def test_nothing() -> None:
    fleet = Fleet()
    fleet.apply(defaults({}))
    assert told(view(fleet, scan_of())) == "from the environment: no model servers"


def test_the_file() -> None:
    text = as_yaml(defaults(ENV, four().backends()), four(), date(2026, 11, 24))
    assert text.startswith("# Written by gateway on 2026-11-24: ")
    assert text.partition("backends:\n")[2] == (
        '  mac: {url: "http://mac.local:8080"}\n'
        "  google: {kind: gemini, api_key_env: GEMINI_API_KEY}\n"
        '  llamacpp-8080: {kind: llamacpp, url: "http://127.0.0.1:8080"}\n'
        '  vllm-8000: {kind: vllm, url: "http://127.0.0.1:8000"}'
        "   # it wants a key: add api_key_env: GATEWAY_BACKEND_VLLM_8000_API_KEY\n"
        '  openai-1234: {url: "http://127.0.0.1:1234"}   # nothing tells its kind; say in `facts:` what it can do\n'
    )
    assert "sk-gemini" not in text


FOUND = st.builds(
    Found,
    st.builds(Spot, st.integers(1, 65535), st.sampled_from([("127.0.0.1", "::1"), ("gpu1",), ("10.0.0.7",)])),
    st.sampled_from(["http://127.0.0.1:8080", "http://[::1]:8080", "http://gpu1:8000", "http://example.com"]),
    st.sampled_from(["", "llamacpp", "vllm", "openai", "mlx_vlm"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "", "a web page"]),
)
KEYS = {f"GATEWAY_BACKEND_VLLM_{port}_API_KEY": "k" for port in (8000, 8080)}


@given(st.lists(FOUND, max_size=5), st.sampled_from([{}, ENV, KEYS, {"PORT": "4100"}, {"GATEWAY_LISTEN": "[::1]:4"}]))
def test_the_file_says_what_was_served(found: list[Found], env: dict[str, str]) -> None:
    scan = scan_of(*found)
    settings = defaults(env, scan.backends())
    assert parse(as_yaml(settings, scan), env) == settings
    assert parse(as_yaml(settings, None), env).digest == settings.digest
