"""Spike trains: tests keep their level on shuffled samples and see order."""

from collections.abc import Iterator

import numpy as np

from actprune.theory import interval_chi2, interval_permutation, spike_statistics
from benchmarks.calibration.check import Check, mean, share


def dispersion(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """(w - 1) FF/(1 - lambda) ~ chi2(w - 1) of binomial windows; without the division not."""
    w, L = 40, 50
    for rate in (0.02, 0.1, 0.3, 0.6, 0.85):
        windows = rng.binomial(L, rate, (w, trials))
        found = spike_statistics(windows, L, order="shuffled")
        assert found.dispersion is not None
        case = f"spikes: rate {rate}"
        hits = found.dispersion.p_over <= 0.05
        low = found.dispersion.p_under <= 0.05
        sparse = bool(found.dispersion.sparse.mean() > 0.5)
        note = "fewer than 5 firings a window: the chi2 law is rough there" if sparse else ""
        kind = "shown" if sparse else "size"
        yield share(case, "excess found by chance", kind, hits, 0.05, note)
        yield share(case, "deficit found by chance", kind, low, 0.05, note)
        yield mean(
            case, "FF - (1 - lambda) wL/(wL - 1)",
            found.fano - (1 - found.rate[found.units]) * w * L / (w * L - 1), 0.0,
        )  # fmt: skip
    drift = np.where(np.arange(w)[:, None] < w // 2, 0.2, 0.4)
    found = spike_statistics(rng.binomial(L, drift, (w, trials)), L, order="by class")
    assert found.dispersion is not None
    hits = found.dispersion.p_over <= 0.05
    yield share("spikes: two classes in blocks", "excess found", "rejects", hits, 0.9)


def intervals(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Both tests of the intervals."""
    D = 800
    for rate in (0.05, 0.3, 0.7):
        found = [interval_chi2(rng.random(D) < rate).p for _ in range(trials)]
        hits = [p <= 0.05 for p in found if p is not None]
        yield share(f"intervals: rate {rate}", "chi2 rejects by chance", "size", hits, 0.05)
    few = max(100, trials // 4)
    hits = []
    for seed in range(few):
        p = interval_permutation(rng.random(100) < 0.1, permutations=99, seed=seed).p
        hits.append(p is None or p > 0.05)
    yield share("intervals: rate .1, 100 samples", "permutation accepts", "bound", hits, 0.95)
    hits = []
    for seed in range(max(50, few // 10)):
        bursts = np.repeat(rng.random(D // 4) < 0.2, 4)  # every firing lasts four samples
        p = interval_permutation(bursts, permutations=99, seed=seed).p
        hits.append(p is not None and p <= 0.05 and (interval_chi2(bursts).p or 1.0) <= 0.05)
    yield share("intervals: bursts of four", "both reject", "rejects", hits, 0.9)
