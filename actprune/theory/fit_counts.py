"""The front door to the count fits: one function, one literal registry."""

from collections.abc import Callable

from numpy.typing import ArrayLike

from actprune.errors import ActpruneError
from actprune.theory._tied import Tied, tie
from actprune.theory.count_fit import FAMILIES, CountFit, Family
from actprune.theory.fit_betabinomial import fit_beta_binomial, fit_binomial, fit_inflated
from actprune.theory.fit_urn import fit_urn

_FITTERS: dict[Family, Callable[[Tied], CountFit]] = {
    "binomial": fit_binomial,
    "urn": fit_urn,
    "beta-binomial": fit_beta_binomial,
    "inflated": fit_inflated,
}


def fit_family(counts: ArrayLike, D: int, family: Family) -> CountFit:
    """Fit one family to the units' counts by maximum likelihood.

    Args:
        counts: int64 (N,), samples that activate each unit, 0 to D; documents where the samples
            of a site are correlated tokens or frames.
        D: samples behind the counts, >= 1.
        family: see `CountFit`.

    The units are taken as independent given their rates; where they are not, the standard errors
    are too small (a jackknife over samples tells).

    Raises:
        ActpruneError: if the family is unknown, D < 1 or a count is outside 0..D.
    """
    if family not in _FITTERS:
        raise ActpruneError(f"Unknown family '{family}'; choose from {', '.join(FAMILIES)}.")
    return _FITTERS[family](tie(counts, D))
