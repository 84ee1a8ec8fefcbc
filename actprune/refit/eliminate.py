"""Backward elimination on the refit residual: which unit costs least to lose, again and again.

Shapes: N units, T columns a unit, P = N * T columns (a unit's columns lie together), D outputs;
n units and p = n * T columns are stored still, k columns were removed since the last flush.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from torch import Tensor

RIDGE = 1e-3  # relative to the mean variance; keeps near-duplicate units from looking free
DELAY = 64  # columns removed between two updates of the large matrices
SHRINK = 7 / 8  # share of the stored units left at which the matrices are copied together

Array = NDArray[np.float64]
_BLAS: Any = blas  # made at run time: its functions have no types
_LAPACK: Any = lapack


def eliminate(
    cov_PP: Tensor, weight_DP: Tensor, units: int, *, strength: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """Order all units by greedy removal, refitting the remaining ones after each step.

    With H = cov + lam I, removing unit q costs tr(W_q ([H^-1]_qq)^-1 W_q^T), exactly the increase
    of E||(W' - W)(a - mean)||^2 + lam ||W' - W||^2; the rest of W and H^-1 then change by the rows
    of q (`eliminate_naive` spells it out, with its sources).

    Costs need only the diagonal blocks of H^-1 and of G = W^T W, so these alone are brought up to
    date at every step; the matrices follow `DELAY` columns later in one product, as in SparseGPT
    (Frantar & Alistarh 2023, arXiv 2301.00774, section 3.3, where the order is fixed beforehand;
    choosing it greedily, and G in the place of W, is ours). About 2 P^3 multiplications and
    additions in all, nearly all of them in matrix products; beside the covariance two P x P
    matrices of memory, and a third one while they are copied together.

    The order is that of the definition unless two costs agree to rounding. Solves with H are off
    by about 2^-53 P x its condition, which is at most 1 + P / strength; relative to the largest
    cost of a unit the two ways differed by less than 1e-13 on every problem measured
    (benchmarks/selection_speed.py).

    Args:
        cov_PP: covariance of the columns, [P, P].
        weight_DP: the consumer's weights, [D, P].
        units: N.
        strength: lam relative to the mean variance, > 0.

    Returns:
        The units in order of removal, int64 [N], and the cost of each of these removals,
        float64 [N] >= 0; costs add up. The last unit's cost is that of removing everything.
    """
    state = _State(cov_PP, weight_DP, units, strength)
    order, costs = np.empty(units, dtype=np.int64), np.empty(units)
    for step in range(units):
        order[step], costs[step] = state.remove_cheapest()
    return torch.from_numpy(order), torch.from_numpy(costs)


class _State:
    """The matrices as of the last flush, and what turns them into today's: H^-1 - U^T U and
    G - U^T V - V^T U. Of the matrices only the lower halves hold; the diagonal blocks kept beside
    them are always today's."""

    def __init__(self, cov_PP: Tensor, weight_DP: Tensor, units: int, strength: float) -> None:
        weight = weight_DP.detach().double().cpu().numpy()
        self._width = weight.shape[1] // units
        self._inverse_pp = _inverse(cov_PP, strength)
        self._gram_pp = _BLAS.dsyrk(1.0, np.asfortranarray(weight), trans=1, lower=1)
        self._id_n = np.arange(units)
        self._gone_n = np.zeros(units, dtype=bool)
        self._inverse_nTT = self._diagonal(self._inverse_pp)
        self._gram_nTT = self._diagonal(self._gram_pp)
        delay = max(DELAY // self._width, 1) * self._width
        self._u_kp, self._v_kp = np.empty((2, delay, weight.shape[1]))
        self._k = 0

    def remove_cheapest(self) -> tuple[int, float]:
        """Remove the unit that costs least, the first of ties: its number and its cost."""
        if self._k == len(self._u_kp):
            self._flush()
        cost_n = self._costs()
        q = int(cost_n.argmin())
        self._remove(q)
        return int(self._id_n[q]), float(cost_n[q])

    def _costs(self) -> Array:
        """tr(([H^-1]_qq)^-1 G_qq) for every unit q stored; infinite for those gone."""
        if self._width == 1:
            cost_n = self._gram_nTT[:, 0, 0] / self._inverse_nTT[:, 0, 0]
        else:
            cost_n = np.linalg.solve(self._inverse_nTT, self._gram_nTT).trace(axis1=1, axis2=2)
        return np.where(self._gone_n, np.inf, np.maximum(cost_n, 0.0))

    def _remove(self, q: int) -> None:
        t, k = self._width, self._k
        mine = slice(q * t, (q + 1) * t)
        u_kp, v_kp = self._u_kp[:k], self._v_kp[:k]
        inverse_Tp = _rows(self._inverse_pp, mine) - u_kp[:, mine].T @ u_kp
        gram_Tp = _rows(self._gram_pp, mine)
        gram_Tp -= u_kp[:, mine].T @ v_kp
        gram_Tp -= v_kp[:, mine].T @ u_kp
        inverse_Tp[:, mine], gram_Tp[:, mine] = self._inverse_nTT[q], self._gram_nTT[q]
        # with [H^-1]_qq = L L^T and W_q the columns of q, W loses (W_q L^-T) (L^-1 [H^-1]_q:)
        divide_TT = _LAPACK.dtrtri(np.linalg.cholesky(self._inverse_nTT[q]), lower=1)[0]
        u_Tp, w_Tp = divide_TT @ inverse_Tp, divide_TT @ gram_Tp
        v_Tp = w_Tp - (w_Tp[:, mine] @ divide_TT.T) @ u_Tp / 2
        self._u_kp[k : k + t], self._v_kp[k : k + t] = u_Tp, v_Tp
        self._k += t

        u_nTT, v_nTT = self._by_unit(u_Tp), self._by_unit(v_Tp)
        self._inverse_nTT -= u_nTT.transpose(0, 2, 1) @ u_nTT
        cross_nTT = u_nTT.transpose(0, 2, 1) @ v_nTT
        self._gram_nTT -= cross_nTT + cross_nTT.transpose(0, 2, 1)
        self._gone_n[q] = True
        self._inverse_nTT[self._gone_n] = np.eye(t)  # anything that can be divided by

    def _flush(self) -> None:
        u_pk, v_pk = self._u_kp.T, self._v_kp.T
        self._inverse_pp = _BLAS.dsyrk(
            -1.0, u_pk, beta=1.0, c=self._inverse_pp, lower=1, overwrite_c=1
        )
        self._gram_pp = _BLAS.dsyr2k(
            -1.0, u_pk, v_pk, beta=1.0, c=self._gram_pp, lower=1, overwrite_c=1
        )
        self._k = 0
        stay_n = ~self._gone_n
        if stay_n.sum() > SHRINK * len(stay_n):
            return
        columns = np.flatnonzero(np.repeat(stay_n, self._width))
        self._inverse_pp = _some(self._inverse_pp, columns)
        self._gram_pp = _some(self._gram_pp, columns)
        self._inverse_nTT, self._gram_nTT = self._inverse_nTT[stay_n], self._gram_nTT[stay_n]
        self._id_n, self._gone_n = self._id_n[stay_n], self._gone_n[stay_n]
        self._u_kp, self._v_kp = np.empty((2, len(self._u_kp), len(columns)))

    def _diagonal(self, half_pp: Array) -> Array:
        """The diagonal blocks of a matrix of which the lower half holds, [n, T, T]."""
        column_nT = np.arange(len(half_pp)).reshape(-1, self._width)
        lower_nTT = np.tril(half_pp[column_nT[:, :, None], column_nT[:, None, :]])
        return lower_nTT + np.tril(lower_nTT, -1).transpose(0, 2, 1)

    def _by_unit(self, x_Tp: Array) -> Array:
        """[T, n * T] as [n, T, T]."""
        return x_Tp.reshape(self._width, -1, self._width).transpose(1, 0, 2)


def _inverse(cov_PP: Tensor, strength: float) -> Array:
    """(cov + lam I)^-1, its lower half in Fortran order."""
    system = np.array(cov_PP.detach().double().cpu().numpy(), order="F")
    # where nothing varies any ridge will do whose inverse is finite
    lam = strength * max(system.diagonal().mean(), np.finfo(np.float64).tiny ** 0.5)
    system[np.diag_indices_from(system)] += lam
    factor, failed = _LAPACK.dpotrf(system, lower=1, clean=0)
    if not failed:
        return _LAPACK.dpotri(factor, lower=1, overwrite_c=1)[0]
    # no covariance has an eigenvalue below zero: what is there is rounding larger than lam
    values, vectors = np.linalg.eigh(system)
    root = vectors / np.sqrt(np.maximum(values, lam))
    return _BLAS.dsyrk(1.0, np.asfortranarray(root), lower=1)


def _rows(half_pp: Array, rows: slice) -> Array:
    """Some rows of a matrix of which the lower half holds, but for the block on the diagonal."""
    whole = half_pp[:, rows].T.copy()
    whole[:, : rows.start] = half_pp[rows, : rows.start]
    return whole


def _some(half_pp: Array, columns: NDArray[np.int64]) -> Array:
    """The rows and columns that stay, in Fortran order."""
    return half_pp.T[np.ix_(columns, columns)].T
