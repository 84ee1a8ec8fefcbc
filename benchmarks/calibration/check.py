"""One claim of an estimator, and how often simulation bore it out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["interval", "bound", "size", "rejects", "mean", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An observed share or mean beside what is claimed.

    - "interval": the share of trials covered is `claimed`, within 4 Monte Carlo errors (1.4 % for
      95 % of 4,000 trials);
    - "bound": it is at least `claimed`, less 3 errors: conservative, one-sided, discrete or at a
      boundary;
    - "size": a test's share of rejections of a true null, as "interval";
    - "rejects": its share of rejections of a wrong model is at least `claimed`;
    - "mean": a mean is `claimed`, within 4.5 errors;
    - "shown": no claim; written down so that a limit is known.
    """

    case: str
    what: str
    kind: Kind
    observed: float
    claimed: float
    error: float  # Monte Carlo standard error of `observed`, under the claim where it is a share
    trials: int
    note: str = ""

    @property
    def held(self) -> bool:
        """Whether the claim stands."""
        gap = self.observed - self.claimed
        match self.kind:
            case "interval" | "size":
                return abs(gap) <= 4 * self.error
            case "bound":
                return gap >= -3 * self.error
            case "rejects":
                return gap >= 0
            case "mean":
                return abs(gap) <= 4.5 * self.error
            case "shown":
                return True


def share(
    case: str, what: str, kind: Kind, hits: Iterable[bool], claimed: float, note: str = ""
) -> Check:
    """The share of trials that were hits."""
    found = np.fromiter(hits, dtype=bool)
    error = (claimed * (1 - claimed) / len(found)) ** 0.5
    return Check(
        case=case,
        what=what,
        kind=kind,
        observed=float(found.mean()),
        claimed=claimed,
        error=error,
        trials=len(found),
        note=note,
    )


def mean(case: str, what: str, values: Iterable[float], claimed: float, note: str = "") -> Check:
    """The mean of the trials' values."""
    found = np.fromiter(values, dtype=np.float64)
    return Check(
        case=case,
        what=what,
        kind="mean",
        observed=float(found.mean()),
        claimed=claimed,
        error=float(found.std(ddof=1) / len(found) ** 0.5),
        trials=len(found),
        note=note,
    )
