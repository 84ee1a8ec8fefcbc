"""How large a unit is: its own weights, its activations, or both with the weights that read it."""

from __future__ import annotations

import numpy as np

from actprune.planning.criteria.ranking import Evidence, Ranking, by


def magnitude(e: Evidence) -> Ranking:
    """Least Euclidean norm of the weights that make the unit."""
    return by(e.producer.detach().double().flatten(1).norm(dim=1).cpu().numpy())


def mean_abs(e: Evidence) -> Ranking:
    """Least mean |a| over positions; without data where no activation is negative."""
    return by(e.stats.mean if e.rectified else e.sizes().mean_abs)


def minitron(e: Evidence) -> Ranking:
    """Least L2 norm over samples of the mean |a| over a sample's positions."""
    return by(e.sizes().sample_norm)


def wanda(e: Evidence) -> Ranking:
    """Least RMS activation x sum of |w| over the weights that read the unit."""
    reading = e.consumer.abs().sum((0, 2)).cpu().numpy()
    return by(np.sqrt(e.stats.second_moment) * reading)


def effect(e: Evidence) -> Ranking:
    """Second moment x squared norm of the outgoing weights."""
    return by(e.stats.second_moment * e.outgoing)


def fluctuation(e: Evidence) -> Ranking:
    """Variance x squared norm of the outgoing weights.

    FLAP standardizes its scores site by site before it ranks all sites together; that belongs to
    the allocation, which here takes each site's harm as a share of the site's total.
    """
    return by(e.stats.variance * e.outgoing)
