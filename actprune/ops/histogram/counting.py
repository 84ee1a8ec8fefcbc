"""How many values exceed a threshold, from their histogram alone.

A bin holds its lower edge and not its upper one, so a histogram knows exactly how many values are
*at least* an edge. How many are *above* one, as a firing rule |a| > t asks, it knows up to the
values of the edge's own bin, those equal to the edge among them. Everything else is a bracket:
two counts between which the true one lies, as far apart as the threshold's bin is full.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.histogram.bins import BINS, edges


def count_at_least(histogram: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The fewest and the most values with |a| >= threshold that the histogram allows.

    Args:
        histogram: counts [..., B], as `magnitude_histograms` returns them.
        threshold: in the activations' units.

    Returns:
        Lower and upper bound, int64 [...]: equal where the threshold is one of `edges()`, or not
        above 0.

    Raises:
        ActpruneError: if the last axis is not `BINS` long, or the threshold is not a number.
    """
    low, high = _bracket(histogram, threshold)
    exact = threshold <= 0 or bool((edges() == threshold).any())
    return (high.clone() if exact else low), high


def count_above(histogram: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The fewest and the most values with |a| > threshold that the histogram allows.

    The upper bound is reached if all values of the threshold's bin lie above it. At an edge it is
    the exact count of |a| >= threshold, hence too high by just the values equal to the edge. The
    arguments, results and errors are those of `count_at_least`; the bounds are equal where the
    threshold's bin is empty, or the threshold is negative or infinite.
    """
    low, high = _bracket(histogram, threshold)
    if threshold < 0:
        return high.clone(), high
    return low, torch.zeros_like(high) if threshold == math.inf else high


def _bracket(histogram: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Counts of the bins beyond the threshold's own, without and with it."""
    if histogram.ndim == 0 or histogram.shape[-1] != BINS:
        raise ActpruneError(
            f"Expected a histogram of shape [..., {BINS}], got {tuple(histogram.shape)}."
        )
    if math.isnan(threshold):
        raise ActpruneError("A threshold must be a number, got nan.")
    own = int((edges() <= threshold).sum())  # the bin with edge <= threshold < next edge
    return histogram[..., own + 1 :].sum(-1), histogram[..., own:].sum(-1)
