"""What every sample scored: its loss and metrics, collected over batches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.loss import Loss
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed


def scored(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Scores:
    """What `model` scores on all samples, its own outputs in the place of the dense model's."""
    device = device_of(model)
    scores = Scores(loss)
    with undisturbed(model):
        for batch in batches:
            moved = batch.to(device)
            out = primary(moved.run(model))
            scores.add(out, out, moved.labels)
    return scores


class Scores:
    """Losses and metrics of one model's outputs, sample by sample."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._losses: list[np.ndarray] = []
        self._metrics: dict[str, list[np.ndarray]] = {name: [] for name in loss.metrics}

    def add(self, out: Tensor, dense: Tensor, labels: Tensor | None) -> None:
        """Score one batch's outputs; `dense`: those that a loss without labels holds them against,
        as `Loss.per_sample`."""
        self._losses.append(self._loss.per_sample(out, dense, labels).cpu().numpy())
        for name, metric in self._loss.metrics.items():
            self._metrics[name].append(metric(out, dense, labels).cpu().numpy())

    @property
    def losses(self) -> np.ndarray:
        """Float64 (n,)."""
        return np.concatenate(self._losses)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """By name, float64 (n,) each."""
        return {name: np.concatenate(found) for name, found in self._metrics.items()}

    @property
    def mean_metrics(self) -> dict[str, float]:
        return {name: float(values.mean()) for name, values in self.metrics.items()}
