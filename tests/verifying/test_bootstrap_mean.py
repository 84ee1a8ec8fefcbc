"""The percentile interval of a mean."""

from __future__ import annotations

import numpy as np
import pytest

from actprune.verifying.bootstrap import RESAMPLES, bootstrap_mean


def test_the_bootstrap_gives_percentiles_of_the_resampled_mean() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=2_000)
    low, high = bootstrap_mean(values, level=0.9, seed=1)
    spread = values.std() / len(values) ** 0.5
    # a 5 % quantile of 2,000 resamples errs by sqrt(.05 .95 / 2000) / density(1.645) = .047 sigma;
    # five of these, and .03 for the skew of an exponential's mean (1.7 / 6 sqrt(n) x (1.645^2 - 1))
    assert RESAMPLES == 2_000
    allowed = (5 * 0.047 + 0.03) * spread
    assert low == pytest.approx(values.mean() - 1.645 * spread, abs=allowed)
    assert high == pytest.approx(values.mean() + 1.645 * spread, abs=allowed)
    wide = bootstrap_mean(values, level=0.99, seed=1)
    assert wide[0] < low < high < wide[1]
    assert bootstrap_mean(values, level=0.9, seed=1) == (low, high)
    assert bootstrap_mean(np.full(10, 0.25), level=0.9, seed=0) == (0.25, 0.25)
