"""How often a unit is active."""

from __future__ import annotations

import numpy as np

from actprune.planning.criteria.ranking import Evidence, Ranking, by


def rare(e: Evidence) -> Ranking:
    """Fewest active positions under the profile's firing rule; ties by second moment."""
    return by(e.stats.positions_active.sum(0), e.stats.second_moment)


def apoz(e: Evidence) -> Ranking:
    """Most exact zeros behind the nonlinearity; harm is the share of positions without one.

    Rectified units counted by a > 0 need no data: then it is `rare` without its rule for ties.
    """
    rule = e.stats.rule
    if e.rectified and rule.kind == "positive" and rule.threshold == 0:
        return by(e.stats.rate)
    return by(e.sizes().nonzero)


def rare_effect(e: Evidence) -> Ranking:
    """Rate x RMS when active x norm of the outgoing weights: a bound on E||w a||, the mean size of
    what the consumer loses (by Jensen's inequality, where inactive means 0).

    Between `rare`, which ignores sizes, and `effect`, which squares them: it is the root of the
    product of rate and effect.
    """
    return by(np.sqrt(e.stats.rate * e.stats.second_moment * e.outgoing))
