"""The one tensor of a model's output that losses are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from actprune.errors import ActpruneError


def primary(output: Any) -> Tensor:
    """A tensor as it is; `logits` of a mapping or a Hugging Face output; else the first tensor.

    Raises:
        ActpruneError: if the output holds no floating-point tensor.
    """
    if isinstance(output, Tensor):
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
    raise ActpruneError(
        f"The model's output must be or hold a floating-point tensor, got {type(output).__name__}; "
        f"wrap the model so that it returns one."
    )
