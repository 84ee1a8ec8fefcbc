"""report.json's alpha: a number where the power law stands, else null with the reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actprune.reporting.assemble import _site
from actprune.reporting.schema import ReportSite
from actprune.theory import fit_site
from actprune.theory.power_law import power_law_of


def made(counts: np.ndarray, D: int) -> ReportSite:
    samples = np.array([D])
    profile: Any = SimpleNamespace(
        site=SimpleNamespace(name="fc", kind="linear"),
        units=len(counts),
        samples=samples,
        positions=samples,
        samples_active=counts[None],
        positions_active=counts[None],
        first=np.where(counts > 0, 0, -1),
    )
    return _site(
        fit_site(profile), kept=1, removed=(), rates=(), rate=0.0, tail=power_law_of(counts, D)
    )


def test_alpha_is_a_number_where_the_power_law_stands() -> None:
    rng, k = np.random.default_rng(1), np.arange(1, 1001)
    site = made(rng.choice(k, 2000, p=k**-0.8 / (k**-0.8).sum()), 1000)
    # four standard errors: 1/sqrt(2000 Var ln k) with Var ln k about 2.4
    assert site.alpha == pytest.approx(0.8, abs=4 * 0.015)
    assert "alpha" not in (site.reason or "")


def test_alpha_is_null_with_a_reason_where_it_does_not() -> None:
    rng = np.random.default_rng(1)
    bell = made(rng.binomial(1000, 0.3, 2000), 1000)
    assert bell.alpha is None
    assert "alpha: " in str(bell.reason)
    dead = made(np.zeros(5, dtype=np.int64), 10)
    assert dead.alpha is None
    assert "alpha: no unit fired" in str(dead.reason)
