"""Maximum likelihood for the published urn: a negative binomial truncated at D.

The law is Zhang & Sui's (arXiv 2412.18073) in its sparse limit, with their c measured (units
active per sample, so b / M = c / N) and their b fitted; truncation and likelihood are ours.
"""

import math
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from actprune.theory._tied import Tied
from actprune.theory.count_fit import PARAMETERS, CountFit
from actprune.theory.truncated import negative_binomial_log_pmf, poisson_log_pmf

_BOX = (-14.0, 14.0)  # ln b
_NO_GAIN = 1e-6  # nats; a smaller gain over the Poisson limit cannot be told from rounding
_MEASURED = "c / N is measured, not fitted: the mean has no standard error here"


def fit_urn(tied: Tied) -> CountFit:
    """The published urn's b, M = b N / c; the Poisson limit is stated where b runs off to it."""
    if tied.mean == 0:
        return _result(tied, None, None, 0.0, "no unit fired: c is 0, b and M do not exist")
    here = tied.n > 0
    k, n = tied.k[here], tied.n[here]

    def value(log_b: float) -> float:
        b = math.exp(log_b)
        return float(n @ negative_binomial_log_pmf(k, tied.D, b, b / tied.mean))

    # a coarse look first: the likelihood need not have a single hump in b
    grid = np.linspace(*_BOX, 29)
    top = int(np.argmax([value(x) for x in grid]))
    bracket = (float(grid[max(top - 1, 0)]), float(grid[min(top + 1, len(grid) - 1)]))
    found: Any = minimize_scalar(
        lambda x: -value(x), bounds=bracket, method="bounded", options={"xatol": 1e-9}
    )
    log_b, best = float(found.x), -float(found.fun)
    poisson = float(n @ poisson_log_pmf(k, tied.D, tied.mean))
    if best <= poisson + _NO_GAIN:
        note = "no spread of rates: the optimum is the Poisson limit, b and M do not exist"
        return _result(tied, None, None, poisson, note)
    step = 1e-3
    curvature = (value(log_b + step) - 2 * best + value(log_b - step)) / step**2
    # what rounding of the likelihood alone could make of a flat top
    flat = curvature >= -8e-16 * abs(best) / step**2
    error = None if flat or top in (0, len(grid) - 1) else math.exp(log_b) / math.sqrt(-curvature)
    note = _MEASURED if error is not None else f"b has no strict optimum; {_MEASURED}"
    return _result(tied, math.exp(log_b), error, best, note, converged=bool(found.success))


def _result(
    tied: Tied,
    b: float | None,
    error: float | None,
    log_likelihood: float,
    note: str,
    *,
    converged: bool = True,
) -> CountFit:
    errors: dict[str, float | None] = dict.fromkeys(PARAMETERS)
    errors["b"] = error
    if error is not None and b is not None:
        # M = b / mean: b from the likelihood, the mean measured, nearly independent of each other
        spread = float(tied.n @ (tied.k / tied.D - tied.mean) ** 2) / tied.N**2
        errors["M"] = b / tied.mean * math.sqrt((error / b) ** 2 + spread / tied.mean**2)
    return CountFit(
        family="urn",
        mean=tied.mean,
        b=b,
        M=None if b is None else b / tied.mean,
        pi0=0.0,
        pi1=0.0,
        stderr=errors,
        log_likelihood=log_likelihood,
        D=tied.D,
        N=tied.N,
        converged=converged,
        note=note,
    )
