"""The tensors of a model's output, and the one that losses are computed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from actprune.errors import ActpruneError


def primary(output: Any) -> Tensor:
    """A tensor as it is; `logits` of a mapping or a Hugging Face output; else the first tensor.

    Raises:
        ActpruneError: if the output holds no floating-point tensor.
    """
    if isinstance(output, Tensor) and output.is_floating_point():
        return output
    logits = output.get("logits") if isinstance(output, Mapping) else None
    candidates = [logits, getattr(output, "logits", None)]
    if isinstance(output, Mapping):
        candidates += list(output.values())
    elif isinstance(output, (tuple, list)):
        candidates += list(output)
    for x in candidates:
        if isinstance(x, Tensor) and x.is_floating_point():
            return x
    got = output.dtype if isinstance(output, Tensor) else type(output).__name__
    raise ActpruneError(
        f"The model's output must be or hold a floating-point tensor, got {got}; "
        f"wrap the model so that it returns one."
    )


def every_tensor(output: Any) -> Iterator[Tensor]:
    """All floating-point tensors in an output, however mappings, tuples and lists are nested."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for x in output.values():
            yield from every_tensor(x)
    elif isinstance(output, (tuple, list)):
        for x in output:
            yield from every_tensor(x)
