"""Are the theory's estimates as sure as they say? Coverage and levels on simulated counts.

    python -m benchmarks.theory_calibration [--trials 4000] [--seed 0] [--only NAME]

Rows go to benchmarks/results/theory_calibration.jsonl, one a check; what a check claims stands in
benchmarks/calibration/check.py. Claims that fail are printed and written like all others. With
--only nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np

from benchmarks.calibration import growth, laws, liveness, spikes, tails
from benchmarks.calibration.check import Check
from benchmarks.harness import append, begin

CASES: dict[str, Callable[[np.random.Generator, int], Iterator[Check]]] = {
    "beta-binomial": laws.beta_binomial,
    "inflated": laws.inflated,
    "published": laws.published,
    "binomial": laws.binomial,
    "boundary": laws.boundary,
    "goodness": laws.goodness,
    "exact-mean": growth.exact_mean,
    "forecasts": growth.forecasts,
    "inflated-forecasts": growth.inflated_forecasts,
    "unseen": growth.unseen,
    "tail-intervals": tails.intervals,
    "tail-tests": tails.tests,
    "tail-goodness": tails.goodness,
    "certificates": liveness.certificates,
    "planned": liveness.planned,
    "dispersion": spikes.dispersion,
    "intervals": spikes.intervals,
}


def run(name: str, trials: int, seed: int) -> list[Check]:
    """The checks of one case; every case has its own stream of random numbers."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return list(CASES[name](rng, trials))


def main() -> int:
    """Run the cases, print what each claims and shows, write the rows; 1 if a claim failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(CASES))
    args = parser.parse_args()
    if not args.only:
        begin("theory_calibration")
    failed = 0
    for name in [args.only] if args.only else CASES:
        start = time.perf_counter()
        checks = run(name, args.trials, args.seed)
        seconds = time.perf_counter() - start
        for c in checks:
            failed += not c.held
            print(
                f"{'' if c.held else 'MISS':5}{c.kind:9}{c.case[:48]:49}{c.what[:46]:47}"
                f"{c.observed:9.4f} of {c.claimed:7.4g} ±{c.error:.4f}  {c.note}"
            )
            if not args.only:
                row = {"benchmark": "theory_calibration", "group": name, **asdict(c)}
                stamp = {"held": c.held, "seed": args.seed, "group_seconds": round(seconds, 2)}
                append("theory_calibration", {**row, **stamp})
        print(f"     {name}: {seconds:.1f} s", flush=True)
    print(f"{failed} claims failed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
