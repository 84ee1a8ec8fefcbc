"""Log-likelihood and gradient of dead, live and always-on units, on tied counts.

The weights have a closed form given the live law, so only its mean and M are searched: a share of
dead units is then exactly 0 where the data want none, and the boundary is known, not guessed.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from actprune.theory._gamma import digamma_rising, log_rising
from actprune.theory._tied import Tied
from actprune.theory.betabinomial import binomial_log_pmf

Vector = NDArray[np.float64]


def live_terms(tied: Tied, mean: float, M: float) -> tuple[Vector, Vector, Vector]:
    """ln pmf of a live unit at every count, and its derivatives by logit mean and by ln M.

    M = inf is the binomial limit.
    """
    k, D = tied.k, tied.D
    if math.inf == M:
        return binomial_log_pmf(k, D, mean), k - D * mean, np.zeros_like(k)
    a, a_prime = mean * M, (1 - mean) * M
    up, down = digamma_rising(a, k), digamma_rising(a_prime, D - k)
    by_mean = (up - down) * M * mean * (1 - mean)
    by_M = a * up + a_prime * down - M * digamma_rising(M, D)
    rising = log_rising(a, k) + log_rising(a_prime, D - k) - log_rising(M, D)
    return tied.choose + rising, by_mean, by_M


def likelihood(tied: Tied, mean: float, M: float, pi0: float, pi1: float) -> tuple[float, Vector]:
    """Log-likelihood in nats and its gradient by (logit mean, ln M, ln pi0/q, ln pi1/q).

    q = 1 - pi0 - pi1 > 0 is the share of live units.
    """
    live, by_mean, by_M = live_terms(tied, mean, M)
    log_live = math.log(1 - pi0 - pi1) + live
    mixed = log_live.copy()
    for end, weight in ((0, pi0), (-1, pi1)):  # the counts 0 and D
        if weight > 0:
            mixed[end] = np.logaddexp(mixed[end], math.log(weight))
    # only the ends may be counts that no unit shows
    here = slice(0 if tied.silent else 1, None if tied.full else -1)
    n, mixed, log_live = tied.n[here], mixed[here], log_live[here]
    alive = n * np.exp(log_live - mixed)  # expected live units at each count
    # the ends' expected dead and always-on units are what is left there
    dead = (tied.silent - alive[0]) if tied.silent else 0.0
    on = (tied.full - alive[-1]) if tied.full else 0.0
    gradient = [
        alive @ by_mean[here],
        alive @ by_M[here],
        dead - tied.N * pi0,
        on - tied.N * pi1,
    ]
    return float(n @ mixed), np.array(gradient)


def best_weights(
    tied: Tied, mean: float, M: float, *, pi0: float | None = None, pi1: float | None = None
) -> tuple[float, float]:
    """The pi0, pi1 that maximize the likelihood for a given live law (concave in the weights).

    One of them may be held at a value of one's own, below 1.
    """
    log_ends = _live_ends(tied.D, mean, M)
    f0, f1 = math.exp(log_ends[0]), math.exp(log_ends[1])
    n0, n1, N = tied.silent / tied.N, tied.full / tied.N, tied.N
    between = tied.between / N
    if pi0 is not None:
        return pi0, _other_weight(pi0, f0, f1, n0, n1, between)
    if pi1 is not None:
        return _other_weight(pi1, f1, f0, n1, n0, between), pi1

    def share(mass: float, rest: float) -> float:
        return mass / rest if rest > 0 else math.inf

    candidates = [(0.0, 0.0)]
    q = share(between, 1 - f0 - f1)  # both ends fitted exactly
    candidates.append((n0 - q * f0, n1 - q * f1))
    candidates.append((1 - share(between + n1, 1 - f0), 0.0))  # only silent units inflated
    candidates.append((0.0, 1 - share(between + n0, 1 - f1)))  # only always-on ones
    feasible = [(p, r) for p, r in candidates if p >= 0 and r >= 0 and p + r < 1]

    def ends(weights: tuple[float, float]) -> float:
        p, r = weights
        log_q = math.log1p(-p - r)
        value = between * log_q
        for mass, weight, log_f in ((n0, p, log_ends[0]), (n1, r, log_ends[1])):
            if mass:
                log_weight = math.log(weight) if weight else -math.inf
                value += mass * float(np.logaddexp(log_weight, log_q + log_f))
        return value

    return max(feasible, key=ends)


def _live_ends(D: int, mean: float, M: float) -> tuple[float, float]:
    """ln pmf of a live unit at the counts 0 and D, 0 < mean < 1."""
    if math.inf == M:
        return D * math.log1p(-mean), D * math.log(mean)
    silent, full, total = log_rising([(1 - mean) * M, mean * M, M], D).tolist()
    return silent - total, full - total


def _other_weight(
    held: float, f_held: float, f: float, n_held: float, n: float, between: float
) -> float:
    """The best weight of one end while the other's is held.

    With q the live share left, the derivative of the likelihood by q is a quadratic over positive
    terms: A q^2 + B q + C with A <= 0 <= C, of one positive root.
    """
    left, miss = 1 - held, 1 - f
    A = -miss * f_held
    B = (n_held + between) * f_held * left - (between + n) * miss * held
    C = between * held * left
    if held == 0:  # the root of A q + B
        q = left * (n_held + between) / miss if miss > 0 else left
    else:
        root = math.sqrt(max(0.0, B * B - 4 * A * C))
        if B <= 0:
            q = 2 * C / (root - B) if root - B > 0 else left
        else:
            q = (B + root) / (-2 * A) if A < 0 else left
    return max(0.0, left - q)


def profile_likelihood(
    tied: Tied, theta: Vector, *, inflated: bool
) -> tuple[float, Vector, tuple[float, float, float, float]]:
    """Per-unit log-likelihood at theta = (logit mean[, ln M]), best weights filled in.

    Returns its value in nats, its gradient by theta, and (mean, M, pi0, pi1).
    """
    mean = float(expit(theta[0]))
    M = math.exp(theta[1]) if len(theta) > 1 else math.inf
    weights = best_weights(tied, mean, M) if inflated else (0.0, 0.0)
    value, gradient = likelihood(tied, mean, M, *weights)
    return value / tied.N, gradient[: len(theta)] / tied.N, (mean, M, *weights)
