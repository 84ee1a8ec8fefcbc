"""The tail's exponent: beside 1 - b, and with an error that lets units depend on each other."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.errors import ActpruneError
from actprune.theory._tail_families import known
from actprune.theory.count_fit import CountFit
from actprune.theory.resampling import Estimate, jackknife
from actprune.theory.tail_fit import TAIL_PARAMETERS, TailFamily, TailFit
from actprune.theory.tails import fit_tail


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaBesideB:
    """The tail's exponent beside 1 - b: a consistency check, not independent evidence."""

    alpha: float | None
    alpha_stderr: float | None
    one_minus_b: float | None  # None where the count fit has no b
    one_minus_b_stderr: float | None
    family: str  # of the count fit: b means nothing without it
    xmin: int  # of the tail
    note: str


def alpha_beside_b(tail: TailFit, fit: CountFit) -> AlphaBesideB:
    """alpha of a (truncated) power law next to 1 - b of a count fit, for k << k* = 1/ln(1 + M/D).

    Both are functions of the same Q_k, so agreement is no second piece of evidence. The exact law
    is G(k + b)/k!, for b < 1 below k^(b-1) at the smallest counts: alpha from xmin = 1 reads up to
    a tenth low even where the urn is true (ours).
    """
    note = "both are read from the same counts"
    if fit.b is not None and fit.M is not None:
        scale = 1 / math.log1p(fit.M / fit.D)
        note += f"; the power law ends near k* = {scale:.3g}"
        if fit.b + 1 >= fit.M:
            note += "; M <= b + 1: the density turns up at the always-on end, no power law there"
        if tail.xmin > scale:
            note += f"; xmin = {tail.xmin} lies beyond it, so alpha is not 1 - b"
    return AlphaBesideB(
        alpha=tail.alpha,
        alpha_stderr=tail.stderr.get("alpha"),
        one_minus_b=None if fit.b is None else 1 - fit.b,
        one_minus_b_stderr=fit.stderr.get("b"),
        family=fit.family,
        xmin=tail.xmin,
        note=note,
    )


def alpha_jackknife(
    active: NDArray[np.int64],
    samples: NDArray[np.int64],
    family: TailFamily = "power law",
    *,
    xmin: int = 1,
) -> Estimate:
    """alpha with a grouped jackknife over blocks of samples: units may depend on each other.

    Args:
        active: (B, N), samples of each block that activate each unit.
        samples: (B,), samples in each block.
        family: "power law" or "truncated power law".
        xmin: held fixed.

    Leaving a block out shrinks the support to the samples left. Where a fit without some block has
    no maximum the value has no error, and the reason says so.
    """
    if "alpha" not in TAIL_PARAMETERS[known(family)]:
        raise ActpruneError(f"A {family} has no alpha.")
    missing = False

    def alpha(counts: NDArray[np.int64], D: int) -> float:
        nonlocal missing
        value = fit_tail(counts, D, family, xmin=xmin).alpha if xmin <= D else None
        missing |= value is None
        return value or 0.0

    found = jackknife(alpha, active, samples)
    if missing:
        return Estimate(
            value=None, stderr=None, reason="a fit with a block left out has no maximum"
        )
    return found
