"""A rival's answer to how many units a site needs, whatever the criterion."""

from __future__ import annotations

import numpy as np

from actprune.errors import ActpruneError


def effective_number(scores: np.ndarray) -> int:
    """How many of the scored units EMP keeps: floor(1 / sum w^2), w = |scores| / sum |scores|.

    Effective Model Pruning (Wang et al. 2025, arXiv 2509.25606) prescribes this number and no
    score: any criterion's `Ranking.harm` will do, and the units of the largest scores stay.

    Args:
        scores: shape (n,), n >= 1, finite.

    Returns:
        1 to n; n where all scores are zero, since none then says which may go.

    Raises:
        ActpruneError: if there are no scores, or some are not finite.
    """
    size = np.abs(np.asarray(scores, dtype=np.float64))
    if size.ndim != 1 or not len(size) or not np.isfinite(size).all():
        raise ActpruneError(
            f"Scores must be a vector of at least one finite number, got shape {size.shape}."
        )
    if not size.any():
        return len(size)
    share = size / size.max()  # neither squares nor sums overflow
    number = share.sum() ** 2 / np.square(share).sum()
    # equal scores give n but for rounding, of the sums and of a few single operations
    return int(min(np.floor(number * (1 + (len(size) + 5) * 2.0**-52)), len(size)))
