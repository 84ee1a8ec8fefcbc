"""Where does a tail begin? The least count from which a law fits best."""

import numpy as np
from numpy.typing import ArrayLike

from actprune.theory._tail_families import known
from actprune.theory.tail import Tail, tail_of
from actprune.theory.tail_fit import TailFamily, TailFit
from actprune.theory.tails import fit_tail_counts


def choose_xmin(
    counts: ArrayLike,
    D: int,
    family: TailFamily = "power law",
    *,
    xmax: int | None = None,
    least: int = 10,
    candidates: int = 50,
) -> TailFit:
    """The fit whose xmin gives the smallest KS distance.

    Args:
        counts, D, family, xmax: as in `fit_tail`.
        least: units a tail must keep, >= 2 different counts among them.
        candidates: at most so many of the different counts are tried, even in their logarithm.

    Clauset, Shalizi & Newman (2009), SIAM Rev. 51, 661-703, section 3.3. It throws small counts
    away, and with them the range in which alpha = 1 - b: read alpha with its xmin. Where no
    candidate has a fit the one from xmin = 1 is returned, with its note.
    """
    known(family)
    return choose_tail(tail_of(counts, D, 1, xmax), family, least, candidates)


def choose_tail(tail: Tail, family: TailFamily, least: int, candidates: int) -> TailFit:
    """`choose_xmin` of a `Tail` from 1 on."""
    above = tail.n[::-1].cumsum()[::-1]
    tried = tail.k[above >= least][:-1]
    if len(tried) > candidates:
        places = np.unique(np.rint(np.geomspace(1, len(tried), candidates)).astype(int)) - 1
        tried = tried[places]
    fits = [fit_tail_counts(tail.above(int(xmin)), family) for xmin in tried]
    found = [fit for fit in fits if fit.ks is not None]
    return min(found, key=lambda fit: fit.ks or 0.0) if found else fit_tail_counts(tail, family)
