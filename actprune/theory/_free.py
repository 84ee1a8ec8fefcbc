"""The parameters of a count fit that lie inside their ranges, with their covariance.

Coordinates: logit mean, ln M, ln pi0/q, ln pi1/q, q = 1 - pi0 - pi1. A parameter at its boundary
is held there: it is not free, and the covariance of the others takes it as known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from actprune.theory._information import covariance, hessian_of_gradient
from actprune.theory._mixture import Vector, likelihood
from actprune.theory._tied import Tied

Point = tuple[float, float, float, float]  # mean, M (inf for one shared rate), pi0, pi1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Free:
    """Where the fit is, in the coordinates above, and how sure it is of them."""

    full: Vector  # (4,); a coordinate that is not free is a placeholder
    inside: tuple[bool, bool, bool, bool]
    cov: Vector  # (f, f), of the f free coordinates

    def point(self, theta: Vector) -> Point:
        """(mean, M, pi0, pi1) at other values (f,) of the free coordinates."""
        return _point(self.full, self.inside, theta)

    def gradient(self, of: Callable[[Point], float]) -> Vector:
        """Central differences of a function of the point by the free coordinates, (f,)."""
        at, step = self.full[list(self.inside)], 1e-5
        return np.array(
            [
                (of(self.point(at + shift)) - of(self.point(at - shift))) / (2 * step)
                for shift in step * np.eye(len(at))
            ]
        )


def free_parameters(tied: Tied, point: Point) -> Free | None:
    """The free parameters at a maximum; None where there are none or no strict maximum."""
    mean, M, pi0, pi1 = point
    if not 0 < mean < 1 or M == 0:
        return None
    inside = (True, math.inf != M, pi0 > 0, pi1 > 0)
    q = 1 - pi0 - pi1
    full = np.array(
        [logit(mean), math.log(M) if inside[1] else 0.0, *(_log_ratio(p, q) for p in (pi0, pi1))]
    )
    free = np.flatnonzero(inside)

    def gradient(theta: Vector) -> Vector:
        return likelihood(tied, *_point(full, inside, theta))[1][free]

    cov = covariance(hessian_of_gradient(gradient, full[free]))
    return None if cov is None else Free(full=full, inside=inside, cov=cov)


def _point(full: Vector, inside: tuple[bool, ...], theta: Vector) -> Point:
    at = full.copy()
    at[list(inside)] = theta
    odds = np.where(inside[2:], np.exp(at[2:]), 0.0)
    pi0, pi1 = (odds / (1 + odds.sum())).tolist()
    return float(expit(at[0])), math.exp(at[1]) if inside[1] else math.inf, pi0, pi1


def _log_ratio(weight: float, rest: float) -> float:
    return math.log(weight / rest) if weight > 0 else 0.0
