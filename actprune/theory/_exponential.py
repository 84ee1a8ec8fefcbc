"""Maximum likelihood in exponential families on a short list of whole numbers, many at a time.

p(k) ~ exp(theta . T(k)) for k in the support: the likelihood is concave, and the maximum is where
the expected T equals the mean T observed. Shapes: S points of support, p statistics, R samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUNDS = 100
_CLOSE = 1e-9  # of the gradient, in standard deviations of T
_FAR = 1e4  # |theta| in the same units: the maximum lies at infinity
_CHUNK = 2_000_000  # numbers held at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Maxima:
    """theta where the mean T is matched, for each of R samples."""

    theta: Array  # (R, p)
    cov: Array  # (R, p, p), of T under the law: the information of one draw
    log_z: Array  # (R,), ln sum exp(theta . T)
    found: NDArray[np.bool_]  # (R,), False where there is no finite maximum


def maximize(T: Array, observed: Array) -> Maxima:
    """Damped Newton from theta = 0.

    Args:
        T: (S, p), S >= 2 points of support.
        observed: (R, p), mean of T over each sample.
    """
    centre, scale = T.mean(0), T.std(0)
    X = (T - centre) / scale
    chunk = max(1, _CHUNK // len(T))
    parts = [
        _newton(X, (observed[i : i + chunk] - centre) / scale)
        for i in range(0, len(observed), chunk)
    ]
    theta, cov, log_z, found = (np.concatenate(list(x)) for x in zip(*parts, strict=True))
    return Maxima(
        theta=theta / scale,
        cov=cov * np.outer(scale, scale),
        log_z=log_z + (theta / scale) @ centre,
        found=found,
    )


def log_probabilities(T: Array, theta: Array) -> Array:
    """ln p(k) on the support, (R, S), for theta (R, p)."""
    exponent = theta @ (T - T.mean(0)).T
    exponent -= exponent.max(1, keepdims=True)
    return exponent - np.log(np.exp(exponent).sum(1, keepdims=True))


def _law(X: Array, theta: Array) -> tuple[Array, Array]:
    exponent = theta @ X.T
    top = exponent.max(1, keepdims=True)
    weight = np.exp(exponent - top)
    total = weight.sum(1, keepdims=True)
    return weight / total, (top + np.log(total))[:, 0]


def _newton(X: Array, observed: Array) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    R, p = observed.shape
    theta = np.zeros((R, p))
    cov, log_z = np.zeros((R, p, p)), np.zeros(R)
    found, todo = np.zeros(R, dtype=bool), np.arange(R)
    products = np.einsum("sp,sq->spq", X, X).reshape(len(X), -1)
    law, z = _law(X, theta)
    for _ in range(_ROUNDS):
        mean = law @ X
        second = (law @ products).reshape(-1, p, p) - np.einsum("rp,rq->rpq", mean, mean)
        cov[todo], log_z[todo] = second, z
        slope = observed[todo] - mean
        done = np.abs(slope).max(1) < _CLOSE
        found[todo[done]] = True
        keep = ~done & (np.abs(theta[todo]).max(1) < _FAR)
        todo, law, z = todo[keep], law[keep], z[keep]
        if not len(todo):
            break
        slope, second = slope[keep], second[keep]
        # a ridge keeps a vanishing information invertible; it only shortens the step
        ridge = 1e-12 * (1 + np.trace(second, axis1=1, axis2=2))[:, None, None] * np.eye(p)
        step = np.linalg.solve(second + ridge, slope[..., None])[..., 0]
        step *= np.minimum(1, 5 / np.abs(step).max(1).clip(1e-300))[:, None]
        value = (theta[todo] * observed[todo]).sum(1) - z
        gain = (step * slope).sum(1)
        size = np.ones(len(todo))
        law, z = _law(X, theta[todo] + step)
        for _ in range(30):
            new = ((theta[todo] + size[:, None] * step) * observed[todo]).sum(1) - z
            short = new < value + 1e-4 * size * gain - 1e-12 * (1 + np.abs(value))
            if not short.any():
                break
            size[short] /= 2
            law[short], z[short] = _law(X, (theta[todo] + size[:, None] * step)[short])
        theta[todo] += size[:, None] * step
    return theta, cov, log_z, found
