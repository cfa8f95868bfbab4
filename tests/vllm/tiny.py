"""A tiny Gemma 4 of random weights, in Hugging Face's form: it sees, hears and takes video. Runs in vLLM's own
environment: `python -m tests.vllm.tiny FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.tiny import IDS, WORDS, write_words

CONTEXT = 2048


def config() -> dict[str, Any]:
    text = {
        "model_type": "gemma4_text",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "head_dim": 32,
        "global_head_dim": 32,
        "num_key_value_heads": 1,
        "num_kv_shared_layers": 0,
        "vocab_size": len(WORDS),
        "vocab_size_per_layer_input": len(WORDS),
        "hidden_size_per_layer_input": 16,
        "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention"],
        "max_position_embeddings": CONTEXT,
        "bos_token_id": IDS["<bos>"],
        "eos_token_id": IDS["<turn|>"],
        "pad_token_id": IDS["<pad>"],
    }
    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "global_head_dim": 32,
        "position_embedding_size": 1024,
        "default_output_length": 70,
    }
    audio = {
        "model_type": "gemma4_audio",
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "subsampling_conv_channels": [128, 32],
        "output_proj_dims": 64,
    }
    return {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": text,
        "vision_config": vision,
        "audio_config": audio,
        "image_token_id": IDS["<|image|>"],
        "audio_token_id": IDS["<|audio|>"],
        "video_token_id": IDS["<|video|>"],
        "boi_token_id": IDS["<|image>"],
        "eoi_token_id": IDS["<image|>"],
        "boa_token_id": IDS["<|audio>"],
        "eoa_token_index": IDS["<audio|>"],
        "eoa_token_id": IDS["<audio|>"],
        "tie_word_embeddings": True,
    }


def write(folder: Path) -> None:
    import torch
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    Gemma4ForConditionalGeneration(Gemma4Config(**config())).to(torch.bfloat16).save_pretrained(folder)
    write_words(folder)
    processor = {
        "processor_class": "Gemma4Processor",
        "image_processor": {"image_processor_type": "Gemma4ImageProcessor", "max_soft_tokens": 70},
        "video_processor": {"video_processor_type": "Gemma4VideoProcessor", "max_soft_tokens": 70, "num_frames": 4},
        "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
