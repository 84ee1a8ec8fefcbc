"""A LLaMA of 260,000 parameters that tells stories, in the format of llama2.c.

Weights and tokenizer are not part of the repository; they lie in the folder ACTPRUNE_ASSETS, by
default `shared/assets` beside it. On the command line: `benchmarks/stories.py:model` with
`--data text:FILE`.

Format and tokenizer: https://github.com/karpathy/llama2.c, export.py and run.c (MIT).
"""

from __future__ import annotations

import heapq
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from actprune.errors import ActpruneError

BOS, BYTES = 1, 3  # the token before each text; that of byte 0, the others follow
HEADER = struct.Struct("<7i")


class Tokens:
    """Byte-pair encoding by scores: the best pair anywhere merges first, the leftmost of equals."""

    def __init__(self, pieces: Sequence[bytes], scores: Sequence[float]) -> None:
        """One piece and one score for each id."""
        self.pieces = tuple(pieces)
        self.scores = tuple(scores)
        self.ids = {piece: i for i, piece in reversed(list(enumerate(pieces)))}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, which starts with `BOS` and a space as in run.c's `encode`."""
        return [[BOS, *self._merged(self._characters(text))] for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without special tokens."""
        parts = [
            bytes([i - BYTES]) if BYTES <= i < BYTES + 256 else self.pieces[i]
            for i in ids
            if i >= BYTES
        ]
        return b"".join(parts).decode(errors="replace").removeprefix(" ")

    def _characters(self, text: str) -> list[int]:
        found: list[int] = []
        for character in f" {text}" if text else "":
            raw = character.encode()
            known = self.ids.get(raw)
            found += [b + BYTES for b in raw] if known is None else [known]
        return found

    def _merged(self, ids: list[int]) -> list[int]:
        after = list(range(1, len(ids) + 1))
        before = list(range(-1, len(ids) - 1))
        alive = [True] * len(ids)
        queue: list[tuple[float, int, int, int, int]] = []  # -score, left, right, their ids

        def offer(left: int) -> None:
            right = after[left]
            if right < len(ids):
                pair = self.ids.get(self.pieces[ids[left]] + self.pieces[ids[right]])
                if pair is not None:
                    item = (-self.scores[pair], left, right, ids[left], ids[right])
                    heapq.heappush(queue, item)

        for left in range(len(ids) - 1):
            offer(left)
        while queue:
            _, left, right, a, b = heapq.heappop(queue)
            if not (alive[left] and alive[right] and ids[left] == a and ids[right] == b):
                continue  # one of the two has merged meanwhile
            ids[left] = self.ids[self.pieces[a] + self.pieces[b]]
            alive[right] = False
            after[left] = after[right]
            if after[left] < len(ids):
                before[after[left]] = left
            offer(left)
            if before[left] >= 0:
                offer(before[left])
        return [token for token, there in zip(ids, alive, strict=True) if there]


def assets() -> Path:
    """The folder of weights, which need not exist."""
    default = Path(__file__).resolve().parents[2] / "shared" / "assets"
    return Path(os.environ.get("ACTPRUNE_ASSETS") or default)


def tokens() -> Tokens:
    """The tokenizer of 512 pieces."""
    return read_tokens(_asset("tok512.bin"))


def model() -> LlamaForCausalLM:
    """The model with its weights in evaluation mode; its attribute `tokenizer` reads text."""
    made = read_model(_asset("stories260K.bin"))
    vars(made)["tokenizer"] = tokens()
    return made


def read_tokens(path: Path) -> Tokens:
    """A tokenizer file: int32 longest piece; then for each id float32 score, int32 length, bytes.

    Raises:
        ActpruneError: if the file ends too early.
    """
    content = path.read_bytes()
    pieces, scores, at = [], [], 4
    try:
        while at < len(content):
            score, length = struct.unpack_from("<fi", content, at)
            pieces.append(struct.unpack_from(f"<{length}s", content, at + 8)[0])
            scores.append(score)
            at += 8 + length
    except struct.error as e:
        raise ActpruneError(f"{path}: not a tokenizer of llama2.c, or a damaged one.") from e
    return Tokens(pieces, scores)


def read_model(path: Path) -> LlamaForCausalLM:
    """A checkpoint: a header of seven int32, then float32 tensors, those of all layers together.

    Raises:
        ActpruneError: if its length is not that of its header.
    """
    content = path.read_bytes()
    try:
        dim, hidden, layers, heads, kv_heads, vocabulary, length = HEADER.unpack_from(content)
        config = LlamaConfig(
            vocab_size=abs(vocabulary),
            hidden_size=dim,
            intermediate_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=length,
            rms_norm_eps=1e-5,
            tie_word_embeddings=vocabulary > 0,
            bos_token_id=BOS,
            eos_token_id=BOS + 1,
            use_cache=False,
        )
        numbers = torch.from_numpy(np.frombuffer(content, np.float32, offset=HEADER.size).copy())
        state = _state(_Reader(numbers), config, kv_heads, length)
    except (struct.error, ValueError, RuntimeError) as e:
        raise ActpruneError(f"{path}: not a checkpoint of llama2.c, or a damaged one.") from e
    made = LlamaForCausalLM(config)
    made.load_state_dict(state)
    return made.eval()


class _Reader:
    """Takes tensors off the front of one long one."""

    def __init__(self, numbers: Tensor) -> None:
        self.left = numbers

    def take(self, *shape: int) -> Tensor:
        n = int(np.prod(shape))
        found, self.left = self.left[:n], self.left[n:]
        return found.view(shape)


def _state(reader: _Reader, config: LlamaConfig, kv_heads: int, length: int) -> dict[str, Tensor]:
    dim, hidden, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    heads = config.num_attention_heads
    size = dim // heads
    embedding = reader.take(config.vocab_size, dim)
    shapes = {
        "input_layernorm": (dim,),
        "self_attn.q_proj": (dim, dim),
        "self_attn.k_proj": (kv_heads * size, dim),
        "self_attn.v_proj": (kv_heads * size, dim),
        "self_attn.o_proj": (dim, dim),
        "post_attention_layernorm": (dim,),
        "mlp.gate_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
        "mlp.up_proj": (hidden, dim),
    }
    stacked = {name: reader.take(layers, *shape) for name, shape in shapes.items()}
    state = {
        f"model.layers.{i}.{name}.weight": x for name, all_ in stacked.items()
        for i, x in enumerate(all_)
    }  # fmt: skip
    for i in range(layers):
        for name, n in (("q_proj", heads), ("k_proj", kv_heads)):
            key = f"model.layers.{i}.self_attn.{name}.weight"
            state[key] = half_split(state[key], n)
    state["model.embed_tokens.weight"] = embedding
    state["model.norm.weight"] = reader.take(dim)
    reader.take(2, length, size // 2)  # cosines and sines, which transformers computes
    tied = config.tie_word_embeddings
    state["lm_head.weight"] = embedding if tied else reader.take(config.vocab_size, dim)
    if len(reader.left):
        raise ValueError("numbers are left over")
    return state


def half_split(weight: Tensor, heads: int) -> Tensor:
    """Reorder the rows [heads x size, d] of queries or keys for the rotation of transformers.

    llama2.c rotates the pairs (0, 1), (2, 3), ... of a head, transformers the pairs
    (0, size / 2), (1, size / 2 + 1), ...
    """
    rows, d = weight.shape
    pairs = weight.view(heads, rows // heads // 2, 2, d)
    return pairs.transpose(1, 2).reshape(rows, d)


def _asset(name: str) -> Path:
    path = assets() / "stories260k" / name
    if not path.is_file():
        raise ActpruneError(f"{path}: no such file; set ACTPRUNE_ASSETS to the folder of assets.")
    return path
