"""A Gemma 4 of 0.1 million random weights as a preset's folder: all its parts, all its code, and no sense.

`python -m tests.worker.keras.tiny FOLDER` makes one for `gateway worker keras --from-dir FOLDER`.
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

MARKS = (
    *("<mask>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>", "<|tool>", "<tool|>", "<|tool_call>"),
    *("<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|image>", "<|image|>", "<image|>"),
    *("<|audio>", "<|audio|>", "<audio|>", "<|video|>", "{", "}", ":", "\n"),
)
WIDTH = 32
PATCH, POOL, SOFT = 4, 3, 4
MELS = 32


def make(folder: Path, *, elastic: bool = True, experts: bool = False, audio: bool = True, seed: int = 0) -> None:
    """`elastic`: as E2B and E4B are (per-layer inputs, shared keys and values). `experts`: as 26B-A4B is."""
    import keras
    from keras_hub import layers, models

    keras.utils.set_random_seed(seed)
    tokenizer = models.Gemma4Tokenizer(_vocabulary(), has_audio_tokens=audio)
    shape: dict[str, object] = {}
    if elastic:
        shape |= {"hidden_size_per_layer_input": 8, "num_kv_shared_layers": 2, "use_double_wide_mlp": True}
    if experts:
        shape |= {"enable_moe_block": True, "num_experts": 4, "expert_intermediate_dim": 16, "num_experts_per_token": 2}
    backbone = models.Gemma4Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_size=PATCH * POOL * 2,
        num_layers=4 if elastic else 2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=WIDTH,
        intermediate_dim=64,
        head_dim=16,
        global_head_dim=32,
        sliding_window_size=64,
        sliding_window_pattern=2,
        global_rope_partial_rotary_factor=0.25,
        final_logit_soft_cap=30.0,
        vision_encoder=models.Gemma4VisionEncoder(
            image_size=PATCH * POOL * 2,
            patch_size=PATCH,
            num_heads=2,
            hidden_dim=16,
            num_layers=1,
            intermediate_dim=32,
            head_dim=8,
            output_dim=WIDTH,
            pool_size=POOL,
            position_embedding_size=64,
        ),
        audio_encoder=models.Gemma4AudioEncoder(
            input_feat_size=MELS,
            hidden_size=16,
            num_heads=2,
            num_layers=1,
            sscp_conv_channels=(8, 4),
            output_proj_dims=16,
            output_dim=WIDTH,
        )
        if audio
        else None,
        num_audio_tokens_per_clip=50,
        **shape,
    )
    models.Gemma4CausalLM(preprocessor=None, backbone=backbone).save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    pictures = layers.Gemma4ImageConverter(
        patch_size=PATCH, max_soft_tokens=SOFT, pooling_kernel_size=POOL, scale=1 / 255
    )
    pictures.save_to_preset(str(folder))
    if audio:
        layers.Gemma4AudioConverter(num_mels=MELS, max_audio_length=30).save_to_preset(str(folder))
    # keras-hub does not save these two
    file = folder / "image_converter.json"
    config = json.loads(file.read_text())
    config["config"] |= {"max_soft_tokens": SOFT, "pooling_kernel_size": POOL}
    file.write_text(json.dumps(config))


def _vocabulary() -> bytes:
    """SentencePiece with Gemma's ids: pad 0, eos 1, bos 2, unk 3, and bytes for what has no piece."""
    import sentencepiece

    words = "user model system the a cat sat on mat hello world what is in this image call city Rome 0 1 2 3 : ."
    chance = random.Random(0)
    corpus = (" ".join(chance.choices(words.split(), k=8)) for _ in range(400))
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus,
        model_writer=out,
        vocab_size=420,
        model_type="bpe",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        user_defined_symbols=list(MARKS),
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        split_digits=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return out.getvalue()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
