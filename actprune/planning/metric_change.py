"""The change of a metric between two models on the same samples, with an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.planning.result import MetricChange
from actprune.running.evaluate import side_by_side
from actprune.running.loss import Loss
from actprune.running.substitute import Affine


def metric_changes(
    model: nn.Module,
    maps: Mapping[str, Affine],
    batches: Iterable[Batch],
    loss: Loss,
    names: Sequence[str],
    *,
    level: float,
) -> tuple[MetricChange, ...]:
    """How the metrics `names` of `loss` change when consumers' weights are replaced by `maps`."""
    seen: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def see(dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        for name in names:
            metric = loss.metrics[name]
            after = metric(out, dense, labels) - metric(dense, dense, labels)
            seen[name].append(after.cpu().numpy())

    side_by_side(model, maps, batches, see)
    return tuple(metric_change(name, np.concatenate(d), level=level) for name, d in seen.items())


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
