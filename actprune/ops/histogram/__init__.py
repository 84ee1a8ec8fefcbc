"""Histograms of |a| per unit, over positions and over each sample's maximum."""

from __future__ import annotations

from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.backend import Backend, check_activations, choose
from actprune.ops.histogram import eager, naive
from actprune.ops.histogram.bins import BINS as BINS
from actprune.ops.histogram.bins import edges as edges
from actprune.ops.histogram.counting import count_above as count_above
from actprune.ops.histogram.counting import count_at_least as count_at_least


def magnitude_histograms(x_SUP: Tensor, *, backend: Backend = "auto") -> tuple[Tensor, Tensor]:
    """Count |a| per unit in `BINS` bins (see `bins`), exactly, on any backend.

    Args:
        x_SUP: activations [samples, units, positions], any floating type, any strides.
        backend: "naive" is the float64 definition; "auto" the fastest that applies: Triton for
            CUDA tensors up to float32, plain PyTorch ("eager") for all others.

    Returns:
        Counts over positions and over each sample's largest |a|: int64 [units, BINS].

    Raises:
        ActpruneError: if the tensor is not a floating [S, U, P] with P >= 1, or the backend
            asked for cannot run on it.
    """
    check_activations(x_SUP)
    chosen = choose(x_SUP, backend)
    if chosen == "native":
        raise ActpruneError("There are no compiled histograms; use backend='auto'.")
    if chosen == "triton":
        from actprune.ops.histogram import kernel  # Triton only where it is used

        return kernel.magnitude_histograms(x_SUP)
    if chosen == "naive":
        return naive.magnitude_histograms(x_SUP)
    return eager.magnitude_histograms(x_SUP)
