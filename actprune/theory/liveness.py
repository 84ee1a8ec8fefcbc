"""Which units are free, and how sure that is.

Every function takes counts over samples. Where samples are correlated (tokens of a document,
frames of a clip), count documents: the sample-level answer can be wrong a hundredfold. All
statements are about further inputs of the same distribution.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from actprune.errors import ActpruneError
from actprune.theory._blocks import filled_blocks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Classes:
    """Units by what they did on D samples; bool (N,) each. Free and always-on units are disjoint
    for D >= 1; always-on units are working ones."""

    free: NDArray[np.bool_]  # D_i = 0: never fired on these samples, which proves nothing
    always_on: NDArray[np.bool_]  # D_i = D


def classify(counts: ArrayLike, D: int) -> Classes:
    """Free and always-on units from D_i, int64 (N,), over D samples; D = 0: all free."""
    counts = np.asarray(counts)
    return Classes(free=counts == 0, always_on=(counts == D) & (D > 0))


def good_turing(counts: ArrayLike, D: int) -> float:
    """Q_1 / D: free units expected to fire on the next sample, all of them added up.

    Good (1953), Biometrika 40, 237-264, for counts of samples. 0.0 for D = 0.
    """
    return float(np.count_nonzero(np.asarray(counts) == 1)) / D if D else 0.0


def chao2(counts: ArrayLike, D: int) -> float:
    """Lower bound, in expectation, on how many of the free units are alive, in units.

    ((D-1)/D) Q_1^2 / (2 Q_2); with Q_2 = 0 ((D-1)/D) Q_1 (Q_1 - 1) / 2; with Q_1 = 0 it is 0;
    never more than the free units there are. Never a reason to call the others dead.

    Chao (1987), Biometrics 43, 783-791; the cap is ours.
    """
    counts = np.asarray(counts)
    free, Q1, Q2 = (int(np.count_nonzero(counts == k)) for k in range(3))
    if D == 0 or Q1 == 0:
        return 0.0
    pairs = Q1 * Q1 / (2 * Q2) if Q2 else Q1 * (Q1 - 1) / 2
    return float(min(free, (D - 1) / D * pairs))


def leave_one_out_certificate(counts: ArrayLike, first: ArrayLike, D: int) -> float:
    """Share of the D samples owning a unit that fires on no other sample, 0 to 1 (ours).

    The chance that the next input fires at least one never-seen unit equals, by exchangeability,
    the expected share of D + 1 samples that own such a unit: the share among the D is unbiased
    for the units free after D - 1 samples and conservative for D. No confidence attaches to it;
    `split_certificate` has one.

    Args:
        counts: (N,), samples that activate each unit.
        first: (N,), id of the first sample that fired each unit; read where the count is 1.
        D: samples; 0 gives 1.0, since nothing is known.
    """
    if D == 0:
        return 1.0
    return len(np.unique(np.asarray(first)[np.asarray(counts) == 1])) / D


def split_certificate(x: int, n: int, level: float = 0.95) -> float:
    """Upper confidence bound on the share of inputs that fire at least one chosen unit.

    Args:
        x: inputs, of the n, that fired one or more of the chosen units, 0 <= x <= n.
        n: inputs not used to choose the units, drawn like the inputs to come.
        level: confidence, one-sided.

    The plan (which units) is fixed before the n inputs are looked at; several plans on the same
    inputs need a correction for multiplicity, e.g. 1 - (1 - level)/plans for `level`. Exact
    binomial: the Beta(x + 1, n - x) quantile. Clopper & Pearson (1934), Biometrika 26, 404-413.

    Raises:
        ActpruneError: if x or the level is out of range.
    """
    if not (0 <= x <= n and 0 < level < 1):
        raise ActpruneError(f"Needs 0 <= x <= n and 0 < level < 1, got x={x}, n={n}, {level=}.")
    return 1.0 if x == n else float(betaincinv(x + 1.0, float(n - x), level))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCertificate:
    """A split certificate read off block counts, for the units free on all blocks."""

    upper: float | None  # share of inputs firing one of them, upper bound, 0 to 1
    level: float  # one-sided confidence
    x: int  # at most so many of the n check inputs fired a unit silent on the other half
    n: int  # inputs in the check half
    reason: str | None = None  # why there is no bound


def block_certificate(
    active: NDArray[np.int64], samples: NDArray[np.int64], level: float = 0.95
) -> BlockCertificate:
    """`split_certificate` with the even blocks to choose units and the odd ones to check (ours).

    Args:
        active: (B, N), samples of each block that activate each unit.
        samples: (B,), samples in each block; random parts of the data.
        level: confidence, one-sided.

    Block counts do not say which units fired together, so x is bounded from above by the firings
    in each block, at most its size: conservative. The units free on all blocks are among those
    silent on the even ones, whatever the odd blocks show, so the bound holds for them too.
    """
    active, samples = filled_blocks(active, samples)
    if len(samples) < 2:
        reason = "a split needs two non-empty blocks"
        return BlockCertificate(upper=None, level=level, x=0, n=0, reason=reason)
    chosen = active[::2].sum(0) == 0
    x = int(np.minimum(active[1::2, chosen].sum(1), samples[1::2]).sum())
    n = int(samples[1::2].sum())
    return BlockCertificate(upper=split_certificate(x, n, level), level=level, x=x, n=n)


def rate_bound(D: int, m: int = 1, level: float = 0.95) -> float:
    """Upper bound on the firing rate of m units named in advance that stayed silent on D samples.

    1 - ((1 - level)/m)^(1/D), holding for all m at once (Bonferroni); below ln(m/(1 - level))/D,
    which for one unit is the rule of three, 3/D. 1.0 for D = 0.

    Hanley & Lippman-Hand (1983), JAMA 249, 1743-1745, for m = 1.
    """
    if m < 1 or not 0 < level < 1 or D < 0:
        raise ActpruneError(f"Needs m >= 1, 0 < level < 1 and D >= 0, got {m=}, {level=}, {D=}.")
    return float(-np.expm1(np.log((1 - level) / m) / D)) if D else 1.0


def rate_bound_simple(D: int, m: int = 1, level: float = 0.95) -> float:
    """ln(m/(1 - level))/D, at most 1: the same bound as read off by hand, slightly wider."""
    if m < 1 or not 0 < level < 1 or D < 0:
        raise ActpruneError(f"Needs m >= 1, 0 < level < 1 and D >= 0, got {m=}, {level=}, {D=}.")
    return float(min(1.0, np.log(m / (1 - level)) / D)) if D else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enough:
    """Whether the calibration samples suffice to name the free units, in words."""

    answer: Literal["enough", "borderline", "not enough", "nothing free"]
    why: str


def judge_enough(
    *, free: int, D: int, good_turing: float, certificate: float | None, tolerance: float = 0.01
) -> Enough:
    """Judge by Q_1/D and the leave-one-out certificate, never by the crossover D* (ours).

    Args:
        free: units with D_i = 0.
        D: samples.
        good_turing: Q_1/D, units per input.
        certificate: share of inputs that would fire some free unit, 0 to 1; None if unknown, then
            Q_1/D stands for it, which it never exceeds.
        tolerance: share of inputs one is ready to touch; up to five times it is "borderline".
            Both also ask that D could have shown that much: the rule of three at D.
    """
    if free == 0:
        return Enough(answer="nothing free", why=f"each fired on at least one of {D} samples")
    at_most = ""
    if certificate is None:
        at_most, certificate = "at most ", min(1.0, good_turing)
    said = (
        f"{at_most}{certificate:.2%} of further inputs are expected to fire a unit that is free "
        f"here ({good_turing:.3g} such units an input)"
    )
    finest = rate_bound(D)
    if certificate > 5 * tolerance:
        return Enough(answer="not enough", why=f"{said}: profile more samples before cutting")
    if certificate > tolerance:
        return Enough(answer="borderline", why=f"{said}: more samples would sharpen the free set")
    if finest > tolerance:
        why = f"{said}, but D = {D} cannot show less than {finest:.2%} at 95% confidence"
        few = finest > 5 * tolerance
        return Enough(answer="not enough" if few else "borderline", why=why)
    return Enough(answer="enough", why=said)
