"""Gemma 4 in keras-hub: loading, preprocessing and the decode loop, on torch.

keras-hub's own preprocessor needs TensorFlow, and its `generate` tells no tokens as they come, counts none, can't be
stopped and samples alike for everybody: so both are done here, over `call_with_cache`. Read and measured in keras-hub
0.32 (https://github.com/keras-team/keras-hub):

- A prompt is read in pieces, so that it can be cancelled and shows its progress, and because logits are computed for
  every position (8k tokens x 262,144 x 2 bytes = 4.3 GB at once).
- The mask of a sliding layer is cut out of one of the cache's length squared, in every layer, for every token. Here it
  is computed for the rows that are asked (`_lean_masks`).
- The vector at position 0 of a call is always restored to the text's, so no piece may begin with a medium's token.
- Pictures are encoded one by one: the pooler takes the grid of the widest in a batch for all.
- In bfloat16 and float16 the attention of the sound encoder fails on torch; it is computed in float32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gateway.canonical.content import Audio, Image
from gateway.errors import ContextTooLong, PartRefused
from gateway.filters.gemma4 import grammar as g
from gateway.worker.keras import media
from gateway.worker.keras.pieces import Medium
from gateway.worker.keras.sampling import Row

STEP = 256
"""Tokens of a prompt that are read at once."""
_GROWTH = 64
"""Tokens by which the cache grows."""
_FRAME_TOKENS = 70
"""Of one frame of a video; a picture has up to 280."""
STOP_MARKS = (g.TURN_CLOSE, g.RESPONSE_OPEN, g.EOS)

Array = Any
"""A NumPy array or a tensor."""


class CannotLoad(Exception):
    """Why, and what to do about it."""


@dataclass(slots=True)
class Spot:
    """A medium's tokens in the prompt: where they begin, how many, and what the encoder is given."""

    start: int
    count: int
    features: tuple[Array, Array]
    heard: bool
    """A sound; else a picture or a frame."""


@dataclass(slots=True)
class Prepared:
    ids: list[int]
    spots: list[Spot] = field(default_factory=list)


class Gemma:
    """One loaded model. `prepare` may be called from several threads, `generate` from one at a time."""

    def __init__(self, lm: Any, tokenizer: Any, pictures: Any, sounds: Any, context: int) -> None:
        self.context = context
        self._lm, self._tokenizer = lm, tokenizer
        backbone = lm.backbone
        self.sees = backbone.vision_encoder is not None
        self.hears = backbone.audio_encoder is not None and sounds is not None
        self.empty_thought = not getattr(backbone, "hidden_size_per_layer_input", 0)
        """True for the sizes that are shown an empty thought: all but those with per-layer inputs (E2B, E4B)."""
        self.parameters: int = lm.count_params()
        self.vocabulary: int = tokenizer.vocabulary_size()
        self._pictures, self._sounds = pictures, sounds
        self._frames = _for_frames(pictures) if self.sees else None
        self.stop_tokens = frozenset(t for m in STOP_MARKS if (t := self.token(m)) is not None)
        _lean_masks(backbone)
        _sound_in_float32(lm)

    # --- tokens

    def token(self, piece: str) -> int | None:
        """The id of a piece, None if the vocabulary does not have it."""
        found = int(self._tokenizer.token_to_id(piece))
        return found if self.piece(found) == piece else None

    def piece(self, token: int) -> str:
        return str(self._tokenizer.id_to_token(token))

    def tokenize(self, text: str) -> list[int]:
        """`<bos>` is a piece of text here like every other mark."""
        if text.startswith("<bos>"):
            return [int(self._tokenizer.start_token_id), *self.tokenize(text[5:])]
        return [int(t) for t in self._tokenizer.tokenize(text)] if text else []

    # --- preparing

    def prepare(self, runs: Sequence[str | Medium], left: Callable[[], bool] = lambda: False) -> Prepared:
        """Tokens and features of a prompt. Raises PartRefused, or ContextTooLong if no token of an answer has room."""
        out = Prepared([])
        for run in runs:
            if isinstance(run, str):
                out.ids += self.tokenize(run)
            elif isinstance(run, Audio):
                self._add_sound(media.sound(self._heard(run)), out)
            elif isinstance(run, Image):
                self._add_picture(media.picture(self._seen(run)), "<|image|>", self._pictures, out)
            else:
                for number, frame in enumerate(media.film(self._seen(run), left)):
                    out.ids += self.tokenize(f"{' ' if number else ''}{media.stamp(frame.seconds)} ")
                    self._add_picture(frame.pixels, "<|video|>", self._frames, out)
            if len(out.ids) >= self.context:
                raise ContextTooLong(
                    f"the prompt has {len(out.ids)} tokens or more; prompt and answer have room for {self.context}",
                    param="messages",
                )
        return out

    def _seen(self, part: Any) -> Any:
        if not self.sees:
            raise PartRefused("this model does not see", param=part.path)
        return part

    def _heard(self, part: Any) -> Any:
        if not self.hears:
            raise PartRefused("this model does not hear", param=part.path)
        return part

    def _add_picture(self, pixels: Any, mark: str, converter: Any, out: Prepared) -> None:
        made = converter(pixels[None].astype("float32"))
        values, positions = (_numpy(made[k])[0] for k in ("pixel_values", "pixel_position_ids"))
        count = int((positions[:, 0] >= 0).sum()) // converter.pooling_kernel_size**2
        self._add(out, "image", mark, count, (values, positions.astype("int32")), heard=False)

    def _add_sound(self, wave: Any, out: Prepared) -> None:
        frames = max(1, min(len(wave), self._sounds.num_samples) // self._sounds.stride)
        count = (frames + 3) // 4  # the encoder makes one vector of four frames of 10 ms
        mel = np.asarray(self._sounds(wave))[: 4 * count]
        self._add(out, "audio", "<|audio|>", count, (mel, np.arange(len(mel)) < frames), heard=True)

    def _add(self, out: Prepared, kind: str, mark: str, count: int, made: tuple[Array, Array], *, heard: bool) -> None:
        token = self._tokenizer.token_to_id
        out.ids.append(int(token(f"<|{kind}>")))
        out.spots.append(Spot(len(out.ids), count, made, heard))
        out.ids += [int(token(mark))] * count
        out.ids.append(int(token(f"<{kind}|>")))

    # --- generating

    def generate(
        self,
        prompt: Prepared,
        choose: Callable[[Row], int],
        *,
        read: Callable[[int, int], None] = lambda done, total: None,
        left: Callable[[], bool] = lambda: False,
    ) -> Iterator[int]:
        """The answer's tokens until the caller stops asking or the context is full; none once `left` is true. `choose`
        is given the logits of the next token; `read` is told how much of the prompt has been read."""
        ids, total = prompt.ids, len(prompt.ids)
        shown = []
        for spot in prompt.spots:
            if left():
                return
            shown.append((spot, self._encode(spot)))
        cache, row, at = None, None, 0
        for end in steps(total, prompt.spots):
            if left():
                return
            cache, row = self._forward(ids[at:end], at, self._grown(cache, end), shown)
            at = end
            read(at, total)
        size = total
        while row is not None and at < self.context and not left():
            token = choose(row)
            yield token
            if at >= size:
                size = min(self.context, size + _GROWTH)
                cache = self._grown(cache, size)
            cache, row = self._forward([token], at, cache, [])
            at += 1

    def _grown(self, cache: Any, size: int) -> Any:
        from keras import ops

        b = self._lm.backbone
        if cache is None:
            width = max(b.head_dim, b.global_head_dim or 0)
            shape = [1, b.num_layers, 2, size, b.num_key_value_heads, width]
            return ops.zeros(shape, dtype=self._lm.compute_dtype)
        more = size - cache.shape[3]
        return ops.pad(cache, [[0, 0]] * 3 + [[0, more]] + [[0, 0]] * 2) if more > 0 else cache

    def _forward(self, ids: Sequence[int], at: int, cache: Any, shown: list[tuple[Spot, Any]]) -> tuple[Any, Row]:
        """Reads `ids`, which stand at `at`: the cache with them, and the logits behind the last one."""
        import torch
        from keras import ops

        with torch.inference_mode():
            given: dict[str, Any] = {}
            for heard, names in ((False, _SEEN), (True, _HEARD)):
                here = [(s, v) for s, v in shown if s.heard is heard and at <= s.start < at + len(ids)]
                if here:
                    where = np.concatenate([np.arange(s.start, s.start + s.count) - at for s, _ in here])
                    mask = np.zeros((1, len(ids)), dtype=bool)
                    mask[0, where] = True
                    vectors = ops.concatenate([v for _, v in here], axis=2)
                    given |= dict(zip(names, (vectors, ops.convert_to_tensor(where[None], "int32"), mask), strict=True))
            tokens = ops.convert_to_tensor([list(ids)], dtype="int32")
            logits, _, cache = self._lm.call_with_cache(tokens, cache, at, **given)
            row: Row = _numpy(ops.cast(logits[0, -1], "float32"))
        return cache, row

    def _encode(self, spot: Spot) -> Any:
        """The vectors of one medium, 1 x 1 x count x width."""
        import torch
        from keras import ops

        first, second = (ops.convert_to_tensor(x[None, None]) for x in spot.features)
        b = self._lm.backbone
        with torch.inference_mode():
            if spot.heard:
                made = b.audio_encoder(first, ops.cast(second, "bool"))
            else:
                made = b.vision_encoder({"pixel_values": first, "pixel_position_ids": second})
            return made[:, :, : spot.count]


_SEEN = ("img_embeddings", "vision_indices", "vision_mask")
_HEARD = ("audio_embeddings", "audio_indices", "audio_mask")


def steps(total: int, spots: Sequence[Spot]) -> Iterator[int]:
    """Where the pieces end in which a prompt of `total` tokens is read: about STEP tokens each, a medium never cut, and
    never one that begins with a medium's token."""
    at = 0
    while at < total:
        at = min(total, at + STEP)
        for spot in spots:
            if spot.start <= at < spot.start + spot.count:
                at = min(total, spot.start + spot.count)
        yield at


def load(source: str, dtype: str, context: int, threads: int | None = None) -> Gemma:
    """`source`: a preset's name, or a folder that a preset was saved to. Raises CannotLoad, ImportError."""
    os.environ["KERAS_BACKEND"] = "torch"
    import torch

    if threads:
        torch.set_num_threads(threads)
    import keras_hub

    if not Path(source).is_dir() and source not in keras_hub.models.Gemma4CausalLM.presets:
        raise CannotLoad(f"this keras-hub ({keras_hub.__version__}) has no preset {source}")
    try:
        lm = keras_hub.models.Gemma4CausalLM.from_preset(source, preprocessor=None, dtype=dtype)
        tokenizer = keras_hub.models.Gemma4Tokenizer.from_preset(source)
        backbone = lm.backbone
        pictures = sounds = None
        if backbone.vision_encoder is not None:
            pictures = keras_hub.layers.Gemma4ImageConverter.from_preset(source)
        if backbone.audio_encoder is not None:
            sounds = keras_hub.layers.Gemma4AudioConverter.from_preset(source)
    except (OSError, ValueError, RuntimeError, KeyError) as e:
        raise CannotLoad(f"{source} can't be loaded: {type(e).__name__}: {e}") from e
    return Gemma(lm, tokenizer, pictures, sounds, context)


def _for_frames(pictures: Any) -> Any:
    """The converter of pictures for a video's frames, which have fewer tokens."""
    if pictures.max_soft_tokens <= _FRAME_TOKENS:
        return pictures
    return type(pictures)(
        patch_size=pictures.patch_size,
        max_soft_tokens=_FRAME_TOKENS,
        pooling_kernel_size=pictures.pooling_kernel_size,
        scale=pictures.scale,
        offset=pictures.offset,
    )


def _numpy(x: Any) -> Any:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(x))


def _lean_masks(backbone: Any) -> None:
    """Replaces the layers' way to cut a sliding window into a mask by one that is as large as the mask, not as the
    cache squared. Where a version of keras-hub has no such method, nothing is replaced."""
    for layer in backbone.transformer_layers:
        attention = layer.attention
        if hasattr(attention, "_mask_sliding_window") and not attention.use_bidirectional_attention:
            object.__setattr__(attention, "_mask_sliding_window", _windowed(attention.sliding_window_size))


def _windowed(size: int) -> Callable[..., Any]:
    def mask(attention_mask: Any, cache_update_index: int = 0) -> Any:
        from keras import ops

        rows, columns = attention_mask.shape[1:]
        distance = (ops.arange(rows, dtype="int32") + cache_update_index)[:, None] - ops.arange(columns, dtype="int32")
        return ops.logical_and(attention_mask, (ops.abs(distance) < size)[None])

    return mask


def _sound_in_float32(lm: Any) -> None:
    if lm.backbone.audio_encoder is None or lm.compute_dtype == "float32":
        return
    import keras

    for layer in lm.backbone.audio_encoder._flatten_layers():
        if type(layer).__name__ == "Gemma4AudioAttention":
            layer.dtype_policy = keras.DTypePolicy("float32")
