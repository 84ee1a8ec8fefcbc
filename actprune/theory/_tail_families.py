"""The tails that are exponential families: their statistics, and their parameters by theta."""

import math

import numpy as np

from actprune.errors import ActpruneError
from actprune.theory._tail_betabinomial import beta_binomial_log_law
from actprune.theory.tail import Array
from actprune.theory.tail_fit import TAIL_FAMILIES, TAIL_PARAMETERS, TailFamily, TailFit


def known(family: TailFamily) -> TailFamily:
    """The family, checked; raises ActpruneError."""
    if family not in TAIL_FAMILIES:
        raise ActpruneError(f"Unknown tail '{family}'; choose from {', '.join(TAIL_FAMILIES)}.")
    return family


def statistics(xmin: int, xmax: int, family: TailFamily) -> Array:
    """T(k) on xmin..xmax, (S, p); of all families but the beta-binomial."""
    k = np.arange(xmin, xmax + 1, dtype=np.float64)
    log_k = np.log(k)
    columns = {
        "power law": (log_k,),
        "geometric": (k,),
        "truncated power law": (log_k, k),
        "lognormal": (log_k, log_k**2),
    }[family]
    return np.stack(columns, axis=1)


def named(family: TailFamily, theta: Array) -> tuple[dict[str, float] | None, Array]:
    """The family's own parameters and their Jacobian by theta; None where theta has none."""
    if family != "lognormal":
        names = TAIL_PARAMETERS[family]
        return dict(zip(names, (-theta).tolist(), strict=True)), -np.eye(len(theta))
    if theta[1] >= 0:
        return None, np.eye(2)
    # coefficients of ln k: mu/sigma^2 - 1, of its square: -1/(2 sigma^2)
    variance = -0.5 / theta[1]
    mu, sigma = (theta[0] + 1) * variance, math.sqrt(variance)
    by_second = 2 * variance**2  # d variance / d theta_2
    jacobian = np.array([[variance, (theta[0] + 1) * by_second], [0.0, by_second / (2 * sigma)]])
    return {"mu": float(mu), "sigma": sigma}, jacobian


def log_tail_law(fit: TailFit) -> Array:
    """ln P(k) on xmin..xmax of a fit; raises ActpruneError where it has no parameters."""
    if fit.parameters is None:
        raise ActpruneError(f"This {fit.family} tail has no parameters: {fit.note}.")
    at, k = fit.parameters, np.arange(fit.xmin, fit.xmax + 1, dtype=np.float64)
    if fit.family == "beta-binomial":
        return beta_binomial_log_law(fit.xmin, fit.xmax, fit.D, at["b"], at["M"] - at["b"])
    if fit.family == "lognormal":
        log_p = -np.log(k) - (np.log(k) - at["mu"]) ** 2 / (2 * at["sigma"] ** 2)
    else:
        log_p = -at.get("alpha", 0.0) * np.log(k) - at.get("rate", 0.0) * k
    log_p -= log_p.max()
    return log_p - math.log(np.exp(log_p).sum())
