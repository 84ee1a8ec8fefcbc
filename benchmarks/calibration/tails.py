"""Tails: exponents covered, nested and other tests, and the bootstrap of KS."""

from collections.abc import Iterator

import numpy as np

from actprune.theory import compare_tails, fit_tail, tail_goodness
from actprune.theory.tail_fit import TailFamily
from benchmarks.calibration import draw
from benchmarks.calibration.check import Check, share

D = 300
_K = np.arange(1.0, D + 1)
LAWS: dict[TailFamily, tuple[np.ndarray, dict[str, float]]] = {
    "power law": (_K**-0.7, {"alpha": 0.7}),
    "geometric": (np.exp(-_K / 25), {"rate": 0.04}),
    "truncated power law": (_K**-0.7 * np.exp(-_K / 50), {"alpha": 0.7, "rate": 0.02}),
    "lognormal": (np.exp(-((np.log(_K) - 2.5) ** 2) / 2) / _K, {"mu": 2.5, "sigma": 1.0}),
}


def intervals(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Wald intervals of the tails' parameters."""
    for family, (weight, truth) in LAWS.items():
        fits = [fit_tail(draw.weighted(rng, 400, weight), D, family) for _ in range(trials)]
        for name, value in truth.items():
            hits = [fit.interval(name).covers(value) for fit in fits if fit.parameters]
            yield share(f"tail: {family}", name, "interval", hits, 0.95)
    p = rng.beta(0.5, 5.5, (trials, 400))
    fits = [fit_tail(k, D, "beta-binomial") for k in rng.binomial(D, p)[: max(50, trials // 4)]]
    for name, value in {"b": 0.5, "M": 6.0}.items():
        hits = [fit.interval(name).covers(value) for fit in fits if fit.parameters]
        yield share("tail: beta-binomial", name, "interval", hits, 0.95)


def tests(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Likelihood ratios keep their level; Vuong's test does not favour the wrong law."""
    nested: tuple[tuple[TailFamily, TailFamily], ...] = (
        ("power law", "truncated power law"),
        ("geometric", "truncated power law"),
        ("power law", "lognormal"),
    )
    for simple, rich in nested:
        hits = []
        for _ in range(trials):
            k = draw.weighted(rng, 400, LAWS[simple][0])
            a, b = fit_tail(k, D, simple), fit_tail(k, D, rich)
            # without a lognormal maximum the edge, the power law, is the best: no rejection
            hits.append(b.parameters is not None and compare_tails(k, a, b).favours is not None)
        yield share("tail: likelihood ratio", f"{rich} over a true {simple}", "size", hits, 0.05)
    wrong: tuple[tuple[TailFamily, TailFamily], ...] = (
        ("lognormal", "geometric"),
        ("geometric", "power law"),
        ("lognormal", "truncated power law"),
    )
    for true, other in wrong:
        hits, right = [], []
        for _ in range(max(50, trials // 2)):
            k = draw.weighted(rng, 400, LAWS[true][0])
            found = compare_tails(k, fit_tail(k, D, true), fit_tail(k, D, other))
            hits.append(found.favours != other)
            right.append(found.favours == true)
        yield share("tail: Vuong", f"{other} not favoured, truth {true}", "bound", hits, 0.975)
        yield share("tail: Vuong", f"{true} favoured over {other}", "shown", right, 1.0)


def goodness(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """The bootstrap of KS: level on the true law, power on a wrong one."""
    few = max(50, trials // 4)
    for family, (weight, _) in LAWS.items():
        hits = []
        for seed in range(few):
            k = draw.weighted(rng, 300, weight)
            fit = fit_tail(k, D, family)
            if fit.parameters:
                hits.append((tail_goodness(k, fit, replicates=99, seed=seed).p or 0) <= 0.05)
        yield share("tail: bootstrap of KS", f"true {family} rejected", "size", hits, 0.05)
    wrong: tuple[tuple[TailFamily, TailFamily], ...] = (
        ("geometric", "power law"),
        ("truncated power law", "power law"),
        ("power law", "geometric"),
        ("lognormal", "power law"),
        ("lognormal", "geometric"),
    )
    for true, other in wrong:
        hits = []
        for seed in range(max(25, few // 10)):
            k = draw.weighted(rng, 300, LAWS[true][0])
            fit = fit_tail(k, D, other)
            hits.append((tail_goodness(k, fit, replicates=99, seed=seed).p or 0) <= 0.05)
        near = (true, other) == ("lognormal", "geometric")
        note = "neighbours: 300 units tell them apart only this often" if near else ""
        kind = "shown" if near else "rejects"
        yield share("tail: bootstrap of KS", f"{other} on a {true}", kind, hits, 0.9, note)
