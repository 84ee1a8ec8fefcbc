"""Is there a power law in the tail of the counts, and with what exponent? "No" is an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from actprune.theory.distance import tail_distance
from actprune.theory.interval import Interval
from actprune.theory.tail_bootstrap import TailGoodness
from actprune.theory.tail_compare import TailComparison, compare_tails
from actprune.theory.tail_fit import TAIL_FAMILIES, TailFamily, TailFit
from actprune.theory.tails import fit_tail

LEAST = 10  # working units

Test = tuple[TailFamily, TailFamily, TailComparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """The exponent of the tail, or why there is none."""

    alpha: float | None  # of k^-alpha e^(-rate k), rate 0 where `family` is "power law"
    interval: Interval  # Wald, units independent
    family: TailFamily | None  # the (truncated) power law that stands; None where it is rejected
    p: float | None  # of the test that decided, 0 to 1
    reason: str  # what decided


def judge_power_law(
    tails: Mapping[TailFamily, TailFit],
    tests: Sequence[Test],
    goodness: Mapping[TailFamily, TailGoodness] | None = None,
    *,
    level: float = 0.05,
) -> PowerLaw:
    """The (truncated) power law against everything that could reject it (ours).

    Args:
        tails: `fit_tail` of every family on the same counts.
        tests: `compare_tails` of all pairs that have parameters.
        goodness: bootstraps of fits, where they were made.
        level: of each test; with five of them a true power law is rejected more often than that.

    The plain law stands unless the likelihood ratio prefers the truncated one. Then what stands is
    rejected if, in this order, there are fewer than 10 working units or no maximum; the density
    rises towards D, or from k = 1 on (alpha <= 0); the truncated law is no better than the
    geometric one that it holds; Vuong's test prefers a lognormal or a beta-binomial; or its own KS
    distance is too large, by a bootstrap where there is one and else by `distance.ks_bound`, which
    rejects less.
    """
    plain, truncated = tails["power law"], tails["truncated power law"]
    if truncated.n < LEAST:
        return _none(f"{truncated.n} working units are too few to tell, at least {LEAST} needed")
    between = _test(tests, "power law", "truncated power law")
    stands = plain
    if plain.parameters is None or (between and between.p is not None and between.p < level):
        stands = truncated
    if stands.parameters is None:
        return _none(stands.note or "no maximum of the likelihood")
    if stands is truncated:
        rate = stands.parameters["rate"]
        if rate < 0:
            return _none(
                "the density of the counts rises towards the always-on end "
                f"(rate {rate:.2g} per count), so that no power law ends there",
                between.p if between else None,
            )
        geometric = _test(tests, "geometric", "truncated power law")
        if geometric and geometric.p is not None and geometric.p >= level:
            return _none(
                f"a geometric tail does as well (likelihood ratio, p = {geometric.p:.2g})",
                geometric.p,
            )
    alpha = stands.parameters["alpha"]
    if alpha <= 0:
        return _none(f"the counts rise from few firings on (alpha {alpha:.3g}): no decay, no tail")
    others: tuple[TailFamily, ...] = ("lognormal", "beta-binomial")
    if stands is plain:
        others = ("geometric", *others)
    for other in others:
        test = _test(tests, stands.family, other)
        if test is not None and test.favours == other:
            return _none(
                f"the tail is better described as {other} ({test.test}, p = {test.p:.2g})", test.p
            )
    tested = (goodness or {}).get(stands.family)
    if tested is not None and tested.p is not None:
        p, how, rejected = tested.p, "bootstrap p =", tested.p < level
    else:
        distance = tail_distance(stands)
        p = 1.0 if distance is None else distance.p_at_most
        how, rejected = "p at most", p < level
    if rejected:
        return _none(f"the {stands.family} does not fit (KS {stands.ks:.2g}, {how} {p:.2g})", p)
    return PowerLaw(
        alpha=stands.alpha,
        interval=stands.interval("alpha"),
        family=stands.family,
        p=p,
        reason=f"{stands.family} not rejected (KS {stands.ks:.2g}, {how} {p:.2g})",
    )


def power_law_of(counts: ArrayLike, D: int) -> PowerLaw:
    """`judge_power_law` of counts (N,) over D samples, all tails fitted from a count of 1 on."""
    counts = np.asarray(counts)
    if D < 1 or not (counts > 0).any():
        return _none("no unit fired")
    tails: dict[TailFamily, TailFit] = {f: fit_tail(counts, D, f) for f in TAIL_FAMILIES}
    return judge_power_law(tails, all_tests(counts, tails))


def all_tests(counts: ArrayLike, tails: Mapping[TailFamily, TailFit]) -> tuple[Test, ...]:
    """`compare_tails` of all pairs of fits that have parameters."""
    return tuple(
        (a.family, b.family, compare_tails(counts, a, b))
        for a, b in combinations(tails.values(), 2)
        if a.parameters is not None and b.parameters is not None
    )


def _none(why: str, p: float | None = None) -> PowerLaw:
    return PowerLaw(
        alpha=None,
        interval=Interval(low=None, high=None, level=0.95, reason=why),
        family=None,
        p=p,
        reason=why,
    )


def _test(tests: Sequence[Test], a: TailFamily, b: TailFamily) -> TailComparison | None:
    return next((t for x, y, t in tests if {x, y} == {a, b}), None)
