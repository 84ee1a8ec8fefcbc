"""How many more samples until units can be called free (ours; the bounds' sources stand there)."""

import math
from dataclasses import dataclass

from scipy.special import betainc

from actprune.errors import ActpruneError

_MOST = 10**15  # samples; more are as good as never


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreSamples:
    """Samples a certificate needs, in all and beyond those there are."""

    needed: int | None  # samples in all; None where no number will do, and `reason` says why
    more: int | None  # beyond those seen, >= 0
    reason: str | None = None


def samples_to_bound_rates(
    *, m: int, rate: float, level: float = 0.95, seen: int = 0
) -> MoreSamples:
    """Samples on which m units named in advance must stay silent to bound all their rates.

    Args:
        m: units named before looking, >= 1; Bonferroni over them.
        rate: bound wanted on each unit's firing rate, 0 < rate < 1.
        level: confidence in all m bounds at once.
        seen: samples on which they have already stayed silent, since they were named.

    The least D with 1 - ((1 - level)/m)^(1/D) <= rate: ln(m/(1 - level)) / -ln(1 - rate).
    """
    _check(rate, level, seen)
    if m < 1:
        raise ActpruneError(f"Units to certify must be at least one, got m={m}.")
    needed = math.ceil(math.log(m / (1 - level)) / -math.log1p(-rate) - 1e-9)
    return MoreSamples(needed=needed, more=max(0, needed - seen))


def samples_to_certify(
    *, share: float, expected: float = 0.0, level: float = 0.95, seen: int = 0
) -> MoreSamples:
    """Fresh samples for `split_certificate` to bound the inputs that fire any unit of a set.

    Args:
        share: bound wanted on the share of inputs that fire one or more of the units, 0 to 1.
        expected: the share that is thought to fire one, e.g. `leave_one_out_certificate`; so many
            firings, rounded up, are allowed for among the fresh samples.
        level: confidence, one-sided.
        seen: fresh samples already there.

    The least n at which the Clopper-Pearson bound for x = ceil(expected n) firings is at most
    `share`. How many units there are does not matter: they are bounded together. With expected >=
    share no n will do.
    """
    _check(share, level, seen)
    if not 0 <= expected <= 1:
        raise ActpruneError(f"The expected share must lie in 0..1, got {expected}.")
    if expected >= share:
        return MoreSamples(
            needed=None,
            more=None,
            reason=f"{expected:.2%} of inputs are expected to fire one of the units, which is not "
            f"below the {share:.2%} wanted: no number of samples certifies them",
        )
    low, high = 0, 1  # the bound is wider than `share` at low, narrow enough at high
    while not _enough(high, share, expected, level):
        low, high = high, 2 * high
        if high > _MOST:
            why = f"more than {_MOST:.0e} samples: {expected} is too close to {share}"
            return MoreSamples(needed=None, more=None, reason=why)
    while high - low > 1:
        middle = (low + high) // 2
        if _enough(middle, share, expected, level):
            high = middle
        else:
            low = middle
    return MoreSamples(needed=high, more=max(0, high - seen))


def _enough(n: int, share: float, expected: float, level: float) -> bool:
    """Beta quantile(level; x + 1, n - x) <= share, read off the distribution function."""
    x = math.ceil(expected * n - 1e-9)
    return x < n and float(betainc(x + 1.0, float(n - x), share)) >= level


def _check(share: float, level: float, seen: int) -> None:
    if not (0 < share < 1 and 0 < level < 1 and seen >= 0):
        raise ActpruneError(
            f"Needs a bound and a level between 0 and 1 and seen >= 0, "
            f"got {share}, {level} and {seen}."
        )
