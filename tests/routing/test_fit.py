from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Message, Text
from gateway.canonical.needs import Needs, needs_of
from gateway.canonical.requests import Chat, Completion, Embedding, Tool
from gateway.routing.fit import carried, context_lack, estimate, kept_home, lacks, likely, privacy_lacks

from .fleet import asks, medium, target

HINT = {"hints": {"image": "--mmproj", "audio_limit": "--limit"}}
OGG = (
    "audio/ogg at messages[0].content[1] would have to be converted to WAV, "
    "for which the extra `media` is not installed: pip install 'gemma-gateway[media]'"
)


@pytest.mark.parametrize(
    ("facts", "needs", "want"),
    [
        ({}, asks(), []),
        ({}, asks(tools=True, json_schema=True, logprobs=True, choices=3, prefill=True, seed=True, thinking=True), []),
        ({"seed": False, "thinking": False}, asks(seed=True, thinking=True), []),
        ({"tools": False}, asks(tools=True), ["tools"]),
        ({"tools": False, "forced_tool": "ignored"}, asks(tools=True, forced_tool=True), ["tools"]),
        ({"forced_tool": "ignored"}, asks(tools=True, forced_tool=True), ["forced_tool"]),
        ({"forced_tool": "verified"}, asks(tools=True, forced_tool=True), []),
        ({"json_schema": "ignored"}, asks(json_schema=True), ["json_schema"]),
        ({"json_schema": "enforced"}, asks(json_schema=True), []),
        ({"logprobs": False}, asks(logprobs=True), ["logprobs"]),
        ({"choices": 2}, asks(choices=2), []),
        ({"choices": 2}, asks(choices=3), ["choices"]),
        ({"prefill": False}, asks(prefill=True), ["prefill"]),
        ({}, asks(audio_out=True), ["audio_out"]),
        ({"audio_out": False}, asks(audio_out=True), ["audio_out"]),
        ({"audio_out": True}, asks(audio_out=True), []),
        ({"operations": frozenset({"chat"})}, asks(operation="embedding"), ["embedding"]),
        ({"operations": frozenset({"embedding"})}, asks(operation="embedding"), []),
        ({}, asks(operation="embedding"), []),
        ({"operations": frozenset({"chat"}), "counts": True}, asks(operation="count_tokens"), []),
        ({"operations": frozenset({"chat"})}, asks(operation="count_tokens"), ["count_tokens"]),
        ({"counts": False}, asks(operation="count_tokens"), ["count_tokens"]),
        ({"logprobs": False}, asks(operation="count_tokens", logprobs=True), []),
        ({"json_schema": "ignored"}, asks(operation="count_tokens", json_schema=True), []),
        ({"image": True}, asks(medium("image", "image/png")), []),
        ({"image": False}, asks(medium("image")), ["image"]),
        ({}, asks(medium("image"), medium("audio")), ["audio", "image"]),
        ({}, asks(medium("video"), medium("document")), ["document", "video"]),
        ({"image": True}, asks(medium("image", form="url")), ["url"]),
        ({"image": True}, asks(medium("image", form="file_id")), ["file_id"]),
        ({"image": True}, asks(medium("image", form="octets")), []),
        ({"image": True, "image_limit": 1}, asks(medium("image"), medium("image", at=1)), ["image_limit"]),
        ({"image": True, "image_limit": 2}, asks(medium("image"), medium("image", at=1)), []),
        ({"audio": True, "audio_limit": 1}, asks(medium("audio"), medium("image", at=1)), ["image"]),
        ({"document": True}, asks(medium("document", "application/pdf")), []),
        ({"image": False}, asks(medium("image", form="url")), ["image"]),
    ],
)  # fmt: skip
def test_what_a_target_lacks(facts: dict[str, Any], needs: Needs, want: list[str]) -> None:
    found = lacks(needs, target("a", **facts))
    assert [x.need for x in found] == want
    assert all(x.kind == "need" and x.reason for x in found)


def test_unknown_media_say_how_to_state_them() -> None:
    (lack,) = lacks(asks(medium("image", at=2)), target("a", **HINT))
    assert "facts: {image: true}" in lack.reason
    assert lack.hint == "--mmproj"
    assert lack.paths == ("messages[0].content[2]",)


@pytest.mark.parametrize("state", ["unprobed", "down", "loading"])
def test_what_was_never_looked_at_is_not_called_missing(state: str) -> None:
    fresh = target("a", state=state)
    assert lacks(asks(medium("image"), audio_out=True), fresh) == []
    fresh.facts.image = False
    assert [x.need for x in lacks(asks(medium("image")), fresh)] == ["image"]
    looked = target("a", state=state, sources={"context": "probed"})
    assert [x.need for x in lacks(asks(medium("image")), looked)] == ["image"]


@pytest.mark.parametrize(
    ("mime", "fits"),
    [
        ("audio/wav", True),
        ("audio/x-wav", True),
        ("audio/wave", True),
        ("audio/mp3", True),
        ("Audio/WAV; codecs=1", True),
        ("", True),
        ("application/octet-stream", True),
        ("audio/ogg", False),
        ("audio/flac", False),
    ],
)
def test_formats(mime: str, fits: bool) -> None:
    known = frozenset({"audio/wav", "audio/mpeg"})
    found = lacks(asks(medium("audio", mime)), target("a", audio=True, audio_formats=known))
    assert [x.need for x in found] == ([] if fits else ["audio_format"])
    assert lacks(asks(medium("audio", mime)), target("a", audio=True)) == []


def test_a_format_that_is_not_known_names_place_and_choices() -> None:
    c = target("a", audio=True, audio_formats=frozenset({"audio/wav", "audio/mpeg"}), **HINT)
    (lack,) = lacks(asks(medium("audio", "audio/wav"), medium("audio", "audio/ogg", at=1)), c)
    assert lack.reason == OGG
    assert lack.paths == ("messages[0].content[1]",)
    assert lack.hint == ""


def test_formats_known_under_an_alias() -> None:
    assert not lacks(
        asks(medium("audio", "audio/mpeg")), target("a", audio=True, audio_formats=frozenset({"audio/mp3"}))
    )


def test_urls_are_refused_with_their_place() -> None:
    needs = asks(medium("image", form="url", at=3), medium("image", form="url", at=4))
    (lack,) = lacks(needs, target("a", image=True))
    assert lack.reason == "a URL at messages[0].content[3] is not fetched here: send it as base64 (and 1 more)"
    assert lack.paths == ("messages[0].content[3]", "messages[0].content[4]")


def test_opaque_parts_are_refused_by_path() -> None:
    (lack,) = lacks(asks(opaque=[("messages[1].content[0]", "anthropic", "x" * 500)]), target("a"))
    assert lack.need == "opaque"
    assert lack.paths == ("messages[1].content[0]",)
    assert "anthropic" in lack.reason and len(lack.reason) < 200


@pytest.mark.parametrize(
    ("quantization", "hardware", "variant", "allow", "fits"),
    [
        ("nvfp4", "blackwell", "31b", (), True),
        ("nvfp4", "blackwell", "26b-a4b", (), True),
        ("nvfp4", "hopper", "31b", (), False),
        ("nvfp4", None, "31b", (), False),
        ("nvfp4", "hopper", "31b", ("nvfp4-weight-only",), True),
        ("nvfp4", None, "12b", ("nvfp4-weight-only",), True),
        ("nvfp4", "hopper", "26b-a4b", (), False),
        ("nvfp4", "hopper", "26b-a4b", ("nvfp4-weight-only",), True),
        ("mlx-nvfp4", None, "12b", (), True),
        ("gguf-nvfp4", "hopper", "12b", (), True),
        ("fp8", "hopper", "26b-a4b", (), True),
        (None, None, None, (), True),
    ],
)
def test_nvfp4(quantization: Any, hardware: Any, variant: Any, allow: tuple[str, ...], fits: bool) -> None:
    c = target("a", "vllm", quantization=quantization, hardware=hardware, variant=variant, allow=frozenset(allow))
    found = lacks(asks(), c)
    assert (not found) is fits
    for lack in found:
        assert "nvfp4-weight-only" in lack.hint
        assert ("experimental" in lack.reason) is (variant == "26b-a4b")
        assert (hardware or "not known") in lack.reason


@pytest.mark.parametrize(
    ("media", "privacy", "want"),
    [
        (["audio"], {"audio": "local"}, ["audio"]),
        (["image"], {"audio": "local"}, []),
        ([], {"audio": "local"}, []),
        ([], {"text": "local"}, ["text"]),
        (["image"], {"text": "local", "image": "local"}, ["text", "image"]),
        (["audio"], {"audio": "any"}, []),
        (["audio"], {"audio": "lokal"}, ["audio"]),
        (["video"], {"audio": "local"}, ["audio"]),
        (["video"], {"image": "local"}, ["image"]),
        (["video"], {"video": "local"}, ["video"]),
        (["document"], {"image": "local"}, ["image"]),
        (["document"], {"audio": "local"}, []),
        (["audio"], {}, []),
    ],
)
def test_privacy(media: list[str], privacy: dict[str, str], want: list[str]) -> None:
    pdf = {"document": "application/pdf"}
    needs = asks(*(medium(m, pdf.get(m, ""), at=i) for i, m in enumerate(media)))
    found = privacy_lacks(needs, target("a", local=False), privacy)
    assert kept_home(carried(needs.media), privacy) == bool(found)
    assert [x.need for x in found] == want
    assert all(x.kind == "privacy" for x in found)
    assert privacy_lacks(needs, target("a", local=True), privacy) == []


def test_nobody_knows_what_is_in_it() -> None:
    for mime in ("", "application/octet-stream"):
        needs = asks(medium("document", mime))
        assert [x.need for x in privacy_lacks(needs, target("a", local=False), {"audio": "local"})] == ["audio"]
    assert not privacy_lacks(asks(medium("document", "", "url")), target("a", local=False), {"audio": "local"})
    assert kept_home(None, {"image": "local"}) and not kept_home(None, {"image": "any"}), "nobody has looked"


def test_privacy_names_the_place_and_why_a_video_is_sound() -> None:
    (lack,) = privacy_lacks(asks(medium("video", at=1)), target("a", local=False), {"audio": "local"})
    assert lack.paths == ("messages[0].content[1]",)
    assert "may hold audio" in lack.reason


def test_context() -> None:
    c = target("a", context=100)
    assert context_lack(100, c) is None
    lack = context_lack(101, c)
    assert lack is not None and lack.kind == "context"
    assert "101" in lack.reason and "maximum context length is 100" in lack.reason
    assert context_lack(10**9, target("a")) is None


def test_estimate_counts_text_turns_tools_and_media() -> None:
    bare = estimate(asks(text_size=600, messages=2))
    assert bare == (100, 600 + 32 + 64)
    for needs in (
        asks(medium("image"), text_size=600, messages=2),
        asks(medium("audio"), text_size=600, messages=2),
        asks(medium("video"), text_size=600, messages=2),
        asks(medium("document"), text_size=600, messages=2),
        asks(text_size=600, messages=2, tools_size=1000),
    ):
        low, high = estimate(needs)
        assert low == 100
        assert high >= bare[1] + 750


def test_estimate_of_sound_and_video_grows_with_their_size() -> None:
    hour = 3600 * 32_000  # 16 kHz, 16 bits
    assert estimate(asks(medium("audio", "audio/wav", size=hour)))[1] >= 3600 * 25
    assert estimate(asks(medium("audio", "audio/mpeg", size=3600 * 4000)))[1] >= 3600 * 25
    assert estimate(asks(medium("video", size=60 * 31_250)))[1] >= 60 * 4 * 280


def test_the_tools_of_a_chat_are_counted() -> None:
    tool = Tool("f", "d" * 100, {"type": "object", "properties": {"x" * 50: {"type": "string"}}})
    message = Message("user", [Text("hi")])
    assert needs_of(Chat("m", [message], tools=[tool])).tools_size > 150
    assert needs_of(Chat("m", [message])).tools_size == 0


@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 10**5))
def test_bounds_are_bounds(text: int, messages: int, tools: int) -> None:
    needs = asks(text_size=text, messages=messages, tools_size=tools)
    low, high = estimate(needs)
    assert 0 <= low <= likely(needs) <= high


@pytest.mark.parametrize("request_", [Completion("m", ["a b"]), Embedding("m", ["a b"])])
def test_the_other_operations_need_little(request_: Completion | Embedding) -> None:
    assert lacks(needs_of(request_), target("a")) == []
