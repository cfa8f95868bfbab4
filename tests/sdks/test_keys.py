"""What the official SDKs make of keys: each refusal is the exception that it stands for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from gateway.keys.store import Store, Wanted
from tests.sdks.serving import Beside, Served, gateway

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "keys.yaml")


@pytest.fixture
def key(store: Store) -> str:
    return store.create(Wanted("anna", {"models": ["mine"], "requests_per_minute": 2}), time.time())[0]


@pytest.fixture
def served(store: Store, key: str, tmp_path: Path, beside: Beside) -> Iterator[Served]:
    wire = beside.upstream(kind="vllm")
    settings = {
        "auth": {"keys_file": str(store.path)},
        "backends": {"a": {"kind": "vllm", "url": wire.url}},
        "models": {name: {"targets": [{"backend": "a"}]} for name in ("mine", "other")},
    }
    with gateway(settings, tmp_path) as found:
        yield found
        assert key not in found.log.read_text()


def test_anthropic(served: Served, key: str):
    with anthropic.Anthropic(base_url=served.url, api_key=key, max_retries=0) as sdk:
        assert {m.id for m in sdk.models.list()} == {"mine", "auto"}
        for one, model, kind in (
            (sdk.with_options(api_key="gw-wrong"), "mine", anthropic.AuthenticationError),
            (sdk, "other", anthropic.PermissionDeniedError),
            (sdk, "nothing", anthropic.NotFoundError),
            (sdk, "mine", anthropic.RateLimitError),
        ):
            with pytest.raises(kind) as raised:
                one.messages.create(model=model, max_tokens=5, messages=HI)
        assert 1 <= int(raised.value.response.headers["retry-after"]) <= 30


def test_openai(served: Served, key: str):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0) as sdk:
        assert {m.id for m in sdk.models.list()} == {"mine", "auto"}
        for one, model, kind in (
            (sdk.with_options(api_key="gw-wrong"), "mine", openai.AuthenticationError),
            (sdk, "other", openai.PermissionDeniedError),
            (sdk, "nothing", openai.NotFoundError),
            (sdk, "mine", openai.RateLimitError),
        ):
            with pytest.raises(kind):
                one.responses.create(model=model, input="hi")


def test_google_genai(served: Served, key: str):
    options = types.HttpOptions(base_url=served.url)
    with genai.Client(api_key=key, http_options=options) as sdk:
        assert {m.name for m in sdk.models.list()} == {"models/mine", "models/auto"}
        for model, status in (("other", "PERMISSION_DENIED"), ("nothing", "NOT_FOUND"), ("mine", "RESOURCE_EXHAUSTED")):
            with pytest.raises(errors.ClientError) as raised:
                sdk.models.generate_content(model=model, contents="hi")
            assert raised.value.status == status
    with genai.Client(api_key="gw-wrong", http_options=options) as sdk, pytest.raises(errors.ClientError) as raised:
        sdk.models.generate_content(model="mine", contents="hi")
    assert raised.value.code == 401
