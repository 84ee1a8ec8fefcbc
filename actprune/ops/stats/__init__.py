"""Per-(sample, unit) statistics of one activation tensor: count, sum, squares, extremes."""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.backend import Backend, check_activations, choose
from actprune.ops.stats import eager, naive, native

EXACT_POSITIONS = 2**24  # float32 counts are exact up to here


def unit_stats(
    x_SUP: Tensor,
    *,
    threshold: float,
    magnitude: bool,
    backend: Backend = "auto",
) -> tuple[Tensor, ...]:
    """Reduce activations over the positions of each sample, in one call.

    Args:
        x_SUP: activations [samples, units, positions], any floating type, any strides.
        threshold: a position is active where a > threshold, in the activation's units ...
        magnitude: ... or, if set, where |a| > threshold.
        backend: "naive" is the float64 definition; "auto" the fastest that applies: Triton for
            CUDA tensors up to float32, plain PyTorch ("eager") for all others. "native" is
            compiled C, for CPU tensors with units or positions side by side.

    Returns:
        positions active (int64), sum, sum of squares, minimum, maximum (float64), each [S, U].
        Sums are accumulated in the activation's precision, at least float32: relative to
        sum |a|, the error is below P * eps. A sample with a NaN shows it in all but the count.

    Raises:
        ActpruneError: if the tensor is not a floating [S, U, P] with P >= 1, or the backend
            asked for cannot run on it.
    """
    check_activations(x_SUP)
    chosen = choose(x_SUP, backend)
    if chosen == "triton":
        from actprune.ops.stats import kernel  # Triton only where it is used

        return kernel.unit_stats(x_SUP, threshold, magnitude)
    if chosen == "native":
        out = torch.empty((5, *x_SUP.shape[:2]), dtype=torch.float64)
        _native_into(out, x_SUP, threshold, magnitude)
        active, *others = out
        return (active.long(), *others)
    if chosen == "naive" or x_SUP.shape[-1] > EXACT_POSITIONS:
        return naive.unit_stats(x_SUP, threshold, magnitude)
    return eager.unit_stats(x_SUP, threshold, magnitude)


def unit_stats_into(
    out: Tensor,
    x_SUP: Tensor,
    *,
    threshold: float,
    magnitude: bool,
    backend: Backend = "auto",
) -> None:
    """As `unit_stats`, into `out`, float64 [5, S, U], a view of a larger page or not.

    Raises:
        ActpruneError: as `unit_stats`, or if `out` has another shape or type.
    """
    check_activations(x_SUP)
    if out.shape != (5, *x_SUP.shape[:2]) or out.dtype != torch.float64:
        raise ActpruneError(
            f"Statistics of activations {tuple(x_SUP.shape)} go into a float64 tensor of shape "
            f"{(5, *x_SUP.shape[:2])}, got {out.dtype} {tuple(out.shape)}."
        )
    if backend == "native" and out.stride(-1) == 1 and out.device == x_SUP.device:
        _native_into(out, x_SUP, threshold, magnitude)
        return
    stats = unit_stats(x_SUP, threshold=threshold, magnitude=magnitude, backend=backend)
    for row_SU, stat_SU in zip(out, stats, strict=True):
        row_SU.copy_(stat_SU)


def native_takes(x_SUP: Tensor) -> bool:
    """Whether the "native" backend can run on these activations, on this machine; may compile."""
    return native.takes(x_SUP) and native.available()


def _native_into(out: Tensor, x_SUP: Tensor, threshold: float, magnitude: bool) -> None:
    if not native_takes(x_SUP):
        raise ActpruneError(
            f"backend='native' needs a C compiler and float32 or bfloat16 on the CPU with units or "
            f"positions side by side, got {x_SUP.dtype} on {x_SUP.device} with strides "
            f"{x_SUP.stride()}; use backend='auto'."
        )
    native.unit_stats_into(out, x_SUP, threshold, magnitude)
