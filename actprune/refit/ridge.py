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
    """
    cov = moments.cov_xx
    lam = strength * cov.diagonal().mean().clamp(min=torch.finfo(cov.dtype).tiny)
    system = cov + lam * torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    residual = moments.cov_xz - cov @ prior_DP.T
    factor, info = torch.linalg.cholesky_ex(system)
    if info.item():  # rounding left a constant or doubled column without a positive pivot
        # the driver that copes with a missing rank runs on the CPU only
        answer = torch.linalg.lstsq(system.cpu(), residual.cpu(), driver="gelsd").solution
        change = answer.to(residual.device)
    else:
        change = torch.cholesky_solve(residual, factor)
    weight_DP = prior_DP + change.T
    return weight_DP, moments.mean_z - weight_DP @ moments.mean_x


def choose_strength(fit: Moments, select: Moments | None, prior_DP: Tensor) -> float:
    """The strength in `STRENGTHS` whose fit on `fit` errs least on `select`; ties: larger."""
    if select is None:
        return 1e-3
    errors = {s: select.error(*ridge(fit, prior_DP, s)) for s in reversed(STRENGTHS)}
    return min(errors, key=errors.__getitem__)
