"""What tiny models of random weights have in common, whatever server they are for: their vocabulary and their
template. A token is a character or one of Gemma 4's marks. Servers' own environments read this, too.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

MARKS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'),
    *("<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>"),
)
WORDS = [*MARKS, "\n", *map(chr, range(32, 127))]
IDS = {word: i for i, word in enumerate(WORDS)}
_OWN_MARKS = {
    "boi_token": "<|image>",
    "image_token": "<|image|>",
    "eoi_token": "<image|>",
    "boa_token": "<|audio>",
    "audio_token": "<|audio|>",
    "eoa_token": "<audio|>",
}
_SPECIAL = {"bos_token": "<bos>", "eos_token": "<turn|>", "pad_token": "<pad>", "unk_token": "<unk>", **_OWN_MARKS}
"""What a tokenizer's configuration calls them."""

_MEDIA = (
    "{%- if part['type'] in ['image', 'audio', 'video'] -%}{{ '<|' + part['type'] + '|>' }}"
    "{%- else -%}{{ part.get('text', '') }}{%- endif -%}"
)
"""How the template shows a part of a message."""


def write_words(folder: Path) -> None:
    """The tokenizer and the template of a model, as Hugging Face has them."""
    _write_tokenizer(folder / "tokenizer.json")
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **_SPECIAL, "model_specific_special_tokens": _OWN_MARKS}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    template = files("gateway.demo").joinpath("fixture.jinja").read_text(encoding="utf-8")
    template = template.replace("{{ part.get('text', '') }}", _MEDIA)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write_tokenizer(path: Path) -> None:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(dict(IDS), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    tokenizer.save(str(path))
