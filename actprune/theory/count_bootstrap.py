"""Does the chosen law of the counts fit at all? Parametric bootstrap of the KS distance.

The method of Clauset, Shalizi & Newman (2009), SIAM Rev. 51, 661-703, section 4.1, for the count
laws. Replicates draw units independently; dependence between units is ignored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.errors import ActpruneError
from actprune.theory._tied import tie
from actprune.theory.count_fit import CountFit
from actprune.theory.count_law import count_log_pmf
from actprune.theory.fit_counts import fit_family


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGoodness:
    """How often data from the fitted law lie farther from their own fit than the counts do."""

    p: float  # 1/(replicates + 1) to 1; small: the law does not fit
    ks: float  # largest distance of the distribution functions, 0 to 1
    replicates: int


def count_goodness(
    counts: ArrayLike, D: int, fit: CountFit, *, replicates: int = 99, seed: int = 0
) -> CountGoodness:
    """p = (1 + #{KS* >= KS}) / (1 + replicates), every replicate fitted anew.

    Args:
        counts: int64 (N,), the counts fitted.
        D: samples behind them.
        fit: their `fit_family`.
        replicates: >= 1; each costs a fit.
        seed: of the draws; the same seed gives the same p.

    Raises:
        ActpruneError: if counts and fit do not belong together, or replicates < 1.
    """
    tied = tie(counts, D)
    if (fit.N, fit.D) != (tied.N, D) or replicates < 1:
        raise ActpruneError(
            f"Needs the fit of these counts and replicates >= 1, got a fit of {fit.N} units over "
            f"{fit.D} samples, {tied.N} counts over {D} and {replicates=}."
        )
    rng = np.random.default_rng(seed)
    k = np.arange(D + 1)
    law = np.exp(count_log_pmf(fit, k, D))
    ks = _distance(tied.k.astype(np.int64), tied.n, law)
    worse = 0
    for _ in range(replicates):
        n = rng.multinomial(tied.N, law / law.sum())
        again = fit_family(np.repeat(k, n), D, fit.family)
        worse += _distance(k, n, np.exp(count_log_pmf(again, k, D))) >= ks - 1e-12
    return CountGoodness(p=(1 + int(worse)) / (1 + replicates), ks=ks, replicates=replicates)


def _distance(
    k: NDArray[np.int64], n: NDArray[np.float64] | NDArray[np.int64], law: NDArray[np.float64]
) -> float:
    seen = np.zeros(len(law))
    seen[k] = n / n.sum()
    return float(np.abs(np.cumsum(seen) - np.cumsum(law)).max())
