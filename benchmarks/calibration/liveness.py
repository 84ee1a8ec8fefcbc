"""Certificates and coverage: bounds that hold, means without bias."""

from collections.abc import Iterator

import numpy as np

from actprune.theory import (
    good_coverage,
    good_turing,
    leave_one_out_certificate,
    rate_bound,
    samples_to_certify,
    split_certificate,
)
from benchmarks.calibration.check import Check, mean, share


def certificates(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """The split's exact bound, the simultaneous bound on rates, and the unbiased means."""
    D, p = 60, rng.beta(0.3, 8.0, 80)
    log_silent = np.log1p(-p)
    held, rates, one, turing, coverage = [], [], [], [], []
    for _ in range(trials):
        chooses, checks = rng.random((2, D, len(p)), dtype=np.float32) < p
        counts, free = chooses.sum(0), ~chooses.any(0)
        truth = -np.expm1(log_silent[free].sum())
        held.append(truth <= split_certificate(int(checks[:, free].any(1).sum()), D))
        short = counts == chooses[0]  # silent on all samples but the first
        one.append(
            leave_one_out_certificate(counts, chooses.argmax(0), D)
            + np.expm1(log_silent[short].sum())
        )
        turing.append(good_turing(counts, D) - p[short].sum())
        if counts.sum():
            # the share of unseen units for D - 1 samples, times the total the estimate divides by
            total = counts.sum()
            coverage.append((1 - good_coverage(counts, D)) * total / D - p[short].sum())
        named = rng.permutation(len(p))[:20]  # units named in advance
        silent = named[free[named]]
        rates.append(bool((p[silent] <= rate_bound(D, m=20)).all()))
    case = "80 units, 60 samples"
    yield share(case, "split certificate", "bound", held, 0.95)
    yield share(case, "rates of 20 named units at once", "bound", rates, 0.95)
    yield mean(case, "leave-one-out less the truth for D - 1", one, 0.0)
    yield mean(case, "Good-Turing less the truth for D - 1", turing, 0.0)
    yield mean(case, "Good's unseen rates less the truth for D - 1", coverage, 0.0)


def planned(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """The samples asked for suffice: bounds from so many cover, and are as tight as asked."""
    wanted, rate = 0.02, 0.005
    n = samples_to_certify(share=wanted, expected=rate).needed
    assert n is not None
    x = rng.binomial(n, rate, trials)
    bounds = np.array([split_certificate(int(i), n) for i in range(x.max() + 1)])[x]
    yield share("samples to certify 2 %, true .5 %", "bound holds", "bound", rate <= bounds, 0.95)
    yield share(
        "samples to certify 2 %, true .5 %", "bound is 2 % or less", "shown", bounds <= wanted, 0.5
    )
