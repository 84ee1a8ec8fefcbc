"""The count laws: do their intervals cover, and are wrong laws found out?"""

from collections.abc import Iterator

import numpy as np

from actprune.theory import count_goodness, fit_family, profile_interval
from actprune.theory.count_fit import CountFit, Family
from benchmarks.calibration import draw
from benchmarks.calibration.check import Check, Kind, share

Counts = np.ndarray


def _covered(
    case: str,
    fits: list[tuple[Counts, CountFit]],
    truth: dict[str, float],
    D: int,
    kind: Kind = "interval",
) -> Iterator[Check]:
    for name, value in truth.items():
        wald = [fit.interval(name) for _, fit in fits]
        if all(i is not None for i in wald):
            hits = [i is not None and i[0] <= value <= i[1] for i in wald]
            yield share(case, f"{name}, Wald", kind, hits, 0.95)
        found = [profile_interval(counts, D, fit, name) for counts, fit in fits]
        hits = [i.covers(value) for i in found]
        yield share(case, f"{name}, profile likelihood", kind, hits, 0.95)


def beta_binomial(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Beta rates, inside the range."""
    N, D, b, M = 300, 100, 0.5, 2.0
    drawn = [rng.binomial(D, draw.rates(rng, N, b, M)) for _ in range(trials)]
    fits = [(k, fit_family(k, D, "beta-binomial")) for k in drawn]
    yield from _covered("beta-binomial, b .5, M 2", fits, {"mean": b / M, "b": b, "M": M}, D)


def inflated(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Dead and always-on units beside Beta rates, inside the range."""
    N, D, truth = 500, 100, {"b": 2.0, "M": 5.0, "pi0": 0.15, "pi1": 0.05}
    drawn = [rng.binomial(D, draw.rates(rng, N, **truth)) for _ in range(trials)]
    fits = [(k, fit_family(k, D, "inflated")) for k in drawn]
    yield from _covered("inflated, pi0 .15, pi1 .05", fits, {"mean": 0.4, **truth}, D)


def published(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """The published urn's sparse limit; c/N is measured, and its error is in M's."""
    N, D, b, M = 500, 60, 0.5, 40.0
    drawn = [draw.poisson_gamma(rng, N, D, b, M) for _ in range(trials)]
    fits = [(k, fit_family(k, D, "urn")) for k in drawn]
    yield from _covered("published urn, b .5, M 40", fits, {"b": b}, D)
    hits = [i is not None and i[0] <= M <= i[1] for i in (fit.interval("M") for _, fit in fits)]
    yield share("published urn, b .5, M 40", "M, Wald", "interval", hits, 0.95)


def binomial(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """One rate for all units."""
    N, D, p = 200, 50, 0.1
    fits = [(k, fit_family(k, D, "binomial")) for k in rng.binomial(D, p, (trials, N))]
    yield from _covered("binomial, p .1", fits, {"mean": p}, D)


def boundary(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Truths at the edge of the range: profile intervals are one-sided there and cover more."""
    N, D, b, M = 300, 100, 2.0, 5.0
    trials = max(50, trials // 4)  # slow, and one-sided: a quarter will do
    drawn = [rng.binomial(D, draw.rates(rng, N, b, M)) for _ in range(trials)]
    fits = [(k, fit_family(k, D, "inflated")) for k in drawn]
    for name, value in {"pi0": 0.0, "pi1": 0.0, "b": b, "M": M}.items():
        hits = [profile_interval(k, D, fit, name).covers(value) for k, fit in fits]
        what = f"{name} = {value:g}, profile likelihood"
        yield share("boundary: inflated fit, nothing inflated", what, "bound", hits, 0.95)
    equal = [rng.binomial(D, 0.2, N) for _ in range(trials)]
    fits = [(k, fit_family(k, D, "beta-binomial")) for k in equal]
    for name in ("b", "M"):
        hits = [profile_interval(k, D, fit, name).high is None for k, fit in fits]
        what = f"{name} infinite, profile likelihood"
        yield share("boundary: beta-binomial fit, one rate", what, "bound", hits, 0.95)


def goodness(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """The bootstrap of KS keeps its level on the true law and rejects wrong ones."""
    N, D, replicates = 300, 40, 19
    few = max(20, trials // 20)
    true: tuple[tuple[str, Family, dict[str, float]], ...] = (
        ("Beta rates", "beta-binomial", {"b": 0.5, "M": 2.0}),
        ("one rate", "binomial", {"b": 0.2, "M": np.inf}),
    )
    for name, family, law in true:
        p = []
        for seed in range(few):
            k = rng.binomial(D, draw.rates(rng, N, **law))
            fit = fit_family(k, D, family)
            p.append(count_goodness(k, D, fit, replicates=replicates, seed=seed).p <= 0.05)
        yield share(f"goodness of fit: {name}", f"{family} rejected", "size", p, 0.05)
    wrong: tuple[tuple[str, Family, dict[str, float]], ...] = (
        ("a fifth dead, M 10", "beta-binomial", {"b": 4.0, "M": 10.0, "pi0": 0.2}),
        ("Beta rates", "binomial", {"b": 0.5, "M": 2.0}),
        ("dense Beta rates", "urn", {"b": 1.5, "M": 2.5}),
    )
    for name, family, law in wrong:
        p = []
        for seed in range(20):
            k = rng.binomial(D, draw.rates(rng, N, **law))
            fit = fit_family(k, D, family)
            p.append(count_goodness(k, D, fit, replicates=replicates, seed=seed).p <= 0.05)
        yield share(f"goodness of fit: {name}", f"wrong {family} rejected", "rejects", p, 0.9)
