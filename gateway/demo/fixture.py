"""Tiny models that llama.cpp really runs, made here in a fifth of a second: they decode what they are sent and then
always say the same sentence.

The architecture is Gemma 4's; vocabulary and weights are this file's and `script.py`'s, nothing is downloaded. The
projectors are Gemma 4's encoder-free ones (`gemma4uv`: picture patches; `gemma4ua`: raw sound; one matrix each) with
random weights: what they see and hear reaches the model and changes nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.demo.script import Script, write_script

if TYPE_CHECKING:
    from collections.abc import Callable

    Put = Callable[[str, Any], None]

MODEL, PROJECTOR = "model.gguf", "mmproj.gguf"
WIDTH = 128
"""Numbers per token; one of them for each state of the script."""


@dataclass(slots=True, frozen=True)
class Fixture:
    """What to make. `reply` and `thought` are sentences in which no word comes twice; `image` and `audio` say what the
    projector takes (pictures bring video along)."""

    reply: str
    thought: str = "Nothing needs long pondering."
    image: bool = False
    audio: bool = False


def ensure(fixture: Fixture, cache: Path) -> tuple[Path, Path | None]:
    """The model's file and its projector's, made unless they are in the cache: `cache/fixture-<digest>/`, named after
    the fixture and the code that makes it. Safe when several processes do it at once. Raises ImportError without numpy
    and gguf (the extra `embedded`), ValueError for a sentence that cannot be scripted."""
    folder = cache / f"fixture-{digest(fixture)}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".fixture-", dir=cache))
        try:
            write(fixture, made)
            made.rename(folder)  # atomic; refused where another process was faster
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / MODEL, folder / PROJECTOR if fixture.image or fixture.audio else None


def digest(fixture: Fixture) -> str:
    """16 hexadecimal digits that change with the fixture and with the code that makes it."""
    here = files("gateway.demo")
    said = hashlib.sha256(repr(fixture).encode())
    for name in ("fixture.py", "script.py", "fixture.jinja"):
        said.update(here.joinpath(name).read_bytes())
    return said.hexdigest()[:16]


def write(fixture: Fixture, folder: Path) -> None:
    """Writes the files: the same bytes every time."""
    _write_model(write_script(fixture.reply, fixture.thought), folder / MODEL)
    if fixture.image or fixture.audio:
        _write_projector(fixture, folder / PROJECTOR)


def _write_model(script: Script, path: Path) -> None:
    import gguf
    import numpy as np

    blocks, heads, head, inner, window = 2, 2, 32, 64, 512
    writer = gguf.GGUFWriter(path, "gemma4")
    writer.add_name("gateway fixture")
    writer.add_license("apache-2.0")
    for key, number in {
        "block_count": blocks,
        "context_length": 131_072,
        "embedding_length": WIDTH,
        "embedding_length_per_layer_input": 0,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.head_count_kv": 1,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.key_length_swa": head,
        "attention.value_length_swa": head,
        "attention.sliding_window": window,
        "attention.shared_kv_layers": 0,
        "rope.dimension_count": head,
        "rope.dimension_count_swa": head,
    }.items():
        writer.add_uint32(f"gemma4.{key}", number)
    for key, real in {
        "rope.freq_base": 1e6,
        "rope.freq_base_swa": 1e4,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "final_logit_softcapping": 0.0,  # Gemma caps at 30, which would level the ranks of the script
    }.items():
        writer.add_float32(f"gemma4.{key}", real)
    writer.add_array("gemma4.attention.sliding_window_pattern", [True, False])
    _add_tokenizer(writer, script)

    random = np.random.default_rng(4)
    put = _putter(writer)
    embedding, output = _tables(script)
    put("token_embd.weight", embedding)
    put("output.weight", output)
    put("output_norm.weight", np.ones(WIDTH))
    turning = head // 8  # of the full-attention layers' angles only a quarter turn
    put("rope_freqs.weight", np.array([1.0] * turning + [1e30] * (head // 2 - turning)))
    for i in range(blocks):
        _put_block(put, f"blk.{i}.", random, heads, head, inner)
    _finish(writer)


def _add_tokenizer(writer: Any, script: Script) -> None:
    tokenizer = "tokenizer.ggml."
    writer.add_string(tokenizer + "model", "gemma4")
    writer.add_array(tokenizer + "tokens", script.tokens)
    writer.add_array(tokenizer + "scores", [-1000.0] * len(script.tokens))
    writer.add_array(tokenizer + "token_type", script.types)
    writer.add_array(tokenizer + "merges", script.merges)
    for role, token in (("bos", "<bos>"), ("eos", "<eos>"), ("unknown", "<unk>"), ("padding", "<pad>")):
        writer.add_uint32(f"{tokenizer}{role}_token_id", script.index[token])
    writer.add_bool(tokenizer + "add_space_prefix", False)
    writer.add_bool(tokenizer + "add_bos_token", True)
    template = files("gateway.demo").joinpath("fixture.jinja").read_text(encoding="utf-8")
    writer.add_string("tokenizer.chat_template", template)


def _tables(script: Script) -> tuple[Any, Any]:
    """Embedding rows `[1 | one-hot(state)]`, output rows `[bias | logit for each state]`: attention and feed-forward
    add nothing between them, so their product is the script."""
    import numpy as np

    if script.states >= WIDTH:
        raise ValueError(f"the fixture's sentences are too long: {script.states} states of {WIDTH - 1}")
    size = len(script.tokens)
    embedding = np.zeros((size, WIDTH))
    embedding[:, 0] = 1.0
    embedding[np.arange(size), 1 + np.array(script.state)] = 1.0
    output = np.zeros((size, WIDTH))
    output[:, 0] = script.bias
    for (state, token), logit in script.logits.items():
        output[token, 1 + state] = logit - script.bias[token]
    return embedding, output / np.sqrt(WIDTH / 2)  # the last norm scales [1 | one-hot] up by that


def _put_block(put: Put, block: str, random: Any, heads: int, head: int, inner: int) -> None:
    import numpy as np

    for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
        put(f"{block}{name}.weight", np.ones(WIDTH))
    for name in ("attn_q_norm", "attn_k_norm"):
        put(f"{block}{name}.weight", np.ones(head))
    for name, shape in {
        "attn_q": (heads * head, WIDTH),
        "attn_k": (head, WIDTH),
        "attn_v": (head, WIDTH),
        "ffn_gate": (inner, WIDTH),
        "ffn_up": (inner, WIDTH),
    }.items():
        put(f"{block}{name}.weight", random.standard_normal(shape) * 0.05)
    put(f"{block}attn_output.weight", np.zeros((WIDTH, heads * head)))
    put(f"{block}ffn_down.weight", np.zeros((WIDTH, inner)))


def _write_projector(fixture: Fixture, path: Path) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    writer.add_name("gateway fixture")
    writer.add_bool("clip.has_vision_encoder", fixture.image)
    writer.add_bool("clip.has_audio_encoder", fixture.audio)
    writer.add_bool("clip.use_gelu", True)
    random = np.random.default_rng(4)
    put = _putter(writer)
    if fixture.image:
        _put_eyes(writer, put, random)
    if fixture.audio:
        _put_ears(writer, put, random)
    _finish(writer)


def _put_eyes(writer: Any, put: Put, random: Any) -> None:
    import numpy as np

    patch, merged, features, positions = 16, 3, 8, 1120
    _add_tower(writer, "vision", "gemma4uv", features)
    writer.add_uint32("clip.vision.image_size", 224)
    writer.add_uint32("clip.vision.patch_size", patch)
    writer.add_array("clip.vision.image_mean", [0.0, 0.0, 0.0])
    writer.add_array("clip.vision.image_std", [1.0, 1.0, 1.0])
    numbers = (patch * merged) ** 2 * 3
    put("v.patch_embd.weight", random.standard_normal((features, numbers)) * 0.02)
    put("v.patch_embd.bias", np.zeros(features))
    for i, width in ((1, numbers), (2, features), (3, features)):
        put(f"v.patch_norm.{i}.weight", np.ones(width))
        put(f"v.patch_norm.{i}.bias", np.zeros(width))
    put("v.position_embd.weight", random.standard_normal((2, positions, features)) * 0.02)
    put("mm.input_projection.weight", random.standard_normal((WIDTH, features)) * 0.3)


def _put_ears(writer: Any, put: Put, random: Any) -> None:
    samples = 640  # one token for 40 ms at 16 kHz
    _add_tower(writer, "audio", "gemma4ua", 8)
    writer.add_uint32("clip.audio.num_mel_bins", 128)
    put("mm.a.input_projection.weight", random.standard_normal((WIDTH, samples)) * 0.05)


def _add_tower(writer: Any, sense: str, projector: str, features: int) -> None:
    writer.add_string(f"clip.{sense}.projector_type", projector)
    for key, number in {
        "embedding_length": features,
        "attention.head_count": 0,
        "feed_forward_length": 0,
        "block_count": 0,
        "projection_dim": WIDTH,
    }.items():
        writer.add_uint32(f"clip.{sense}.{key}", number)
    writer.add_float32(f"clip.{sense}.attention.layer_norm_epsilon", 1e-6)


def _putter(writer: Any) -> Put:
    import numpy as np

    def put(name: str, values: Any) -> None:
        writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))

    return put


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
