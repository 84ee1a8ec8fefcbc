"""How much harm keeping fewer units does, site by site: what an allocation weighs against cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from actprune.planning.allocate import Room

FLOOR = 1e-9  # of the largest harm: below it a harm counts as none, so that logarithms exist


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Curve:
    """Harm of keeping k of a site's N units and all of every other site, for k = 0 to N.

    harm: float64 [N + 1] >= 0, never rising with k, 0 at k = N; infinite at k = 0. In nats where it
    was measured, else in an arbitrary unit that the curves of one network share.
    """

    site: str
    harm: np.ndarray

    @property
    def units(self) -> int:
        return len(self.harm) - 1


def interpolated(site: str, units: int, seen: Mapping[int, float]) -> Curve:
    """The curve through harms seen at some counts: monotone (Fritsch & Carlson 1980, as scipy's
    PCHIP) in the logarithm of the harm, and below the least count seen by its last slope (ours).

    Args:
        seen: units kept (1 to units - 1) -> harm; noise below 0, and any harm that rises with the
            units kept, is levelled.
    """
    kept = np.array(sorted(seen), dtype=np.float64)
    level = np.array([max(seen[int(k)], 0.0) for k in kept])
    level = np.maximum.accumulate(level[::-1])[::-1]
    harm = np.zeros(units + 1)
    harm[0] = np.inf
    if not len(kept) or level[0] == 0.0:
        return Curve(site=site, harm=harm)
    floor = FLOOR * level[0]
    x = np.append(kept, units)
    y = np.log(np.append(np.maximum(level, floor), floor))
    inside = np.arange(int(kept[0]), units + 1)
    harm[inside] = np.exp(PchipInterpolator(x, y)(inside))
    slope = (y[1] - y[0]) / (x[1] - x[0])
    below = np.arange(1, int(kept[0]))
    harm[below] = np.exp(y[0] + slope * (below - kept[0]))
    harm[units] = 0.0
    return Curve(site=site, harm=harm)


def ranked(room: Room) -> Curve:
    """The curve that a criterion alone gives: the scores of the units gone, each as a share of the
    site's total and none below the one before it, summed."""
    units = room.site.units
    worst = np.maximum.accumulate(np.asarray(room.harm)) if room.harm else np.zeros(0)
    gone = np.concatenate([[0.0], np.cumsum(worst)])  # by units removed
    harm = np.full(units + 1, np.inf)
    harm[units - len(worst) :] = gone[::-1]
    harm[0] = np.inf
    return Curve(site=room.site.name, harm=harm)
