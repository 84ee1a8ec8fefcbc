"""Run a model over batches and score every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.loss import (
    Loss,
    check_classes,
    choose_loss,
    name_loss,
    relative_difference,
)
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, substituted

NO_SAMPLES = "There are no samples to measure the loss on; give more data."


def loss_for(model: nn.Module, batches: Sequence[Batch], name: str | None) -> Loss:
    """The loss that suits `model` and `batches` (see `choose_loss`).

    The first batch decides; every batch's class labels are checked, and the variance that the
    relative difference needs is taken over all of them.

    Raises:
        ActpruneError: as `choose_loss`, and if there are no batches.
    """
    if not batches:
        raise ActpruneError(NO_SAMPLES)
    first = batches[0].to(device_of(model))
    with undisturbed(model):
        out = primary(first.run(model))
        name = name_loss(name, out, first.labels)
        if name == "difference":
            return relative_difference(_output_variance(model, batches))
    loss = choose_loss(name, out, first.labels)
    if name == "cross_entropy":
        for batch in batches[1:]:
            if batch.labels is None:
                raise ActpruneError(
                    "Some batches have labels and some have none; give all or none."
                )
            check_classes(batch.labels, out.shape[-1])
    return loss


def _output_variance(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Variance of the outputs over samples, averaged over the output's entries."""
    device = device_of(model)
    total, square, samples = 0.0, 0.0, 0
    for batch in batches:
        out = primary(batch.to(device).run(model)).double()
        total, square = total + out.sum(0), square + out.square().sum(0)
        samples += len(out)
    spread = torch.as_tensor(square / samples - (total / samples) ** 2)
    return float(spread.clamp(min=0.0).mean())


def side_by_side(
    model: nn.Module,
    maps: Mapping[str, Affine],
    batches: Iterable[Batch],
    see: Callable[[Tensor, Tensor, Tensor | None], None],
) -> None:
    """Call `see(dense, out, labels)` for every batch: what the model answers as it is, and with the
    weights `maps` in place of its own."""
    device = device_of(model)
    with undisturbed(model):
        for batch in batches:
            moved = batch.to(device)
            dense = primary(moved.run(model))
            with substituted(model, maps):
                out = primary(moved.run(model))
            see(dense, out, moved.labels)


def changes(
    model: nn.Module, maps: Mapping[str, Affine], batches: Iterable[Batch], loss: Loss
) -> np.ndarray:
    """Per-sample loss with the weights `maps` minus loss without, float64 (n,).

    Raises:
        ActpruneError: if there are no batches.
    """
    found: list[np.ndarray] = []

    def see(dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        found.append(_difference(loss, out, dense, labels))

    side_by_side(model, maps, batches, see)
    if not found:
        raise ActpruneError(NO_SAMPLES)
    return np.concatenate(found)


def _difference(loss: Loss, out: Tensor, dense: Tensor, labels: Tensor | None) -> np.ndarray:
    after = loss.per_sample(out, dense, labels)
    return (after - loss.per_sample(dense, dense, labels)).cpu().numpy()
