"""The probed forecast: try the cut on samples that nothing else has read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.planning.loss_change import LossChange
from actprune.planning.metric_change import MetricChanges
from actprune.planning.result import Forecast, Trial
from actprune.running.evaluate import side_by_side
from actprune.running.loss import Loss
from actprune.running.substitute import Affine


def probed_forecast(
    model: nn.Module,
    maps: Mapping[str, Affine],
    batches: Iterable[Batch],
    loss: Loss,
    *,
    level: float,
) -> Forecast:
    """The mean loss change alone of `probed_trial`."""
    return probed_trial(model, maps, batches, loss, (), level=level).forecast


def probed_trial(
    model: nn.Module,
    maps: Mapping[str, Affine],
    batches: Iterable[Batch],
    loss: Loss,
    metrics: Sequence[str],
    *,
    level: float,
) -> Trial:
    """Measure, without surgery, what replacing consumers' weights by `maps` changes: the mean loss
    and the named metrics of `loss`.

    The compensated weights stand in for the layers' own during one pass, and `LossChange` says what
    the samples' changes mean for the population they come from.

    Args:
        batches: samples used neither for training nor for `maps`; two at least.
        level: of the two-sided intervals.
    """
    change, others = LossChange(loss), MetricChanges(loss, metrics)

    def see(dense: Tensor, out: Tensor, labels: Tensor | None) -> None:
        change.add(dense, out, labels)
        others.add(dense, out, labels)

    side_by_side(model, maps, batches, see)
    found = change.estimate(level)
    forecast = Forecast(
        method="probed",
        loss_delta=found.point,
        low=found.low,
        high=found.high,
        level=level,
        samples=found.samples,
    )
    return Trial(forecast=forecast, metrics=others.estimate(level))
