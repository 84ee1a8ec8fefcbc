"""How the text of a user becomes a model's tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from actprune.errors import ActpruneError
from actprune.loading.paths import one_line

NO_LIMIT = 10**9  # what tokenizers state as their greatest length where they know none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokenizer:
    """A model's own tokenizer and what the model can take. `encode` adds special tokens to each
    document as the tokenizer does."""

    encode: Callable[[Sequence[str]], Sequence[Sequence[int]]]
    positions: int | None  # longest sequence, in tokens; None where nothing says so
    vocabulary: int | None  # how many ids are embedded; None where nothing says so


def tokenizer_for(model: nn.Module, tokenizer: Any, spec: str) -> Tokenizer:
    """Join a model and its tokenizer.

    Args:
        model: its `config.max_position_embeddings` and `get_input_embeddings()` say what it takes,
            where it has them.
        tokenizer: one of transformers', or anything that can be called with a list of texts and
            returns the tokens of each, lists of int.
        spec: the model's name in messages.

    Raises:
        ActpruneError: if `tokenizer` is neither.
    """
    if not callable(tokenizer):
        raise ActpruneError(
            f"{spec}: its 'tokenizer' must be one of transformers', or a function from a list of "
            f"texts to lists of token ids, got {type(tokenizer).__name__}."
        )
    of_transformers = hasattr(tokenizer, "convert_tokens_to_ids")

    def encode(texts: Sequence[str]) -> Sequence[Sequence[int]]:
        try:
            found: Any = _quietly(tokenizer, texts) if of_transformers else tokenizer(list(texts))
        except Exception as e:  # the user's own code, or a tokenizer without a needed part
            raise ActpruneError(f"{spec}: its tokenizer failed: {one_line(e)}") from e
        if isinstance(found, Mapping) or len(found) != len(texts):
            raise ActpruneError(
                f"{spec}: its tokenizer must return one list of token ids for each of the "
                f"{len(texts)} texts, got {type(found).__name__} of length {len(found)}."
            )
        return found

    limits = [
        getattr(getattr(model, "config", None), "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    ]
    known = [n for n in limits if isinstance(n, int) and 0 < n < NO_LIMIT]
    return Tokenizer(
        encode=encode, positions=min(known, default=None), vocabulary=_vocabulary(model)
    )


def _quietly(tokenizer: Any, texts: Sequence[str]) -> Sequence[Sequence[int]]:
    return tokenizer(
        list(texts),
        add_special_tokens=True,
        padding=False,
        truncation=False,  # some tokenizers are saved with both switched on
        return_attention_mask=False,
        verbose=False,
    )["input_ids"]


def _vocabulary(model: nn.Module) -> int | None:
    find = getattr(model, "get_input_embeddings", None)
    table = find() if callable(find) else None
    return table.num_embeddings if isinstance(table, nn.Embedding) else None
