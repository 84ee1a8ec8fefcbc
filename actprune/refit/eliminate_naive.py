"""Backward elimination as it is defined: every matrix brought up to date after every removal.

What `eliminate` is held against. Shapes: N units, T columns a unit, P = N * T columns (a unit's
columns lie together), D outputs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def eliminate(
    cov_PP: Tensor, weight_DP: Tensor, units: int, *, strength: float
) -> tuple[Tensor, Tensor]:
    """The order and the costs of `refit.eliminate`, in N x P x P operations without any delay.

    W -= W_q ([H^-1]_qq)^-1 [H^-1]_q: and H^-1 -= [H^-1]_:q ([H^-1]_qq)^-1 [H^-1]_q: (set-wise
    optimal brain surgeon; Hassibi & Stork 1993 for single weights; Kurtic et al. 2022,
    arXiv 2203.07259, for blocks).
    """
    cov, weight = cov_PP.double().cpu().numpy(), weight_DP.double().cpu().numpy().copy()
    width = len(cov) // units
    # where nothing varies any ridge will do whose inverse is finite
    lam = strength * max(cov.diagonal().mean(), np.finfo(np.float64).tiny ** 0.5)
    inverse = np.linalg.inv(cov + lam * np.eye(len(cov)))
    inverse = (inverse + inverse.T) / 2
    order, costs = np.empty(units, dtype=np.int64), np.empty(units)
    gone = np.zeros(units, dtype=bool)
    columns_NT = np.arange(units * width).reshape(units, width)
    for step in range(units):
        cost_N = _costs(inverse, weight, columns_NT, gone)
        q = int(cost_N.argmin())  # the first of ties
        order[step], costs[step] = q, cost_N[q]
        gone[q] = True
        mine = slice(q * width, (q + 1) * width)
        rows_TP = inverse[mine].copy()
        step_TP = np.linalg.solve(rows_TP[:, mine], rows_TP)
        weight -= weight[:, mine] @ step_TP
        inverse -= rows_TP.T @ step_TP
        weight[:, mine] = 0.0
        inverse[mine] = 0.0
        inverse[:, mine] = 0.0
    return torch.from_numpy(order), torch.from_numpy(costs)


def _costs(
    inverse: np.ndarray, weight: np.ndarray, columns_NT: np.ndarray, gone: np.ndarray
) -> np.ndarray:
    """tr(W_q ([H^-1]_qq)^-1 W_q^T) for every unit q, [N]; infinite for those gone."""
    units, width = columns_NT.shape
    if width == 1:
        pivots = np.where(gone, 1.0, inverse.diagonal())
        cost_N = np.einsum("dp,dp->p", weight, weight) / pivots
    else:
        blocks_NTT = inverse[columns_NT[:, :, None], columns_NT[:, None, :]]
        blocks_NTT[gone] = np.eye(width)
        w_NTD = weight.T.reshape(units, width, -1)
        gram_NTT = w_NTD @ w_NTD.transpose(0, 2, 1)
        cost_N = (np.linalg.inv(blocks_NTT) * gram_NTT).sum((1, 2))
    return np.where(gone, np.inf, np.maximum(cost_N, 0.0))
