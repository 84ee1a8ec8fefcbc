"""What a criterion is given, and what it answers.

Shapes: N units, D outputs of the consumer, M weights a unit and output (taps x repeat),
P = N * M columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import numpy as np
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.profiling.result import SiteProfile
from actprune.refit.moments import Folds


def _not_gathered() -> NoReturn:
    raise ActpruneError(
        "This criterion needs activations that no profile carries; give the data that were "
        "profiled."
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Sizes:
    """Sizes of one site's activations, from a reading of the data; float64 [N] each."""

    mean_abs: np.ndarray  # mean over positions of |a|, >= 0
    sample_norm: np.ndarray  # root over samples of the sum of (mean over a sample's positions)^2
    nonzero: np.ndarray  # share of positions where a is not exactly 0, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Evidence:
    """What is known of one site when its units are ranked. What is called reads the data, once
    for all sites, and raises ActpruneError where there are none."""

    stats: SiteProfile
    producer: Tensor  # the producer's weight, [N, ...]
    consumer: Tensor  # the consumer's weight, float64 [D, N, M], times the factor of the batch
    # normalization behind it, so that all outputs are measured as the next layers see them
    covariance: Callable[[], Tensor]  # of the consumer's columns [P, P] or of the units [N, N]
    seed: int
    sizes: Callable[[], Sizes] = _not_gathered
    columns: Callable[[], Mapping[str, Folds]] = _not_gathered  # moments of each consumer's columns
    slope: Callable[[], np.ndarray] = _not_gathered  # see `slopes.slopes`, float64 [N]

    @property
    def outgoing(self) -> np.ndarray:
        """Squared norm of the weights that read each unit, float64 [N]."""
        return self.consumer.square().sum((0, 2)).cpu().numpy()

    @property
    def rectified(self) -> bool:
        """Whether the profile saw no activation below zero."""
        return self.stats.low is not None and bool((self.stats.low >= 0).all())


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
