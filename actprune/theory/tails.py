"""Maximum likelihood for the tail of the counts: five laws on the bounded support xmin..xmax.

Bounded, since no unit fires on more than D samples: the usual estimators for unbounded tails give
alpha > 1 by construction, where counts of units have alpha = 1 - b < 1. "No power law here" is a
result: `compare_tails` and `tail_goodness` decide it.
"""

from numpy.typing import ArrayLike

from actprune.theory._exponential import log_probabilities, maximize
from actprune.theory._information import covariance, delta_errors
from actprune.theory._tail_betabinomial import fit_beta_binomial_tail
from actprune.theory._tail_families import known, named, statistics
from actprune.theory._tail_result import fitted, nothing
from actprune.theory.tail import Tail, tail_of
from actprune.theory.tail_fit import TAIL_PARAMETERS, TailFamily, TailFit


def fit_tail(
    counts: ArrayLike, D: int, family: TailFamily, *, xmin: int = 1, xmax: int | None = None
) -> TailFit:
    """Fit one law to the counts xmin..xmax by maximum likelihood (ours; see `TailFit`).

    Args:
        counts: int64 (N,), samples that activate each unit; silent units are left out.
        D: samples, >= 1.
        family: one of `TAIL_FAMILIES`.
        xmin: least count fitted, >= 1; see `choose_xmin`.
        xmax: greatest, at most and without it D; D - 1 leaves out always-on units.

    All but the beta-binomial are exponential families on the range: concave, one maximum. Where
    the data lie on the edge of what the law can do (all counts alike, say) there is none, and
    `note` says so. Standard errors take the units as independent; `alpha_jackknife` does not.

    Raises:
        ActpruneError: if the family is unknown, or a count or the range is out of range.
    """
    known(family)
    return fit_tail_counts(tail_of(counts, D, xmin, xmax), family)


def fit_tail_counts(tail: Tail, family: TailFamily) -> TailFit:
    """`fit_tail` of a `Tail`."""
    names = TAIL_PARAMETERS[family]
    if tail.units == 0:
        return nothing(tail, family, "no unit has a count in the range")
    if len(tail.k) == 1:
        return nothing(tail, family, "all counts are alike: no law of more than one point")
    if family == "beta-binomial":
        return fit_beta_binomial_tail(tail)
    T = statistics(tail.xmin, tail.xmax, family)
    observed = tail.n @ T[tail.k - tail.xmin] / tail.units
    at = maximize(T, observed[None])
    theta, cov = at.theta[0], at.cov[0]
    if not at.found[0]:
        return nothing(tail, family, "the counts lie at the edge of the family: no maximum")
    parameters, jacobian = named(family, theta)
    if parameters is None:
        why = "the counts bend upwards on the log-log scale: the limit is a power law, no lognormal"
        return nothing(tail, family, why)
    inverse = covariance(-tail.units * cov)
    errors = [None] * len(names) if inverse is None else delta_errors(jacobian, inverse).tolist()
    log_law = log_probabilities(T, at.theta)[0]
    return fitted(tail, family, parameters, dict(zip(names, errors, strict=True)), log_law)
