"""The definition, in float64. Slow on purpose.

Shapes: S samples, U units, P positions a sample.
"""

from __future__ import annotations

from torch import Tensor


def unit_stats(x_SUP: Tensor, threshold: float, magnitude: bool) -> tuple[Tensor, ...]:
    """Positions active int64, sum, sum of squares, minimum, maximum float64; each [S, U]."""
    a_SUP = x_SUP.double()
    active_SUP = (a_SUP.abs() if magnitude else a_SUP) > threshold
    return (
        active_SUP.sum(-1),
        a_SUP.sum(-1),
        a_SUP.square().sum(-1),
        a_SUP.amin(-1),
        a_SUP.amax(-1),
    )
