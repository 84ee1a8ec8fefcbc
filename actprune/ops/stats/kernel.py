"""The same reduction in Triton: every activation is read once, in its own precision.

Shapes: S samples, U units, P positions a sample; K chunks of positions. A program owns a tile of
units and one chunk of the positions of a sample, and writes partial results, which are then
reduced in a fixed order: no atomics, the same bits in every run. Tiles and chunks depend on shape
and strides alone and are not autotuned, for another tile is another order of summation.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from actprune.ops.stats.eager import float32_below
from actprune.ops.stats.eager import unit_stats as eager_unit_stats

TILE = 2048  # activations a program holds at a time: 16 a thread, for each of five statistics
WIDTH_U, WIDTH_P = 64, 1024  # the tile's extent along the axis that is contiguous in memory
CHUNK_U, CHUNK_P = 1024, 16384  # positions a program walks, in tiles along units or positions


@triton.jit(do_not_specialize=["K", "tiles"])
def _unit_stats_kernel(
    x_ptr, active_ptr, sum_ptr, square_ptr, low_ptr, high_ptr,
    U, P, K, tiles, threshold, stride_s, stride_u, stride_p,
    MAGNITUDE: tl.constexpr, CHUNK: tl.constexpr, BLOCK_U: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)  # one dimension: the others end at 65,535
    chunk = program // tiles % K
    sample = program // tiles // K
    u = program % tiles * BLOCK_U + tl.arange(0, BLOCK_U)
    row_ptr = x_ptr + sample * stride_s + u[:, None] * stride_u
    first = chunk * CHUNK

    # lane by lane along the chunk; lanes meet once, at its end
    active = tl.zeros((BLOCK_U, BLOCK_P), tl.int32)
    total = tl.zeros((BLOCK_U, BLOCK_P), tl.float32)
    square = tl.zeros((BLOCK_U, BLOCK_P), tl.float32)
    low = tl.full((BLOCK_U, BLOCK_P), float("inf"), tl.float32)
    high = tl.full((BLOCK_U, BLOCK_P), float("-inf"), tl.float32)
    for step in range(0, tl.cdiv(tl.minimum(P - first, CHUNK), BLOCK_P)):
        p = first + step * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = (u[:, None] < U) & (p[None, :] < P)
        a = tl.load(row_ptr + p[None, :] * stride_p, mask=inside, other=0.0).to(tl.float32)
        size = tl.abs(a) if MAGNITUDE else a
        active += ((size > threshold) & inside).to(tl.int32)
        total += a
        square += a * a
        low = tl.minimum(low, tl.where(inside, a, float("inf")))
        high = tl.maximum(high, tl.where(inside, a, float("-inf")))

    square_U = tl.sum(square, axis=1)
    nan = square_U != square_U  # only if an activation is one, for squares do not cancel
    out = (sample * K + chunk) * U + u
    tl.store(active_ptr + out, tl.sum(active, axis=1), mask=u < U)
    tl.store(sum_ptr + out, tl.sum(total, axis=1), mask=u < U)
    tl.store(square_ptr + out, square_U, mask=u < U)
    tl.store(low_ptr + out, tl.where(nan, square_U, tl.min(low, axis=1)), mask=u < U)
    tl.store(high_ptr + out, tl.where(nan, square_U, tl.max(high, axis=1)), mask=u < U)


_launch: Any = _unit_stats_kernel  # a decorated kernel's signature is no Python signature


def unit_stats(x_SUP: Tensor, threshold: float, magnitude: bool) -> tuple[Tensor, ...]:
    """As the definition; sums in float32 inside a chunk of positions, in float64 over chunks."""
    S, U, P = x_SUP.shape
    if P == 1:  # nothing to reduce
        return eager_unit_stats(x_SUP, threshold, magnitude)
    samples, units = S, U
    stride_s, stride_u, stride_p = x_SUP.stride()
    if stride_s == U * stride_u:  # samples follow units evenly: tiles may span both
        samples, units = 1, S * U

    along_units = units > 1 and stride_u < stride_p
    chunk = CHUNK_U if along_units else CHUNK_P
    if along_units:
        block_u = min(WIDTH_U, triton.next_power_of_2(units))
        block_p = min(TILE // block_u, triton.next_power_of_2(P))
    else:
        block_p = min(WIDTH_P, triton.next_power_of_2(P))
        block_u = min(TILE // block_p, triton.next_power_of_2(max(units, 1)))

    K, tiles = triton.cdiv(P, chunk), triton.cdiv(units, block_u)
    active = torch.empty((samples, K, units), dtype=torch.int32, device=x_SUP.device)
    floats = torch.empty((4, samples, K, units), dtype=torch.float32, device=x_SUP.device)
    if S * U:
        with torch.cuda.device_of(x_SUP):  # Triton launches on the current device
            _launch[(samples * K * tiles,)](
                x_SUP, active, *floats, units, P, K, tiles, float32_below(threshold),
                stride_s, stride_u, stride_p,
                MAGNITUDE=magnitude, CHUNK=chunk, BLOCK_U=block_u, BLOCK_P=block_p,
                enable_fp_fusion=True,  # said, for defaults differ: a square is rounded once less
            )  # fmt: skip
    total, square, low, high = floats
    return (
        active.sum(1).reshape(S, U),  # int64
        total.sum(1, dtype=torch.float64).reshape(S, U),
        square.sum(1, dtype=torch.float64).reshape(S, U),
        low.amin(1).double().reshape(S, U),
        high.amax(1).double().reshape(S, U),
    )
