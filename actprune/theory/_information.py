"""Standard errors from the observed information: minus the Hessian of the log-likelihood."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def hessian_of_gradient(gradient: Callable[[Vector], Vector], at: Vector) -> Vector:
    """Hessian by central differences of a gradient; step 1e-4, error of order 1e-8."""
    step = 1e-4
    rows = [
        (gradient(at + shift) - gradient(at - shift)) / (2 * step)
        for shift in step * np.eye(len(at))
    ]
    hessian = np.array(rows).reshape(len(at), len(at))
    return (hessian + hessian.T) / 2


def covariance(hessian: Vector) -> Vector | None:
    """Inverse of minus the Hessian, or None where the likelihood has no strict maximum."""
    if hessian.size == 0 or not np.isfinite(hessian).all():
        return None
    try:
        root = np.linalg.cholesky(-hessian)
        inverse = np.linalg.inv(root)
    except np.linalg.LinAlgError:
        return None
    return inverse.T @ inverse


def delta_errors(jacobian: Vector, cov: Vector) -> Vector:
    """Standard errors of functions of the parameters: root of the diagonal of J cov J^T."""
    return np.sqrt(np.einsum("ij,jk,ik->i", jacobian, cov, jacobian).clip(0))
