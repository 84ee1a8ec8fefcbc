"""The tail of the counts: working units from some least count on, gathered by their count."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.errors import ActpruneError
from actprune.theory._tied import tie

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Tail:
    """Counts xmin..xmax of working units: how many units at each."""

    k: NDArray[np.int64]  # different counts, ascending
    n: Array  # units at each, > 0
    xmin: int
    xmax: int
    D: int
    working: int

    @property
    def units(self) -> int:
        """Units in the range."""
        return int(self.n.sum())

    def above(self, xmin: int) -> Self:
        """The part from a greater xmin on."""
        inside = self.k >= xmin
        return replace(self, k=self.k[inside], n=self.n[inside], xmin=xmin)

    def distance(self, law: Array) -> float:
        """Kolmogorov-Smirnov distance, 0 to 1, to a law given on all of xmin..xmax."""
        seen = np.zeros(len(law))
        seen[self.k - self.xmin] = self.n / self.units
        return float(np.abs(np.cumsum(seen) - np.cumsum(law)).max())


def tail_of(counts: ArrayLike, D: int, xmin: int = 1, xmax: int | None = None) -> Tail:
    """Counts of working units from xmin to xmax, 1 <= xmin <= xmax <= D (its default)."""
    tied = tie(counts, D)
    xmax = D if xmax is None else xmax
    if not 1 <= xmin <= xmax <= D:
        raise ActpruneError(f"A tail needs 1 <= xmin <= xmax <= D={D}, got {xmin=}, {xmax=}.")
    inside = (tied.k >= xmin) & (tied.k <= xmax) & (tied.n > 0)
    return Tail(
        k=tied.k[inside].astype(np.int64),
        n=tied.n[inside],
        xmin=xmin,
        xmax=xmax,
        D=D,
        working=tied.N - tied.silent,
    )
