"""Run a model over batches and score every sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.loss import Loss, choose_loss
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, substituted

NO_SAMPLES = "There are no samples to measure the loss on; give more data."


def loss_for(model: nn.Module, batches: Sequence[Batch], name: str | None) -> Loss:
    """The loss that suits `model` and the first of `batches` (see `choose_loss`).

    Raises:
        ActpruneError: as `choose_loss`, and if there are no batches.
    """
    if not batches:
        raise ActpruneError(NO_SAMPLES)
    batch = batches[0].to(device_of(model))
    with undisturbed(model):
        out = primary(batch.run(model))
    return choose_loss(name, out, batch.labels)


def changes(
    model: nn.Module, maps: Mapping[str, Affine], batches: Iterable[Batch], loss: Loss
) -> np.ndarray:
    """Per-sample loss with the weights `maps` minus loss without, float64 (n,).

    Raises:
        ActpruneError: if there are no batches.
    """
    device = device_of(model)
    found = []
    with undisturbed(model):
        for batch in batches:
            moved = batch.to(device)
            dense = primary(moved.run(model))
            with substituted(model, maps):
                out = primary(moved.run(model))
            found.append(_difference(loss, out, dense, moved.labels))
    if not found:
        raise ActpruneError(NO_SAMPLES)
    return np.concatenate(found)


def _difference(loss: Loss, out: Tensor, dense: Tensor, labels: Tensor | None) -> np.ndarray:
    after = loss.per_sample(out, dense, labels)
    return (after - loss.per_sample(dense, dense, labels)).cpu().numpy()
