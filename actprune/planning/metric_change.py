"""The change of a metric between two models on the same samples, with an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.planning.result import MetricChange
from actprune.running.loss import Loss


class MetricChanges:
    """How metrics of a loss change, collected batch by batch."""

    def __init__(self, loss: Loss, names: Sequence[str]) -> None:
        self._loss = loss
        self._seen: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def add(self, dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        """Count one batch: the dense model's outputs and those of the other."""
        for name, seen in self._seen.items():
            metric = self._loss.metrics[name]
            change = metric(out, dense, labels) - metric(dense, dense, labels)
            seen.append(change.cpu().numpy())

    def estimate(self, level: float) -> tuple[MetricChange, ...]:
        """The changes, in the order of the names."""
        return tuple(
            metric_change(name, np.concatenate(seen), level=level)
            for name, seen in self._seen.items()
        )


def metric_change(name: str, changes: np.ndarray, *, level: float) -> MetricChange:
    """The mean of paired changes, each in [-1, 1], shape (n,), with a two-sided interval.

    The interval is that of Agresti & Min (2005, Statistics in Medicine 24:729) for paired
    proportions, which adds half a sample to each cell of the table of before and after; written
    with sums, so that it also holds for samples of many positions (ours). Other than the plain
    normal one it keeps a width where no sample changes.
    """
    n = len(changes) + 2
    total, squares = float(changes.sum()), float(np.square(changes).sum()) + 1
    middle = total / n
    half = float(stats.norm.ppf(0.5 + level / 2)) * (squares - total**2 / n) ** 0.5 / n
    return MetricChange(
        name=name,
        change=float(changes.mean()),
        low=max(middle - half, -1.0),
        high=min(middle + half, 1.0),
        level=level,
        samples=len(changes),
    )


def check_metrics(names: Sequence[str], loss: Loss) -> None:
    """Raise ActpruneError if `loss` does not go with a metric that is asked for."""
    for name in names:
        if name not in loss.metrics:
            known = ", ".join(loss.metrics) or "no metric"
            raise ActpruneError(
                f"Target {name}=: the loss {loss.kind} goes with {known}; accuracy needs class "
                f"labels, agreement a classifier without (or --loss kl)."
            )
