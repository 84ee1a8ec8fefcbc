"""The probed forecast: try the cut on samples that nothing else has read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from actprune.data.batch import Batch
from actprune.planning.loss_change import LossChange
from actprune.planning.result import Forecast
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
    """Measure, without surgery, the mean loss change of replacing consumers' weights by `maps`.

    The compensated weights stand in for the layers' own during one pass, and `LossChange` says what
    the samples' changes mean for the population they come from.

    Args:
        batches: samples used neither for training nor for `maps`; two at least.
        level: of the two-sided interval.
    """
    change = LossChange(loss)
    side_by_side(model, maps, batches, change.add)
    found = change.estimate(level)
    return Forecast(
        method="probed",
        loss_delta=found.point,
        low=found.low,
        high=found.high,
        level=level,
        samples=found.samples,
    )
