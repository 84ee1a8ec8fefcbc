"""What a model is called with in somebody else's loop: how many samples, and which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.errors import ActpruneError

REMEDY = "give Profiler an `example` batch"
_PLAIN = (bool, int, float, str, torch.dtype, torch.device, type(None))


def samples_of_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """The length of the first tensor's first axis.

    Raises:
        ActpruneError: if no input is a tensor with samples.
    """
    for x in (*args, *kwargs.values()):
        if isinstance(x, Tensor) and x.ndim:
            return len(x)
    raise ActpruneError(
        "The model was called without a tensor whose first axis is the samples; pass its input "
        "tensors as arguments of their own."
    )


def batch_of_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
    """A call's inputs as a batch that the model can be run on again.

    Raises:
        ActpruneError: if the tensors disagree in their first axis, or another input is an object
            that a second run might find changed, such as a cache.
    """
    samples = samples_of_call(args, kwargs)
    named = [*((f"input {i}", x) for i, x in enumerate(args)), *kwargs.items()]
    for name, x in named:
        if isinstance(x, Tensor):
            if x.ndim and len(x) != samples:
                raise ActpruneError(
                    f"Inputs of the model must agree in their first axis (samples) to find its "
                    f"sites, got {samples} and, in {name}, {len(x)}; {REMEDY}."
                )
        elif not isinstance(x, _PLAIN):
            raise ActpruneError(
                f"The model was called with {name} of type {type(x).__name__}, which looking for "
                f"its sites might change; {REMEDY}."
            )
    return Batch(args=args, kwargs=kwargs, labels=None, ids=torch.arange(samples))
