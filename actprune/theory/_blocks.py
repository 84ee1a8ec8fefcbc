"""Checks shared by everything that takes block counts."""

import numpy as np
from numpy.typing import NDArray

from actprune.errors import ActpruneError


def filled_blocks(
    active: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The non-empty blocks of (B, N) counts and (B,) samples, checked against each other.

    Raises:
        ActpruneError: if the shapes do not fit, there is no unit, or a count is out of range.
    """
    active, samples = np.asarray(active), np.asarray(samples)
    if active.ndim != 2 or samples.shape != active.shape[:1] or active.shape[1] == 0:
        raise ActpruneError(
            "Block counts must have shape (blocks, units) and samples (blocks,), "
            f"got {active.shape} and {samples.shape}."
        )
    if (active < 0).any() or (active > samples[:, None]).any():
        raise ActpruneError("A block's count must lie between 0 and its number of samples.")
    filled = samples > 0
    return active[filled], samples[filled]
