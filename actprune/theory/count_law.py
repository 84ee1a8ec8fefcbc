"""The law behind a `CountFit`: ln P(count), and ln P(count | the count on other samples).

Ours. Given k of d earlier samples, a Beta(b, M - b) rate is Beta(b + k, M - b + d - k), a
Gamma(b, M) rate of the published urn is Gamma(b + k, M + d), and the shares of dead and always-on
units are reweighed by Bayes' rule; the prediction is the same law with those parameters.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.theory.betabinomial import beta_binomial_log_pmf, binomial_log_pmf, inflate
from actprune.theory.count_fit import CountFit
from actprune.theory.truncated import negative_binomial_log_pmf, poisson_log_pmf


def count_log_pmf(fit: CountFit, k: ArrayLike, D: int) -> NDArray[np.float64]:
    """ln P(count = k) over D samples, in nats; k whole numbers in 0..D, any shape."""
    k = np.asarray(k)
    return inflate(_live(fit, k, D, np.zeros_like(k), 0), k, D, fit.pi0, fit.pi1)


def predictive_log_pmf(
    fit: CountFit, k: ArrayLike, D: int, seen: ArrayLike, D_seen: int
) -> NDArray[np.float64]:
    """ln P(count = k over D further samples | count = seen over D_seen samples), in nats.

    P(k, seen) / P(seen), both mixtures of the same dead, live and always-on units. -inf where the
    law rules k out; also where it rules `seen` out and the condition is void.
    """
    k, seen = np.asarray(k), np.asarray(seen)
    live_seen = _live(fit, seen, D_seen, np.zeros_like(seen), 0)
    joint = live_seen + _live(fit, k, D, seen, D_seen)
    # k + seen is 0 exactly for silent units and D + D_seen exactly for always-on ones
    joint = inflate(joint, k + seen, D + D_seen, fit.pi0, fit.pi1)
    marginal = inflate(live_seen, seen, D_seen, fit.pi0, fit.pi1)
    void = np.isneginf(marginal)
    return np.where(void, -np.inf, joint - np.where(void, 0.0, marginal))


def _live(
    fit: CountFit, k: NDArray[np.integer], D: int, seen: NDArray[np.integer], D_seen: int
) -> NDArray[np.float64]:
    """ln P(k over D | seen over D_seen) of a live unit."""
    if fit.mean is None and fit.M is None:  # no live units
        return np.full(k.shape, -np.inf)
    if fit.family == "urn":
        if fit.b is None or fit.M is None:
            return poisson_log_pmf(k, D, fit.mean or 0.0)
        return negative_binomial_log_pmf(k, D, fit.b + seen, fit.M + D_seen)
    mean = fit.mean or 0.0
    if fit.b is None or fit.M is None:
        return binomial_log_pmf(k, D, mean)
    if fit.M == 0:  # rates are 0 or 1: the first count says which
        with np.errstate(divide="ignore"):
            one = np.where(seen == D_seen, 0.0, -np.inf) if D_seen else np.log(mean)
            zero = np.where(seen == 0, 0.0, -np.inf) if D_seen else np.log1p(-mean)
        return np.where(k == 0, zero, np.where(k == D, one, -np.inf))
    return beta_binomial_log_pmf(k, D, fit.b + seen, fit.M - fit.b + (D_seen - seen))
