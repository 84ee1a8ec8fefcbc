"""Ridge regression that shrinks towards the weights the layer had, not towards zero.

Shapes: P columns, D outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.refit.moments import Moments

# relative ridge strengths tried on the select fold: lam = strength x mean variance of the inputs
STRENGTHS = tuple(10.0**k for k in (-7, -6, -5, -4, -3, -2, -1, 0))


def ridge(moments: Moments, prior_DP: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Minimize mean ||z - W x - b||^2 + lam ||W - prior||^2: weights [D, P], bias [D], float64.

    W = prior + ((C + lam I)^-1 (C_xz - C prior^T))^T and b = mean z - W mean x, with C the
    covariance of x and lam = `strength` x mean of its diagonal (ours; with z the original output
    and x the kept units it is W_k + W_r C_rk (C_kk + lam I)^-1).

    Beside the moments one P x P float64 matrix is alive, which the Cholesky factor overwrites: .97
    GB for P = 11,008. A factor for each strength is also less work than one eigendecomposition for
    all (8 x P^3 / 3 against some 9 P^3).
    """
    residual = moments.cov_xz - moments.cov_xx_times(prior_DP.T)
    factor = _system(moments, strength).mT  # symmetric; by columns, LAPACK works in place
    info = torch.empty(0, dtype=torch.int32, device=factor.device)
    torch.linalg.cholesky_ex(factor, out=(factor, info))
    if info.item():  # rounding left a constant or doubled column without a positive pivot
        # the driver that copes with a missing rank runs on the CPU only
        system = _system(moments, strength).cpu()
        answer = torch.linalg.lstsq(system, residual.cpu(), driver="gelsd").solution
        change = answer.to(residual.device)
    else:
        half = torch.linalg.solve_triangular(factor, residual, upper=False)
        change = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    weight_DP = prior_DP + change.T
    return weight_DP, moments.mean_z - weight_DP @ moments.mean_x


def _system(moments: Moments, strength: float) -> Tensor:
    """C + lam I."""
    system = moments.cov_xx
    lam = strength * system.diagonal().mean().clamp(min=torch.finfo(system.dtype).tiny)
    system.diagonal().add_(lam)
    return system


def choose_strength(fit: Moments, select: Moments | None, prior_DP: Tensor) -> float:
    """The strength in `STRENGTHS` whose fit on `fit` errs least on `select`; ties: larger."""
    if select is None:
        return 1e-3
    errors = {s: select.error(*ridge(fit, prior_DP, s)) for s in reversed(STRENGTHS)}
    return min(errors, key=errors.__getitem__)
