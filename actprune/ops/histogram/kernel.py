"""The same in Triton: bins from bit patterns, integer atomics, one reading of the activations.

A program counts a tile of units over a chunk of one sample's positions in a table of its own, then
adds the table to the units' counts. Integer additions commute, so the counts are the same in every
run, whatever the tiles.
Shapes: S samples, U units, P positions a sample, K chunks of positions, B bins.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from actprune.ops.histogram.bins import BINS, FIRST, SHIFT
from actprune.ops.histogram.eager import count_bins

TILE = 4096  # activations a program counts at a time
WIDTH_U, WIDTH_P = 32, 1024  # the tile's largest extents
CHUNK_U, CHUNK_P = 1024, 8192  # positions a program walks, in tiles along units or positions


@triton.jit(do_not_specialize=["K", "tiles"])
def _histogram_kernel(
    x_ptr, positions_ptr, top_ptr, U, P, K, tiles, stride_s, stride_u, stride_p,
    BINS: tl.constexpr, FIRST: tl.constexpr, SHIFT: tl.constexpr, SLOTS: tl.constexpr,
    ALONG_UNITS: tl.constexpr, CHUNK: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)  # one dimension: the others end at 65,535
    chunk = program // tiles % K
    sample = program // tiles // K
    u_first = program % tiles * BLOCK_U
    p_first = chunk * CHUNK
    lane = tl.arange(0, BLOCK_U * BLOCK_P)  # neighbours in memory are neighbouring lanes
    row = lane % BLOCK_U if ALONG_UNITS else lane // BLOCK_P
    column = lane // BLOCK_U if ALONG_UNITS else lane % BLOCK_P
    u = u_first + row
    unit_ptr = x_ptr + sample * stride_s + u * stride_u

    table = tl.zeros((BLOCK_U * SLOTS,), tl.int32)
    for step in range(0, tl.cdiv(tl.minimum(P - p_first, CHUNK), BLOCK_P)):
        p = p_first + step * BLOCK_P + column
        inside = (u < U) & (p < P)
        a = tl.load(unit_ptr + p * stride_p, mask=inside, other=0.0).to(tl.float32)
        bits = a.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        bins = tl.minimum((bits >> SHIFT) - FIRST, BINS - 1)
        # Bin 0 follows from the others and is not counted: the zeros that a ReLU leaves would all
        # queue for one slot. They, and what lies outside, are spread over slots of no bin.
        slot = tl.where(bins > 0, bins, BINS + lane % 32)
        table += tl.histogram(row * SLOTS + slot, BLOCK_U * SLOTS)

    u_row = u_first + tl.arange(0, BLOCK_U)
    slot_row = tl.arange(0, SLOTS)[None, :]
    count = tl.reshape(table, (BLOCK_U, SLOTS))
    met = (count > 0) & (slot_row > 0) & (slot_row < BINS) & (u_row[:, None] < U)
    to = positions_ptr + u_row[:, None] * BINS + slot_row
    tl.atomic_add(to, count.to(tl.int64), mask=met, sem="relaxed")
    top = tl.max(tl.where(met, slot_row, 0), axis=1)
    tl.store(top_ptr + (sample * K + chunk) * U + u_row, top, mask=u_row < U)


_launch: Any = _histogram_kernel  # a decorated kernel's signature is no Python signature


def magnitude_histograms(x_SUP: Tensor) -> tuple[Tensor, Tensor]:
    """As the definition."""
    if x_SUP.shape[2] > 1 or x_SUP.shape[0] <= 1:
        return _count(x_SUP)
    # each value is its sample's largest: counted as if the samples were positions
    positions_UB, _ = _count(x_SUP.permute(2, 1, 0))
    return positions_UB, positions_UB.clone()


def _count(x_SUP: Tensor) -> tuple[Tensor, Tensor]:
    S, U, P = x_SUP.shape
    stride_s, stride_u, stride_p = x_SUP.stride()
    along_units = U > 1 and stride_u < stride_p
    chunk = CHUNK_U if along_units else CHUNK_P
    block_u = min(WIDTH_U, triton.next_power_of_2(max(U, 1)))
    block_p = min(TILE // block_u if along_units else WIDTH_P, triton.next_power_of_2(P))
    if not along_units:
        block_u = min(block_u, TILE // block_p)
    K, tiles = triton.cdiv(P, chunk), triton.cdiv(U, block_u)

    positions_UB = torch.zeros((U, BINS), dtype=torch.int64, device=x_SUP.device)
    top_SKU = torch.empty((S, K, U), dtype=torch.int32, device=x_SUP.device)
    if S * U:
        with torch.cuda.device_of(x_SUP):  # Triton launches on the current device
            _launch[(S * K * tiles,)](
                x_SUP, positions_UB, top_SKU, U, P, K, tiles, stride_s, stride_u, stride_p,
                BINS=BINS, FIRST=FIRST, SHIFT=SHIFT, SLOTS=triton.next_power_of_2(BINS + 32),
                ALONG_UNITS=along_units, CHUNK=chunk, BLOCK_U=block_u, BLOCK_P=block_p,
                num_warps=8, enable_fp_fusion=True,  # no matter here; left out, Triton may warn
            )  # fmt: skip
    positions_UB[:, 0] = S * P - positions_UB.sum(1)
    return positions_UB, count_bins(top_SKU.amax(1)[:, :, None])
