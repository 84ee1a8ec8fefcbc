"""Sample coverage: how much of all firing is done by the units seen so far."""

import numpy as np
from numpy.typing import ArrayLike

from actprune.theory._tied import tie


def good_coverage(counts: ArrayLike, D: int) -> float:
    """1 - Q_1 / sum D_i: share of all firings owed to units seen at least once, 0 to 1.

    Args:
        counts: int64 (N,), samples that activate each unit.
        D: samples, >= 1.

    The rates of the unseen units add up to about Q_1/D, those of all units to sum D_i / D; the
    estimate of the unseen ones is unbiased for D - 1 samples. All units silent: 0.0, since nothing
    that will fire was seen. Good (1953), Biometrika 40, 237-264, in counts of samples.
    """
    tied = tie(counts, D)
    total = float(tied.n @ tied.k)
    return 1.0 - _number(tied.k, tied.n, 1) / total if total else 0.0


def chao_jost_coverage(counts: ArrayLike, D: int) -> float:
    """1 - (Q_1/U) (D-1) Q_1 / ((D-1) Q_1 + 2 Q_2), U = sum D_i: the same, less biased at D.

    Arguments and degenerate answers as in `good_coverage`; with Q_2 = 0 the second factor is
    (D-1)(Q_1 - 1) / ((D-1)(Q_1 - 1) + 2). Chao & Jost (2012), Ecology 93, 2533-2547, in its form
    for incidence: Chao et al. (2014), Ecol. Monogr. 84, 45-67.
    """
    tied = tie(counts, D)
    total = float(tied.n @ tied.k)
    if total == 0:
        return 0.0
    Q1, Q2 = _number(tied.k, tied.n, 1), _number(tied.k, tied.n, 2)
    if Q1 == 0:
        return 1.0
    first, second = ((D - 1) * Q1, 2 * Q2) if Q2 else ((D - 1) * (Q1 - 1), 2.0)
    return 1.0 - Q1 / total * first / (first + second)


def _number(k: np.ndarray, n: np.ndarray, of: int) -> float:
    return float(n[k == of].sum())
