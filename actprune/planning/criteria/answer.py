"""What the network answers to a removal: the refitted consumer, or the loss."""

from __future__ import annotations

import numpy as np

from actprune.planning.criteria.ranking import Evidence, Ranking, by
from actprune.refit.eliminate import eliminate


def residual(e: Evidence) -> Ranking:
    """Least harm to the refitted consumer, by backward elimination (`refit.eliminate`)."""
    cov, weight = e.covariance(), e.consumer
    d, n, m = weight.shape
    if len(cov) == n * m:
        matrix = weight.reshape(d, n * m)
    else:  # per-channel covariance: a unit's taps act as further outputs
        matrix = weight.permute(0, 2, 1).reshape(d * m, n)
    order, cost = eliminate(cov, matrix, n)
    harm = np.empty(n)
    harm[order.numpy()] = np.maximum.accumulate(cost.numpy())
    return Ranking(order=order.numpy(), harm=harm)


def taylor(e: Evidence) -> Ranking:
    """Least mean over samples of (d loss / d gate)^2, the gate a factor 1 on the unit."""
    return by(e.slope())
