"""Laws of the test loss L(D), fitted by least squares on ln L against ln D."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]
BENDS = "power law that bends"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossFit:
    """One law on one set of points."""

    law: str
    parameters: dict[str, float]
    r2: float  # of ln L
    aicc: float  # inf where the points are too few for the parameters


def fit_losses(D: Array, loss: Array) -> dict[str, LossFit]:
    """Power law, power law above a floor, line in log D, and a power law that bends once.

    Args:
        D: training samples; loss: nats, > 0; both (points,).

    The bend: ln L has slope -beta up to D0 and -beta - turn beyond it, D0 searched over the range
    of the data; it counts as a parameter.
    """
    x, y = np.log(D), np.log(loss)
    one = np.ones_like(x)
    found = {}
    beta = _line(np.stack([one, -x], 1), y)
    found["power law"] = _result("power law", {"beta": beta[0][1]}, beta[1], y, 2)
    flat = np.linalg.lstsq(np.stack([one, -x], 1), loss, rcond=None)[0]
    rest = y - np.log(np.maximum(flat[0] - flat[1] * x, 1e-6))
    found["line in log D"] = _result("line in log D", {"a factor e": flat[1]}, rest, y, 2)

    def floored(t: Array) -> Array:
        return np.logaddexp(t[0], t[1] - np.exp(t[2]) * x) - y

    starts = [(y.min() - gap, y.max() + x.min(), 0.0) for gap in (0.1, 1.0, 5.0)]
    best = min((least_squares(floored, s) for s in starts), key=lambda f: f.cost)
    floor, scale, power = (float(v) for v in np.exp(np.clip(best.x, -50, 50)))
    parameters = {"floor": floor, "scale": scale, "beta": power}
    found["power law above a floor"] = _result(
        "power law above a floor", parameters, best.fun, y, 3
    )
    bends = []
    for at in np.linspace(x.min(), x.max(), 60)[3:-6]:
        theta, rest = _line(np.stack([one, -x, -np.maximum(x - at, 0.0)], 1), y)
        bends.append((float(rest @ rest), at, theta, rest))
    _, at, theta, rest = min(bends, key=lambda b: b[0])
    parameters = {"beta": theta[1], "turn": theta[2], "D0": math.exp(at)}
    found[BENDS] = _result(BENDS, parameters, rest, y, 4)
    return found


def _line(X: Array, y: Array) -> tuple[Array, Array]:
    theta: Array = np.linalg.lstsq(X, y, rcond=None)[0].astype(np.float64)
    return theta, y - X @ theta


def _result(law: str, parameters: dict[str, float], rest: Array, y: Array, k: int) -> LossFit:
    n, k = len(y), k + 1  # and the variance
    square, total = float(rest @ rest), float((y - y.mean()) @ (y - y.mean()))
    small = n - k - 1
    aicc = n * math.log(square / n + 1e-12) + 2 * k
    return LossFit(
        law=law,
        parameters={name: float(v) for name, v in parameters.items()},
        r2=1 - square / total,
        aicc=aicc + 2 * k * (k + 1) / small if small > 0 else math.inf,
    )
