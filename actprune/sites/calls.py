"""How a model uses its layers: which run, in what order, how often, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.forward import run_checked
from actprune.running.hooks import changing_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of one layer in a forward pass."""

    count: int
    by_keyword: bool  # some call gave no positional argument, which is where hooks look
    samples_first: bool  # the first axis of its input is as long as the batch, whatever that is


def observe_calls(model: nn.Module, batch: Batch) -> dict[str, Calls]:
    """The calls of every layer without children that runs on `batch`, in the order of first runs.

    Raises:
        ActpruneError: if the model cannot run on the batch.
    """
    lengths = _lengths(model, batch)
    try:
        # an axis that happens to be as long as the batch does not follow it down to one sample
        single = _lengths(model, batch.select(torch.arange(1)))
    except ActpruneError:  # the model cannot run on one sample alone
        single = {}
    return {
        name: Calls(
            count=len(seen),
            by_keyword=None in seen,
            samples_first=set(seen) == {len(batch)} and set(single.get(name, [1])) == {1},
        )
        for name, seen in lengths.items()
    }


def _lengths(model: nn.Module, batch: Batch) -> Mapping[str, list[int | None]]:
    """Per layer and call, the length of the input's first axis; None without a positional input."""
    found: dict[str, list[int | None]] = {}
    leaves = [n for n, m in model.named_modules() if not any(m.children())]

    def note(name: str, x: object, _output: object) -> None:
        length = len(x) if isinstance(x, Tensor) and x.ndim else None
        found.setdefault(name, []).append(length)

    with changing_outputs(model, leaves, note), torch.no_grad():
        run_checked(model, batch)
    return found
