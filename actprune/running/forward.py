"""Run a model on the user's data, and turn what goes wrong into one line."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError


def run_checked(model: nn.Module, batch: Batch, what: str = "the data") -> Any:
    """The model's raw output on `batch`.

    Raises:
        ActpruneError: if the forward pass fails, with the inputs' shapes and the first line of the
            failure; what actprune itself raised inside passes through.
    """
    try:
        return batch.run(model)
    except ActpruneError:
        raise
    except Exception as e:  # the user's own forward may raise anything
        inputs = (*batch.args, *batch.kwargs.values())
        shapes = [tuple(x.shape) for x in inputs if isinstance(x, Tensor)]
        raise ActpruneError(
            f"The model cannot run on {what}: inputs of shape {shapes} "
            f"(first axis samples) gave {in_one_line(e)}. "
            f"Give inputs as the model's forward takes them."
        ) from e


def in_one_line(e: BaseException) -> str:
    """An exception's type and the first line of its message, at most 160 characters."""
    lines = str(e).splitlines()
    return f"{type(e).__name__}{': ' + lines[0] if lines else ''}"[:160]
