"""Tiny models of random weights for the servers of MLX: what they say means nothing, but everything that a server does
with a request is done. Nothing is downloaded. `python -m tests.mlx.tiny FOLDER` makes both.

The picture, sound and video models are Gemma 4's own, very small.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.tiny import IDS, WORDS, write_words

CONTEXT = 8192


def text_model(folder: Path) -> Path:
    """For mlx_lm.server: two layers of Llama."""
    import mlx.core as mx
    from mlx_lm.models import llama

    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "vocab_size": len(WORDS),
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "rope_theta": 10000.0,
    }
    mx.random.seed(3)
    return _write(folder, config, llama.Model(llama.ModelArgs.from_dict(config)))


def seeing_model(folder: Path) -> Path:
    """For mlx_vlm.server: a Gemma 4 that sees, hears and takes video."""
    import mlx.core as mx
    from mlx_vlm.models.gemma4 import config as c
    from mlx_vlm.models.gemma4.gemma4 import Model

    text = {
        "model_type": "gemma4_text",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "head_dim": 16,
        "global_head_dim": 16,
        "num_key_value_heads": 1,
        "num_kv_shared_layers": 0,
        "vocab_size": len(WORDS),
        "vocab_size_per_layer_input": len(WORDS),
        "hidden_size_per_layer_input": 8,
        "sliding_window": 64,
        "sliding_window_pattern": 2,
        "max_position_embeddings": CONTEXT,
    }
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "global_head_dim": 16,
        "position_embedding_size": 256,
        "default_output_length": 70,
    }
    audio = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "subsampling_conv_channels": [128, 8],
        "output_proj_dims": 32,
    }
    config: dict[str, Any] = {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": text,
        "vision_config": vision,
        "audio_config": audio,
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "image_token_id": IDS["<|image|>"],
        "audio_token_id": IDS["<|audio|>"],
        "video_token_id": IDS["<|video|>"],
        "boi_token_id": IDS["<|image>"],
        "eoi_token_id": IDS["<image|>"],
        "boa_token_id": IDS["<|audio>"],
        "eoa_token_id": IDS["<audio|>"],
    }
    own = c.ModelConfig.from_dict(config)
    own.text_config, own.vision_config = c.TextConfig.from_dict(text), c.VisionConfig.from_dict(vision)
    own.audio_config = c.AudioConfig.from_dict(audio)
    mx.random.seed(5)
    _write(folder, config, Model(own))
    processor = {
        "processor_class": "Gemma4Processor",
        "image_processor": {"patch_size": 16, "max_soft_tokens": 70, "pooling_kernel_size": 3},
        "video_processor": {"patch_size": 16, "max_soft_tokens": 70, "pooling_kernel_size": 3, "num_frames": 8},
        "audio_seq_length": 750,
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def _write(folder: Path, config: dict[str, Any], model: Any) -> Path:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    folder.mkdir(parents=True, exist_ok=True)
    ends = {"bos_token_id": IDS["<bos>"], "eos_token_id": IDS["<turn|>"], "pad_token_id": IDS["<pad>"]}
    (folder / "config.json").write_text(json.dumps({**config, **ends}))
    write_words(folder)
    weights = dict(tree_flatten(model.parameters()))
    mx.eval(weights)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    return folder


if __name__ == "__main__":
    text_model(Path(sys.argv[1]) / "tiny-text")
    seeing_model(Path(sys.argv[1]) / "tiny-gemma4")
