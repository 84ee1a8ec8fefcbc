"""One claim, and the words for the numbers behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

HELD, FAILED = 0.9, 0.1
CLOSE = 1.25  # a factor within which two constants count as the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim, in how many cases it met its criterion, and the number that says most."""

    claim: str
    criterion: str
    met: int
    cases: int
    number: str

    @property
    def verdict(self) -> str:
        """In the words of the table."""
        if not self.cases:
            return "not tested"
        share = self.met / self.cases
        return "held" if share >= HELD else "did not hold" if share <= FAILED else "held in part"


def span(values: Iterable[float]) -> str:
    """Least / median / largest of the finite values."""
    there = np.array([v for v in values if np.isfinite(v)])
    if not len(there):
        return "-"
    shown = [
        f"{v:,.0f}" if abs(v) >= 100 else f"{v:.2f}"
        for v in (there.min(), np.median(there), there.max())
    ]
    return f"{shown[0]} / {shown[1]} / {shown[2]}"


def median(values: Iterable[float]) -> str:
    """The median of the finite values, signed."""
    there = [v for v in values if np.isfinite(v)]
    return f"{np.median(there):+.2f}" if there else "-"
