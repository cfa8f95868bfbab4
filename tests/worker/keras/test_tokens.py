from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.worker.keras.tokens import Speller

PIECES = ["<pad>", "<eos>", "<bos>", "<unk>", "<|channel>", "\u2581the", "cat", "\u2581\u2581", "<0x>", "<0xZZ>", "\n"]
BYTES = [f"<0x{n:02X}>" for n in range(256)]
ALL = PIECES + BYTES


def spelled(*pieces: str) -> list[str]:
    speller = Speller(lambda token: ALL[token])
    return [*(speller.feed(ALL.index(p)) for p in pieces), speller.end()]


def test_pieces() -> None:
    assert spelled("cat", "\u2581the", "\u2581\u2581", "\n") == ["cat", " the", "  ", "\n", ""]
    assert spelled("<bos>", "<|channel>", "<eos>", "<pad>") == ["", "<|channel>", "", "", ""]
    assert spelled("<0x>", "<0xZZ>") == ["<0x>", "<0xZZ>", ""]


def test_a_character_of_several_bytes_comes_when_it_is_whole() -> None:
    assert spelled("<0xE2>", "<0x82>", "<0xAC>", "cat") == ["", "", "\u20ac", "cat", ""]


def test_a_cut_character_is_shown_as_one() -> None:
    assert spelled("<0xE2>", "cat", "<0x41>") == ["", "\ufffdcat", "A", ""]
    assert spelled("<0xE2>", "<0x82>") == ["", "", "\ufffd"]


@given(st.text(max_size=30))
def test_any_text_as_bytes(text: str) -> None:
    pieces = [f"<0x{n:02X}>" for n in text.encode()]
    assert "".join(spelled(*pieces)) == text
