"""Do the certificates for free units hold? Coverage on simulated units and on a real network.

Run as `python -m benchmarks.certificate`; rows go to benchmarks/results/certificate.jsonl.
The real part trains an MLP on 10,000 MNIST images and watches it on the 60,000 others. It reads
mnist/mnist.npz below the folder named by ACTPRUNE_ASSETS and is skipped where that is missing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from actprune.theory.liveness import leave_one_out_certificate, split_certificate
from benchmarks.cifar import assets
from benchmarks.harness import append, begin

LEVEL = 0.95

Share = Callable[[NDArray[np.bool_]], float]  # of inputs that fire one of the units given


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often the split bound held, and what the estimates and truths were on average."""

    splits: int
    calibration: int  # samples that choose the free units
    check: int  # samples that bound their firings
    truth_samples: int | None  # samples behind each truth; None: known rates
    units: int
    free: float  # mean number of units free on the calibration samples
    covered: float  # share of splits whose truth is at most the bound; `level` is promised
    covered_error: float  # binomial standard error
    bound: float  # mean split bound, share of inputs
    truth: float  # mean share of inputs that fire a free unit
    leave_one_out: float  # mean leave-one-out share of the calibration samples
    # leave-one-out minus truth for the units free after the same samples but one (expected: 0)
    gap_short: float
    gap_short_error: float
    # and after all of them (expected: >= 0, conservative)
    gap: float
    gap_error: float
    level: float = LEVEL


def coverage_over_splits(
    fires: NDArray[np.bool_], *, calibration: int, check: int, splits: int, seed: int
) -> Coverage:
    """Split certificates of a real network, each against all inputs it did not use.

    Args:
        fires: bool (samples, units), exchangeable rows.
        calibration, check: disjoint random samples that choose the free units and bound them.
        splits: how often to draw both.
        seed: of the draws.

    The truth of a split is the share of all remaining samples, at least 20 times as many as both
    parts, that fire a free unit: its own error is below a fourth of the check part's. Splits share
    their inputs, so the binomial error of the coverage is itself only approximate.
    """
    rest = len(fires) - calibration - check
    if rest < 20 * (calibration + check):
        raise ValueError(f"{rest} samples are left for the truth, fewer than 20 times both parts.")
    rng = np.random.default_rng(seed)
    by_unit = np.ascontiguousarray(fires.T)  # a truth reads few units and all samples
    rows = []
    for _ in range(splits):
        drawn = rng.permutation(len(fires))[: calibration + check]
        chooses, checks = fires[drawn[:calibration]], fires[drawn[calibration:]]
        remaining = np.ones(len(fires), dtype=bool)
        remaining[drawn] = False

        def share(free: NDArray[np.bool_], remaining: NDArray[np.bool_] = remaining) -> float:
            return float(np.logical_or.reduce(by_unit[free])[remaining].mean())

        rows.append(_one(chooses, checks, share))
    return _summarize(rows, calibration, check, fires.shape[1], rest)


def coverage_simulated(
    rates: NDArray[np.float64], *, calibration: int, check: int, trials: int, seed: int
) -> Coverage:
    """The same for independent units of known firing rates, the truth 1 - prod (1 - rate)."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(trials):
        fires = rng.random((calibration + check, len(rates)), dtype=np.float32) < rates

        def share(free: NDArray[np.bool_]) -> float:
            return float(-np.expm1(np.log1p(-rates[free]).sum()))

        rows.append(_one(fires[:calibration], fires[calibration:], share))
    return _summarize(rows, calibration, check, len(rates), None)


def _one(chooses: NDArray[np.bool_], checks: NDArray[np.bool_], share: Share) -> tuple[float, ...]:
    counts, first = chooses.sum(0), chooses.argmax(0)
    free = counts == 0
    free_short = counts == chooses[0]  # silent on all calibration samples but the first
    bound = split_certificate(int(checks[:, free].any(1).sum()), len(checks), LEVEL)
    estimate = leave_one_out_certificate(counts, first, len(chooses))
    return float(free.sum()), bound, share(free), estimate, share(free_short)


def _summarize(
    rows: Sequence[tuple[float, ...]], calibration: int, check: int, units: int, rest: int | None
) -> Coverage:
    free, bound, truth, estimate, truth_short = np.array(rows).T
    root = len(rows) ** 0.5
    covered = float((truth <= bound).mean())
    return Coverage(
        splits=len(rows),
        calibration=calibration,
        check=check,
        truth_samples=rest,
        units=units,
        free=float(free.mean()),
        covered=covered,
        covered_error=(covered * (1 - covered)) ** 0.5 / root,
        bound=float(bound.mean()),
        truth=float(truth.mean()),
        leave_one_out=float(estimate.mean()),
        gap_short=float((estimate - truth_short).mean()),
        gap_short_error=float((estimate - truth_short).std(ddof=1) / root),
        gap=float((estimate - truth).mean()),
        gap_error=float((estimate - truth).std(ddof=1) / root),
    )


def mnist_firings(archive: Path, seed: int) -> tuple[dict[str, NDArray[np.bool_]], float]:
    """Firings of both hidden layers of a 784-512-512-10 ReLU MLP on 60,000 images it never saw.

    Returns bool (60000, 512) for each layer and the accuracy on the same images, 0 to 1.
    """
    with np.load(archive) as data:
        x = np.concatenate([data["x_train"], data["x_test"]]).reshape(-1, 784)
        y = np.concatenate([data["y_train"], data["y_test"]]).astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(x))
    images = torch.from_numpy(x[order]).float().div(255).sub(0.1307).div(0.3081)
    labels = torch.from_numpy(y[order])
    torch.manual_seed(seed)
    first, second, last = nn.Linear(784, 512), nn.Linear(512, 512), nn.Linear(512, 10)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    for _ in range(8):
        for batch in torch.randperm(10_000).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    fires: dict[str, list[NDArray[np.bool_]]] = {"hidden 1": [], "hidden 2": []}
    right = 0
    with torch.no_grad():
        for part, answer in zip(
            images[10_000:].split(2_000), labels[10_000:].split(2_000), strict=True
        ):
            hidden = first(part).relu()
            deeper = second(hidden).relu()
            fires["hidden 1"].append((hidden > 0).numpy())
            fires["hidden 2"].append((deeper > 0).numpy())
            right += int((last(deeper).argmax(1) == answer).sum())
    return {name: np.concatenate(parts) for name, parts in fires.items()}, right / 60_000


def main() -> None:
    """Run both parts, print a table, write the rows."""
    torch.set_num_threads(2)
    seed, results = 0, []
    rng = np.random.default_rng(seed)
    for name, rates in {
        "Beta(.3, 12) rates": rng.beta(0.3, 12.0, 200),
        "Beta(.5, 2) rates, 20 % dead": rng.beta(0.5, 2.0, 200) * (rng.random(200) >= 0.2),
        "rare: 50 units at .002, 50 at .2": np.repeat([0.002, 0.2], 50),
    }.items():
        start = time.perf_counter()
        got = coverage_simulated(rates, calibration=200, check=200, trials=4_000, seed=seed)
        results.append((f"simulated, {name}", got, time.perf_counter() - start, {}))
    archive = assets() / "mnist" / "mnist.npz"
    if archive.exists():
        layers, accuracy = mnist_firings(archive, seed)
        for name, fires in layers.items():
            for calibration, check in ((500, 500), (1_000, 1_000)):
                start = time.perf_counter()
                got = coverage_over_splits(
                    fires, calibration=calibration, check=check, splits=1_000, seed=seed
                )
                results.append(
                    (
                        f"MNIST MLP 784-512-512-10, {name}",
                        got,
                        time.perf_counter() - start,
                        {"accuracy": accuracy},
                    )
                )
    else:
        print(f"The real network is skipped: {archive.name} not found (set ACTPRUNE_ASSETS).")
    print(
        f"{'case':52}{'D':>6}{'n':>6}{'free':>7}{'covered':>15}{'bound':>8}{'truth':>8}"
        f"{'loo':>8}{'loo - truth(D-1)':>20}{'loo - truth(D)':>20}"
    )
    begin("certificate")
    for name, got, seconds, extra in results:
        print(
            f"{name:52}{got.calibration:6}{got.check:6}{got.free:7.1f}"
            f"{got.covered:9.4f} ±{got.covered_error:.4f}{got.bound:8.4f}{got.truth:8.4f}"
            f"{got.leave_one_out:8.4f}{got.gap_short:12.5f} ±{got.gap_short_error:.5f}"
            f"{got.gap:12.5f} ±{got.gap_error:.5f}"
        )
        row = {"benchmark": "certificate", "case": name, **asdict(got), **extra}
        append("certificate", {**row, "seed": seed, "seconds": round(seconds, 2)})


if __name__ == "__main__":
    main()
