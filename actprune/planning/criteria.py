"""Which units to remove first: one plain function a criterion.

Shapes: N units, D outputs of the consumer, M weights a unit and output (taps x repeat),
P = N * M columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from torch import Tensor

from actprune.profiling.result import SiteProfile
from actprune.refit.eliminate import eliminate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Evidence:
    """What is known of one site when its units are ranked."""

    stats: SiteProfile
    producer: Tensor  # the producer's weight, [N, ...]
    consumer: Tensor  # the consumer's weight, float64 [D, N, M], times the factor of the batch
    # normalization behind it, so that all outputs are measured as the next layers see them
    covariance: Callable[[], Tensor]  # of the consumer's columns [P, P] or of the units [N, N]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """`order`: the units, first to be removed first, int64 [N]; `harm`: a unit's score, float64
    [N], >= 0, growing along the order; comparable between sites only after normalization."""

    order: np.ndarray
    harm: np.ndarray


Criterion: TypeAlias = Callable[[Evidence], Ranking]


def by(*keys: np.ndarray) -> Ranking:
    """Rank by the first key ascending, ties by the next, last by index; harm is the first key."""
    index = np.arange(len(keys[0]))
    order = np.lexsort((index, *reversed(keys)))
    return Ranking(order=order, harm=np.asarray(keys[0], dtype=np.float64))


def rare(e: Evidence) -> Ranking:
    """Fewest active positions; ties by second moment. For ReLU this is APoZ (1607.03250)."""
    return by(e.stats.positions_active.sum(0), e.stats.second_moment)


def magnitude(e: Evidence) -> Ranking:
    """Least Euclidean norm of the weights that make the unit (Li et al., 1608.08710, in L2)."""
    return by(e.producer.detach().double().flatten(1).norm(dim=1).cpu().numpy())


def effect(e: Evidence) -> Ranking:
    """Second moment x squared norm of the outgoing weights (ours)."""
    return by(e.stats.second_moment * _outgoing(e))


def fluctuation(e: Evidence) -> Ranking:
    """Variance x squared norm of the outgoing weights (FLAP, 2312.11983)."""
    return by(e.stats.variance * _outgoing(e))


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


def random(e: Evidence) -> Ranking:
    """A seeded random order, the same for sites of one name and size."""
    key = [e.seed, *e.stats.site.name.encode()]
    return by(np.random.default_rng(key).permutation(e.stats.units).astype(np.float64))


def _outgoing(e: Evidence) -> np.ndarray:
    return e.consumer.square().sum((0, 2)).cpu().numpy()


CRITERIA: Mapping[str, Criterion] = {
    "rare": rare,
    "magnitude": magnitude,
    "effect": effect,
    "fluctuation": fluctuation,
    "residual": residual,
    "random": random,
}
