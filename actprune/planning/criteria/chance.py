"""No criterion at all, to compare with."""

from __future__ import annotations

import numpy as np

from actprune.planning.criteria.ranking import Evidence, Ranking, by


def random(e: Evidence) -> Ranking:
    """A seeded random order, the same for sites of one name and size."""
    key = [e.seed, *e.stats.site.name.encode()]
    return by(np.random.default_rng(key).permutation(e.stats.units).astype(np.float64))
