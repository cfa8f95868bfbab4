import pytest

from gateway.families import identify

ROWS = [
    ("meta-llama/Llama-3.1-8B-Instruct", "llama", False),
    ("Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "llama", False),
    ("meta-llama/Llama-3.2-11B-Vision-Instruct", "llama", True),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama", True),
    ("llama3.2:3b", "llama", False),
    ("meta-llama/Llama-2-7b-chat-hf", None, False),
    ("llama-30b", None, False),
    ("SmolLM2-135M-Instruct", None, False),
]


@pytest.mark.parametrize(("name", "family", "image"), ROWS)
def test_names(name: str, family: str | None, image: bool):
    facts = identify(name)
    assert (facts.family, facts.image, facts.audio) == (family, image, False)
