import pytest

from gateway.families import identify

ROWS = [
    ("mistralai/Mistral-7B-Instruct-v0.3", "mistral", False, False),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral", False, False),
    ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "mistral", True, False),
    ("mistralai/Pixtral-12B-2409", "mistral", True, False),
    ("mistralai/Voxtral-Mini-3B-2507", "mistral", False, True),
    ("minstrel-7b", None, False, False),
]


@pytest.mark.parametrize(("name", "family", "image", "audio"), ROWS)
def test_names(name: str, family: str | None, image: bool, audio: bool):
    facts = identify(name)
    assert (facts.family, facts.image, facts.audio) == (family, image, audio)
