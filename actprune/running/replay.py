"""Run a model again with other weights in some layers, without computing what comes before them.

A pass with changed layers is the unchanged pass up to the first of them. What the layers of torch
returned on that stretch is kept from one unchanged pass and handed out again; all else (the
model's own code, activations, sums) runs as ever: control flow, hooks and state are those of a real
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.fastpath import module_by_module
from actprune.running.outputs import primary
from actprune.running.shadow import shadowed

PURE = (  # in evaluation mode their outputs depend on their inputs and weights alone
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LayerNorm, nn.GroupNorm,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
)  # fmt: skip
KEPT = 2**30  # bytes of outputs that a record may hold; later layers are computed again


@dataclass(slots=True)
class _Calls:
    """What one layer did in the pass: when it was last called, and what it returned each time."""

    first: int
    last: int = -1
    kept: bool = True  # all of its outputs
    outputs: list[tuple[Tensor, int]] = field(default_factory=list[tuple[Tensor, int]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Record:
    """One unchanged pass over `batch`: the model's primary output, and by layer its first and last
    call, counted over all layers, and its outputs where they are still as they were returned."""

    batch: Batch
    output: Tensor
    first: dict[nn.Module, int]
    last: dict[nn.Module, int]
    outputs: dict[nn.Module, tuple[Tensor, ...]]


def record(model: nn.Module, batch: Batch, *, kept: int = KEPT) -> Record:
    """Run `batch` once and keep what the layers return; call within `undisturbed`.

    Outputs that the pass itself overwrites (an activation in place) are not kept: their layers are
    computed again, from kept inputs.

    Args:
        kept: bytes of outputs to hold at most.
    """
    calls: dict[nn.Module, _Calls] = {}
    count, held = 0, 0

    def run(module: nn.Module, forward: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        nonlocal count, held
        out = forward(*args, **kwargs)
        seen = calls.setdefault(module, _Calls(first=count))
        seen.last = count
        count += 1
        if held + out.nbytes <= kept:
            held += out.nbytes
            seen.outputs.append((out, out._version))
        else:
            seen.kept = False
        return out

    layers = [m for m in model.modules() if type(m) in PURE]  # a subclass may do more
    with module_by_module(), shadowed({m: partial(run, m, m.forward) for m in layers}):
        output = primary(batch.run(model))
    return Record(
        batch=batch,
        output=output,
        first={m: c.first for m, c in calls.items()},
        last={m: c.last for m, c in calls.items()},
        outputs={
            m: tuple(out for out, _ in c.outputs)
            for m, c in calls.items()
            if c.kept and all(out._version == version for out, version in c.outputs)
        },
    )


@contextmanager
def replayed(known: Record, changed: Collection[nn.Module]) -> Iterator[None]:
    """Within the block, passes over the record's batch take from it what the layers return that
    run before the first of `changed`; these must compute with their changed weights already."""
    start = min((known.first[m] for m in changed if m in known.first), default=0)
    ready = {m: outs for m, outs in known.outputs.items() if known.last[m] < start}
    with shadowed({m: partial(_next, cycle(outs)) for m, outs in ready.items()}):
        yield


def _next(outputs: Iterator[Tensor], *_: Any, **__: Any) -> Tensor:
    return next(outputs)
