"""Per-(sample, unit) statistics of one activation tensor: count, sum, squares, extremes."""

from __future__ import annotations

from torch import Tensor

from actprune.ops.backend import Backend, check_activations, choose
from actprune.ops.stats import eager, naive

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
            CUDA tensors up to float32, plain PyTorch ("eager") for all others.

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
    if chosen == "naive" or x_SUP.shape[-1] > EXACT_POSITIONS:
        return naive.unit_stats(x_SUP, threshold, magnitude)
    return eager.unit_stats(x_SUP, threshold, magnitude)
