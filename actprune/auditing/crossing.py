"""Where a mean over samples first reaches a threshold, and how sure that is.

Shapes: n samples, E tried radii, K directions, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from actprune.auditing.result import Crossing

RESAMPLES = 1_000
HUGE = 1e30  # stands for an infinite loss, so that means stay numbers

Values = Mapping[str, np.ndarray]  # by criterion, float64 [n]
Curve = Mapping[float, Values]  # by radius


def search(
    evaluate: Callable[[float], Values],
    thresholds: Mapping[str, float],
    *,
    smallest: float,
    limit: float,
    halvings: int,
) -> dict[float, Values]:
    """Evaluate where it matters: double the radius until each criterion's mean has reached its
    threshold, and once more, for resampled means that reach it later; then halve the doubling in
    which it did.

    Returns:
        All radii that were tried with their values, and 0 with zeros.
    """
    tried: dict[float, Values] = {}

    def reached(name: str, radius: float) -> bool:
        if radius not in tried:
            values = evaluate(radius)
            tried[radius] = {k: np.nan_to_num(v, nan=HUGE, posinf=HUGE) for k, v in values.items()}
        return float(tried[radius][name].mean()) >= thresholds[name]

    for name in thresholds:
        low, high = 0.0, smallest
        while not reached(name, high) and high < limit:
            low, high = high, 2 * high
        if not reached(name, high):
            continue
        if high < limit:
            reached(name, 2 * high)
        for _ in range(halvings):
            middle = (low + high) / 2
            low, high = (low, middle) if reached(name, middle) else (middle, high)
    first = next(iter(tried.values()))
    return {0.0: {k: np.zeros_like(v) for k, v in first.items()}, **dict(sorted(tried.items()))}


def crossings(curve: Curve, name: str, threshold: float, weights_nB: np.ndarray) -> np.ndarray:
    """The least radius at which the weighted mean reaches `threshold`, along straight lines between
    the radii tried: float64 [B], inf where it does not.

    Args:
        curve: radii in rising order, the first 0.
        weights_nB: each column sums to 1.
    """
    radii_E = np.array(list(curve))
    means_EB = np.stack([curve[r][name] for r in curve]) @ weights_nB
    over_EB = means_EB >= threshold
    first_B = over_EB.argmax(0)
    column_B = np.arange(means_EB.shape[1])
    before_B = np.maximum(first_B - 1, 0)
    y0, y1 = means_EB[before_B, column_B], means_EB[first_B, column_B]
    part = np.divide(threshold - y0, y1 - y0, out=np.zeros_like(y0), where=y1 > y0)
    radius = radii_E[before_B] + part.clip(0, 1) * (radii_E[first_B] - radii_E[before_B])
    return np.where(over_EB.any(0), radius, np.inf)


def median_crossing(
    curves: Sequence[Curve],
    name: str,
    threshold: float,
    ids: np.ndarray,
    *,
    level: float,
    seed: int,
) -> Crossing:
    """The median radius over K directions, with a percentile interval.

    The bootstrap resamples directions and samples, each on its own: the pigeonhole bootstrap of
    Owen (2007), Annals of Applied Statistics 1(2), 386-411, which errs to the wide side. Samples
    of one id (windows of a document) are drawn together.
    """
    n, k = len(ids), len(curves)
    rng = np.random.default_rng(seed)
    _, cluster = np.unique(ids, return_inverse=True)
    count = int(cluster.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)  # [B, clusters]
    weights_nB = drawn[:, cluster].T.astype(np.float64)
    weights_nB /= weights_nB.sum(0)
    radii_KB = np.stack([crossings(c, name, threshold, weights_nB) for c in curves])
    rows_KB = rng.integers(0, k, (k, RESAMPLES))
    medians_B = np.median(np.take_along_axis(radii_KB, rows_KB, 0), axis=0)
    even_n1 = np.full((n, 1), 1 / n)
    radius = float(np.median([crossings(c, name, threshold, even_n1)[0] for c in curves]))
    tail = (1 - level) / 2
    low = float(np.quantile(medians_B, tail, method="lower"))
    high = float(np.quantile(medians_B, 1 - tail, method="higher"))
    radius, low, high = (x if math.isfinite(x) else None for x in (radius, low, high))
    return Crossing(radius=radius, low=low, high=high, threshold=threshold)
