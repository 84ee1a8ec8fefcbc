"""How long does the theory of a large profile take? 30 sites of 3,333 units, 10,000 samples.

Run as `python -m benchmarks.theory_speed`; rows go to results/theory_speed.jsonl. No bootstrap.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.theory import fit, survey_profile
from benchmarks.calibration import draw
from benchmarks.harness import append, begin

SITES, UNITS, SAMPLES, BLOCKS = 30, 3_333, 10_000, 32


@dataclass(frozen=True)
class Site:
    """A name."""

    name: str
    kind: str = "linear"


@dataclass(frozen=True)
class Counts:
    """Block counts of a site whose units fire independently."""

    site: Site
    units: int
    samples: NDArray[np.int64]
    positions: NDArray[np.int64]
    samples_active: NDArray[np.int64]
    positions_active: NDArray[np.int64]
    first: NDArray[np.int64]


@dataclass(frozen=True)
class Profile:
    """Sites."""

    sites: tuple[Counts, ...]


def site(rng: np.random.Generator, i: int) -> Counts:
    """Site i: sparse to dense Beta rates, a tenth dead, some always on."""
    samples = rng.multinomial(SAMPLES, np.full(BLOCKS, 1 / BLOCKS))
    b = 0.3 + 0.05 * i
    p = draw.rates(rng, UNITS, b, b + 1 + 0.3 * i, pi0=0.1, pi1=0.005)
    active = rng.binomial(samples[:, None], p)
    first = rng.integers(0, SAMPLES, UNITS)
    return Counts(Site(f"site {i}"), UNITS, samples, samples, active, active, first)


def main() -> None:
    """Time the fit and the survey, print and write."""
    rng = np.random.default_rng(0)
    profile = Profile(tuple(site(rng, i) for i in range(SITES)))
    begin("theory_speed")
    start = time.perf_counter()
    theory = fit(profile)
    fitted = time.perf_counter()
    survey_profile(profile, theory)
    surveyed = time.perf_counter()
    seconds = {"fit_seconds": fitted - start, "survey_seconds": surveyed - fitted}
    size = {"sites": SITES, "units": SITES * UNITS, "samples": SAMPLES}
    append("theory_speed", {"benchmark": "theory_speed", **size, **seconds, "seed": 0})
    print(f"{SITES * UNITS} units: fit {fitted - start:.1f} s, survey {surveyed - fitted:.1f} s")


if __name__ == "__main__":
    main()
