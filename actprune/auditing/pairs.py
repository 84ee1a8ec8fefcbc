"""How many pairs keep their order, exactly, in n log n.

Shapes: U units, R rows (samples, or positions of samples).
"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 2**21  # handled at a time: about 100 MiB of int64 work arrays


def kept_pairs_by_definition(pre_UR: Tensor, post_UR: Tensor, gap: float = 0.0) -> Tensor:
    """The definition, R^2 comparisons a unit: int64 [U]. Slow on purpose."""
    pre, post = pre_UR.double(), post_UR.double()
    less_URR = pre[:, :, None] < pre[:, None, :]
    rises_URR = post[:, :, None] + gap < post[:, None, :]
    return (less_URR & rises_URR).sum((1, 2))


def kept_pairs(pre_UR: Tensor, post_UR: Tensor, gap: float = 0.0) -> Tensor:
    """Pairs j, k with pre_j < pre_k and post_j + gap < post_k: int64 [U].

    Ours: walk through the rows by rising pre-activation, asking at each row how many earlier rows
    have post + gap below its own post; rows of equal pre-activation ask before any of them counts.
    Questions and rows are sorted together once by value, then halved bit by bit from the highest,
    as in a wavelet tree (Grossi, Gupta & Vitter 2003, SODA, 841-850), 2 R log2(2 R) steps a unit.

    Args:
        pre_UR, post_UR: any float type, finite.
        gap: >= 0, in the unit of `post_UR`.
    """
    units, rows = pre_UR.shape
    if not units or not rows:
        return torch.zeros(units, dtype=torch.int64)
    most = max(1, CELLS // (2 * rows))
    pairs = zip(pre_UR.split(most), post_UR.split(most), strict=True)
    return torch.cat([_kept(pre.double(), post.double(), gap) for pre, post in pairs])


def _kept(pre_UR: Tensor, post_UR: Tensor, gap: float) -> Tensor:
    rows = pre_UR.shape[1]
    # E = 2 R events: R questions, then R rows; stable sorts keep questions first among equals
    time_UE = torch.cat([pre_UR, pre_UR], 1).argsort(dim=1, stable=True)
    order_UE = torch.cat([post_UR, post_UR + gap], 1).argsort(dim=1, stable=True)
    index_E = torch.arange(2 * rows)
    rank_UE = torch.empty_like(order_UE).scatter_(1, order_UE, index_E.expand_as(order_UE))
    rank_UE = rank_UE.gather(1, time_UE)
    counts_UE = (time_UE >= rows).long()  # a row; else a question
    kept_U = torch.zeros(len(pre_UR), dtype=torch.int64)
    for bit in reversed(range((2 * rows - 1).bit_length())):
        # ranks that agree above `bit` stand together, from the least of them on, in time's order
        start_UE = rank_UE >> (bit + 1) << (bit + 1)
        high_UE = (rank_UE >> bit) & 1
        low_rows_UE = _before(counts_UE * (1 - high_UE), start_UE)
        kept_U += (low_rows_UE * high_UE * (1 - counts_UE)).sum(1)
        highs_UE = _before(high_UE, start_UE)
        place_UE = start_UE + torch.where(
            high_UE == 1, (1 << bit) + highs_UE, index_E - start_UE - highs_UE
        )
        rank_UE = torch.empty_like(rank_UE).scatter_(1, place_UE, rank_UE)
        counts_UE = torch.empty_like(counts_UE).scatter_(1, place_UE, counts_UE)
    return kept_U


def _before(x_UE: Tensor, start_UE: Tensor) -> Tensor:
    """Sum of the entries from `start` up to, and without, each one."""
    sums_UE = x_UE.cumsum(1) - x_UE
    return sums_UE - sums_UE.gather(1, start_UE)


def comparable_pairs(pre_UR: Tensor) -> Tensor:
    """Pairs with different pre-activations: int64 [U]."""
    sorted_UR = pre_UR.contiguous().sort(1).values
    return torch.searchsorted(sorted_UR, sorted_UR).sum(1)


def rank_histogram(pre_UR: Tensor, post_UR: Tensor, bins: int) -> Tensor:
    """Shares of all rows and units by rank before (first axis) and after: float64 [bins, bins].

    A rank is (rows below + half of the rows equal) / R, from 0 to 1.
    """
    cell_UR = _bin(pre_UR, bins) * bins + _bin(post_UR, bins)
    counts = torch.bincount(cell_UR.reshape(-1), minlength=bins * bins).double()
    return (counts / max(1, cell_UR.numel())).reshape(bins, bins)


def _bin(x_UR: Tensor, bins: int) -> Tensor:
    x_UR = x_UR.contiguous()
    sorted_UR = x_UR.sort(1).values
    below_UR = torch.searchsorted(sorted_UR, x_UR)
    up_to_UR = torch.searchsorted(sorted_UR, x_UR, right=True)
    # rank = (below + up_to) / 2 / R, whole numbers throughout
    return ((below_UR + up_to_UR) * bins // (2 * x_UR.shape[1])).clamp(max=bins - 1)
