"""Text, picture, sound and video through the demo's own configuration: who takes it, what the headers say, what comes
back."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from gateway.demo.fleet import EARS, EYES
from tests.real.conftest import Client, RealFleet
from tests.real.content import audio, chat, chunks, error, image, receipt, said, text, user, video

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

MEDIA: dict[str, tuple[Any, str, str]] = {
    "image": (image, "eyes", EYES.reply),
    "audio": (audio, "ears", EARS.reply),
    "video": (video, "eyes", EYES.reply),
}


@pytest.fixture(params=MEDIA)
def medium(request: pytest.FixtureRequest) -> str:
    if request.param == "video":
        request.getfixturevalue("needs_ffmpeg")
    return str(request.param)


async def test_a_medium_goes_to_the_server_that_takes_it(client: Client, fleet: RealFleet, medium: str):
    part, target, reply = MEDIA[medium]
    before = (await fleet.servers[target].counters())["prompt_tokens_total"]
    raw = await client.sdk.chat.completions.with_raw_response.create(
        model="auto",
        messages=user([text(), part()]),
        max_tokens=64,  # type: ignore[arg-type]
    )
    assert raw.headers["x-gateway-target"] == f"{target}/fixture-{target}"
    assert receipt(raw.headers) == ["text", medium]
    assert "x-gateway-dropped" not in raw.headers
    answer = raw.parse()
    assert answer.model == f"fixture-{target}"
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (reply, "stop")
    assert answer.usage is not None and answer.usage.prompt_tokens > 35, "the medium is more tokens than its text"
    assert (await fleet.servers[target].counters())["prompt_tokens_total"] > before


async def test_and_streamed(client: Client, medium: str):
    part, target, reply = MEDIA[medium]
    body = chat("auto", [text(), part(), text("again")], max_tokens=64, stream=True)
    got = await client.post(body)
    assert got.headers["content-type"] == "text/event-stream"
    assert got.headers["x-gateway-target"] == f"{target}/fixture-{target}"
    assert receipt(got.headers) == ["text", medium, "text"]
    assert said(got.content) == reply
    assert got.text.endswith("data: [DONE]\n\n")
    assert {c["model"] for c in chunks(got.content)} == {f"fixture-{target}"}


async def test_text_is_answered_by_the_language_model(client: Client, text_model: str):
    raw = await client.sdk.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "What is the capital of France? Answer in one short sentence."}],
        temperature=0,
        max_tokens=32,
    )
    assert raw.headers["x-gateway-target"] == f"text/{text_model}"
    assert receipt(raw.headers) == ["text"]
    answer = raw.parse()
    assert answer.model == text_model
    assert "Paris" in (answer.choices[0].message.content or "")


async def test_text_streams_from_the_language_model(client: Client, text_model: str):
    words, finish = [], None
    async for chunk in await client.sdk.chat.completions.create(
        model=text_model, messages=[{"role": "user", "content": "Tell me a story."}], max_tokens=16, stream=True
    ):
        for choice in chunk.choices:
            words.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    assert len(words) > 5
    assert finish in ("stop", "length")


async def test_a_conversation_with_media_in_an_earlier_turn(client: Client):
    messages = [*user([image()]), {"role": "assistant", "content": EYES.reply}, *user("And now?")]
    got = await client.post({"model": "auto", "messages": messages})
    assert got.headers["x-gateway-target"] == "eyes/fixture-eyes"
    assert receipt(got.headers) == ["image", "text", "text"]


async def test_many_parts_fold_in_the_receipt(client: Client):
    got = await client.post(chat("auto", [text(str(i)) for i in range(6)] + [image(), image(), text()]))
    assert got.headers["x-gateway-parts"] == "0-5=text,6-7=image,8=text"


async def test_two_media_that_no_server_takes_together(client: Client, fleet: RealFleet):
    """Refused before anything is sent, with what each target lacks and the flag that would give it."""
    before = [(await s.counters())["prompt_tokens_total"] for s in fleet.servers.values()]
    got = await client.post(chat("auto", [image(), audio()]))
    assert got.status_code == 400
    told = error(got.content)
    assert told["code"] == "no_target_fits"
    lacks = {t["target"].partition("/")[0]: t["lacks"] for t in told["gateway"]["targets"]}
    assert set(lacks) == set(fleet.servers)
    for name, need, path in (("ears", "image", "messages[0].content[0]"), ("eyes", "audio", "messages[0].content[1]")):
        [lack] = lacks[name]
        assert (lack["need"], lack["paths"]) == (need, [path])
        assert "--mmproj" in lack["hint"]
    assert before == [(await s.counters())["prompt_tokens_total"] for s in fleet.servers.values()]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_medium_asked_of_the_wrong_model(client: Client, stream: bool):
    """llama.cpp would answer 500: the gateway knows better, and says which part it is."""
    with pytest.raises(openai.BadRequestError) as refused:
        await client.sdk.chat.completions.create(
            model="fixture-eyes",
            messages=user([text(), audio()]),
            stream=stream,  # type: ignore[arg-type]
        )
    assert (refused.value.code, refused.value.param) == ("no_target_fits", "messages[0].content[1]")


@pytest.mark.parametrize("part", [image, audio], ids=["image", "audio"])
async def test_a_broken_medium_is_the_client_s_fault(client: Client, part: Any):
    """The head of a file of the right kind, and then nothing: llama.cpp is asked, once, and what it says is a 400."""
    broken = {**part()}
    if part is image:
        broken = {"type": "image_url", "image_url": {"url": image()["image_url"]["url"][:64]}}
    else:
        broken = {"type": "input_audio", "input_audio": {**audio()["input_audio"], "data": "UklGRiR9AABXQVZF"}}
    got = await client.post(chat("auto", [text(), broken]))
    assert got.status_code == 400
    assert got.headers["x-gateway-attempts"] == "1"
    assert error(got.content)["type"] == "invalid_request_error"
    assert error(got.content)["param"] == "messages[0].content[1]"
    two = await client.post(chat("auto", [part(), text(), broken]))
    assert (two.status_code, error(two.content)["param"]) == (400, None), "llama.cpp does not say which one"
    good = await client.post(chat("auto", [text(), part()]))
    assert good.status_code == 200, "and the server is not blamed for it"


async def test_the_models_page_says_what_was_measured(client: Client, fleet: RealFleet):
    listed = {m["id"]: m for m in (await client.http.get("/v1/models")).json()["data"]}
    assert set(listed) == {*(s.about.alias for s in fleet.servers.values()), "auto"}
    for name, modalities in (("ears", {"text", "audio"}), ("eyes", {"text", "image", "video"})):
        card = listed[f"fixture-{name}"]
        if name == "eyes" and not fleet.plan.video:
            modalities = modalities - {"video"}
        assert set(card["architecture"]["input_modalities"]) == modalities
        [target] = card["gateway"]["targets"]
        assert (target["state"], target["target"]) == ("ready", f"{name}/fixture-{name}")
        facts = target["facts"]
        assert facts["context"] == {"value": 4096, "source": "probed"}, "8192 for two slots"
        assert facts["slots"] == {"value": 2, "source": "probed"}
        assert facts["tools"] == {"value": True, "source": "probed"}
        assert facts["fixture"] == {"value": True, "source": "operator"}
        assert card["context_length"] == 4096
    one = await client.sdk.models.retrieve("fixture-ears")
    assert one.id == "fixture-ears"


async def test_raw_completion(client: Client):
    answer = await client.sdk.completions.create(model="fixture-ears", prompt="Once", max_tokens=8)
    assert answer.choices[0].text
    assert answer.usage is not None and answer.usage.completion_tokens == 8
    streamed = ""
    async for chunk in await client.sdk.completions.create(
        model="fixture-ears", prompt="Once", max_tokens=8, stream=True
    ):
        streamed += "".join(c.text for c in chunk.choices)
    assert streamed == answer.choices[0].text


async def test_embeddings_of_servers_that_have_none(client: Client):
    with pytest.raises(openai.BadRequestError) as refused:
        await client.sdk.embeddings.create(model="fixture-ears", input="x")
    assert refused.value.code == "no_target_fits"
    assert "--embeddings" in refused.value.message
