"""The official `google-genai` SDK in front of real llama.cpp servers, and of recorded bytes. Run once for each of three
majors (`make test-sdks`): 3.x speaks `/v1`, the others `/v1beta`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

import pydantic
import pytest
from google import genai
from google.genai import errors, types

from gateway.demo import media
from tests.sdks import task
from tests.sdks.city import CALLS, CityHall, declared
from tests.sdks.conftest import Replayed, public
from tests.sdks.serving import Served
from tests.sdks.task import ASK, FINAL, Workshop

EARS, EYES = "fixture-ears", "fixture-eyes"
HEARD = "[fixture] I heard your sound, and this sentence is all that ever comes back."


class Place(pydantic.BaseModel):
    city: str


def client(url: str) -> genai.Client:
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=url, timeout=60_000))


@pytest.fixture
def sdk(embedded: Served) -> Iterator[genai.Client]:
    found = client(embedded.url)
    yield found
    found.close()


def asked(sdk: genai.Client, stream: bool, contents: Any, model: str = EARS, **fields: Any) -> types.Content:
    """The answer's content, whole or put together from a stream; neighbouring texts of one kind are joined."""
    config = types.GenerateContentConfig(**fields)
    if stream:
        chunks = list(sdk.models.generate_content_stream(model=model, contents=contents, config=config))
    else:
        chunks = [sdk.models.generate_content(model=model, contents=contents, config=config)]
    assert chunks[-1].candidates and chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata and (chunks[-1].usage_metadata.candidates_token_count or 0) > 0
    parts: list[types.Part] = []
    for chunk in chunks:
        content = chunk.candidates[0].content if chunk.candidates else None
        for part in (content.parts if content else None) or []:
            if parts and part.text is not None and parts[-1].text is not None and parts[-1].thought == part.thought:
                parts[-1].text += part.text
                parts[-1].thought_signature = part.thought_signature or parts[-1].thought_signature
            else:
                parts.append(part)
    return types.Content(role="model", parts=parts)


def user(*parts: Any) -> types.Content:
    return types.Content(role="user", parts=[types.Part(text=p) if isinstance(p, str) else p for p in parts])


def calls(content: types.Content) -> list[types.FunctionCall]:
    return [p.function_call for p in content.parts or [] if p.function_call]


def spoken(content: types.Content) -> str:
    return "".join(p.text or "" for p in content.parts or [] if not p.thought)


def test_models(sdk: genai.Client, text_model: str):
    names = {(m.name or "").removeprefix("models/") for m in sdk.models.list()}
    assert {EARS, text_model} <= names
    assert (sdk.models.get(model=EARS).name or "").endswith(EARS)


def test_text(sdk: genai.Client, text_model: str, stream: bool):
    config = types.GenerateContentConfig(max_output_tokens=16, system_instruction="Be brief.", temperature=0.5)
    if stream:
        chunks = list(sdk.models.generate_content_stream(model=text_model, contents="Say hi.", config=config))
    else:
        chunks = [sdk.models.generate_content(model=text_model, contents="Say hi.", config=config)]
    assert "".join(c.text or "" for c in chunks).strip()


@pytest.mark.parametrize(
    ("octets", "mime", "says"),
    [(media.png(), "image/png", "[fixture] I saw"), (media.wav(), "audio/wav", "[fixture] I heard")],
    ids=["picture", "sound"],
)
def test_media(sdk: genai.Client, stream: bool, octets: bytes, mime: str, says: str):
    part = types.Part.from_bytes(data=octets, mime_type=mime)
    assert spoken(asked(sdk, stream, [user("What?", part)], model="auto")).startswith(says)


def test_a_file(sdk: genai.Client, tmp_path: Any):
    path = tmp_path / "picture.png"
    path.write_bytes(media.png())
    file = sdk.files.upload(file=path)
    assert file.name and sdk.files.get(name=file.name).uri == file.uri
    answer = sdk.models.generate_content(model="auto", contents=["What?", file])
    assert (answer.text or "").startswith("[fixture] I saw")
    sdk.files.delete(name=file.name)


def test_thinking(sdk: genai.Client, stream: bool):
    wanted = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
    content = asked(sdk, stream, "hi", thinking_config=wanted)
    thoughts = "".join(p.text or "" for p in content.parts or [] if p.thought)
    assert (thoughts, spoken(content)) == ("Nothing needs long pondering.", HEARD)


def test_structured_output(sdk: genai.Client):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Place)
    answer = sdk.models.generate_content(model=EARS, contents="Where?", config=config)
    assert answer.parsed == Place(city="Paris")


def test_counting(sdk: genai.Client):
    few = sdk.models.count_tokens(model=EARS, contents="hi").total_tokens or 0
    many = sdk.models.count_tokens(model=EARS, contents="hi " * 50).total_tokens or 0
    assert 0 < few < many


def test_errors(sdk: genai.Client):
    with pytest.raises(errors.ClientError) as gone:
        sdk.models.generate_content(model="nobody", contents="hi")
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as long:
        list(sdk.models.generate_content_stream(model=EARS, contents="x" * 60_000))
    assert (long.value.code, long.value.status) == (400, "INVALID_ARGUMENT")


def test_a_chat(sdk: genai.Client, stream: bool):
    chat = sdk.chats.create(model=EARS)
    for _ in range(2):
        if stream:
            assert "".join(c.text or "" for c in chat.send_message_stream("hi")) == HEARD
        else:
            assert chat.send_message("hi").text == HEARD
    assert [c.role for c in chat.get_history(curated=True)][:2] == ["user", "model"]


def declarations(tools: list[dict[str, Any]]) -> types.Tool:
    return types.Tool(
        function_declarations=[
            types.FunctionDeclaration(
                name=t["name"], description=t["description"], parameters_json_schema=t["parameters"]
            )
            for t in tools
        ]
    )


def test_a_loop_of_a_fixture(sdk: genai.Client, stream: bool, city_hall: CityHall):
    tools = [declarations(declared())]
    contents = [user("Go.")]
    for name, _ in CALLS:
        mode = types.FunctionCallingConfig(mode="ANY", allowed_function_names=[name])  # type: ignore[arg-type]
        content = asked(sdk, stream, contents, tools=tools, tool_config=types.ToolConfig(function_calling_config=mode))
        [call] = calls(content)
        said = city_hall.call(call.name or "", call.args or {})
        answered = types.FunctionResponse(id=call.id, name=call.name, response={"result": said})
        contents += [content, user(types.Part(function_response=answered))]
    mode = types.FunctionCallingConfig(mode="NONE")  # type: ignore[arg-type]
    config = types.ToolConfig(function_calling_config=mode)
    assert spoken(asked(sdk, stream, contents, tools=tools, tool_config=config)) == HEARD
    city_hall.check()


def test_a_loop_of_recorded_bytes(replayed: Replayed, stack: str, stream: bool, workshop: Workshop):
    """Results without the call's identifier: they go with calls by name and order."""
    replayed.bodies(stack)
    contents, sdk = [user(ASK)], client(replayed.url)
    while True:
        content = asked(sdk, stream, contents, model=public(stack), tools=[declarations(task.tools())])
        contents.append(content)
        if not calls(content):
            break
        [call] = calls(content)
        said = workshop.call(call.name or "", call.args or {})
        contents.append(user(types.Part.from_function_response(name=call.name or "", response={"result": said})))
    assert spoken(content) == FINAL
    workshop.check()
    task.check_upstream(replayed.bodies(stack))
    sdk.close()


def test_automatic_function_calling(replayed: Replayed, stack: str, workshop: Workshop):
    """The SDK's own loop over Python functions."""
    replayed.bodies(stack)

    def read_file(path: str) -> str:
        """Reads a file"""
        return workshop.call("read_file", {"path": path})

    def edit_file(path: str, old: str, new: str) -> str:
        """Replaces a text"""
        return workshop.call("edit_file", {"path": path, "old": old, "new": new})

    def run_command(command: str) -> str:
        """Runs a shell command"""
        return workshop.call("run_command", {"command": command})

    sdk = client(replayed.url)
    tools: list[Any] = [read_file, edit_file, run_command]
    for tool in tools:  # the oldest SDK does not read annotations that are texts
        tool.__annotations__ = get_type_hints(tool)
    config = types.GenerateContentConfig(tools=tools)
    answer = sdk.chats.create(model=public(stack), config=config).send_message(ASK)
    assert answer.text == FINAL
    workshop.check()
    task.check_upstream(replayed.bodies(stack))
    sdk.close()
