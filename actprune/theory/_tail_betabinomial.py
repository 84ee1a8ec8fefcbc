"""The tail of a beta-binomial: the urn's law of the counts, without its silent units."""

import math

import numpy as np
from scipy.optimize import minimize

from actprune.theory._information import covariance, delta_errors, hessian_of_gradient
from actprune.theory._tail_result import fitted, nothing
from actprune.theory.betabinomial import beta_binomial_log_pmf
from actprune.theory.tail import Array, Tail
from actprune.theory.tail_fit import TailFit


def beta_binomial_log_law(xmin: int, xmax: int, D: int, b: float, rest: float) -> Array:
    """ln P(k) on xmin..xmax of BetaBinomial(D, b, rest) bounded to it; rest = M - b."""
    log_p = beta_binomial_log_pmf(np.arange(xmin, xmax + 1), D, b, rest)
    log_p = log_p - log_p.max()
    return log_p - math.log(np.exp(log_p).sum())


def fit_beta_binomial_tail(tail: Tail) -> TailFit:
    """By BFGS on (ln b, ln (M - b)); the gradient by central differences."""
    box = np.array([[-12.0, 12.0], [-12.0, math.log(1e5 * tail.D)]])

    def log_law(theta: Array) -> Array:
        b, rest = math.exp(theta[0]), math.exp(theta[1])
        return beta_binomial_log_law(tail.xmin, tail.xmax, tail.D, b, rest)

    def value(theta: Array) -> float:
        inside = theta.clip(box[:, 0], box[:, 1])
        return float(tail.n @ log_law(inside)[tail.k - tail.xmin]) / tail.units

    def gradient(theta: Array) -> Array:
        h = 1e-5 * np.eye(2)
        return np.array([(value(theta + d) - value(theta - d)) / 2e-5 for d in h])

    mean = float(tail.n @ tail.k) / tail.units / tail.D
    start = np.array([math.log(0.5), math.log(max(1e-3, 0.5 * (1 - mean) / mean))])
    found = minimize(
        lambda theta: (-value(theta), -gradient(theta)),
        start,
        jac=True,
        method="BFGS",
        options={"gtol": 1e-7},
    )
    theta = found.x
    if (np.abs(gradient(theta)) > 1e-4).any() or (
        (theta <= box[:, 0]) | (theta >= box[:, 1])
    ).any():
        return nothing(tail, "beta-binomial", "the likelihood rises to the edge of the family")
    b, rest = np.exp(theta)
    cov = covariance(tail.units * hessian_of_gradient(gradient, theta))
    errors: dict[str, float | None] = {"b": None, "M": None}
    if cov is not None:
        found_errors = delta_errors(np.array([[b, 0.0], [b, rest]]), cov)
        errors = dict(zip(errors, found_errors.tolist(), strict=True))
    parameters = {"b": float(b), "M": float(b + rest)}
    return fitted(tail, "beta-binomial", parameters, errors, log_law(theta))
