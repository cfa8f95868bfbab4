import pytest

from gateway.families import identify

ROWS = [
    ("Qwen/Qwen3-8B", "qwen", False, False),
    ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen", True, False),
    ("Qwen3-Omni-30B-A3B", "qwen", True, True),
    ("NousResearch/Hermes-3-Llama-3.1-8B", "qwen", False, False),
    ("QwQ-32B.Q4_K_M.gguf", "qwen", False, False),
    ("acme/sqwent-7b", None, False, False),
]


@pytest.mark.parametrize(("name", "family", "image", "audio"), ROWS)
def test_names(name: str, family: str | None, image: bool, audio: bool):
    facts = identify(name)
    assert (facts.family, facts.image, facts.audio) == (family, image, audio)
