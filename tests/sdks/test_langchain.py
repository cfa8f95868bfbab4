"""`langchain-openai` under langchain's own standard tests of a chat model."""

from __future__ import annotations

from typing import Any, ClassVar

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.sdks import replay
from tests.sdks.conftest import Replayed, public
from tests.sdks.serving import Served


class Standard(ChatModelIntegrationTests):
    """The tests, for a model behind a gateway."""

    more: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _where(self, gateway_url: str) -> None:
        self.url = gateway_url

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # by default langchain keeps one client for all models and all event loops
        fresh = {"http_async_client": openai.DefaultAsyncHttpxClient()}
        return {"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0, **fresh, **self.more}

    @property
    def model_override_value(self) -> str:
        return public("mlx_lm")

    @property
    def supports_image_inputs(self) -> bool:
        return False  # the pictures would have to be fetched from elsewhere

    @property
    def supports_json_mode(self) -> bool:
        return True


class OfAnObedientModel(Standard):
    @pytest.fixture
    def gateway_url(self, obedient: Replayed) -> str:
        return obedient.url


class TestChatOnVllm(OfAnObedientModel):
    more: ClassVar[dict[str, Any]] = {"model": public("vllm"), "stream_usage": True}


class TestChatOnLlamacpp(OfAnObedientModel):
    more: ClassVar[dict[str, Any]] = {"model": public("llamacpp"), "stream_usage": True}


class TestChatOnMlxWithoutAParser(OfAnObedientModel):
    more: ClassVar[dict[str, Any]] = {"model": public(replay.MARKUP), "stream_usage": True}


class TestResponsesOnVllm(OfAnObedientModel):
    more: ClassVar[dict[str, Any]] = {"model": public("vllm"), "use_responses_api": True}


class TestChatOnAFixture(Standard):
    """A real llama.cpp, whose model says one sentence, or what a schema forces; tools it calls with one word only."""

    more: ClassVar[dict[str, Any]] = {"model": "fixture-ears", "stream_usage": True}

    @pytest.fixture
    def gateway_url(self, embedded: Served) -> str:
        return embedded.url

    @property
    def model_override_value(self) -> str:
        return "fixture-eyes"

    @property
    def has_tool_calling(self) -> bool:
        return False

    @pytest.mark.xfail(reason="langchain asks for this one by a tool")
    def test_structured_output_pydantic_2_v1(self, model: BaseChatModel) -> None:
        super().test_structured_output_pydantic_2_v1(model)

    @property
    def supports_json_mode(self) -> bool:
        return False  # nothing forces the keys there


del Standard, OfAnObedientModel  # pytest would collect them
