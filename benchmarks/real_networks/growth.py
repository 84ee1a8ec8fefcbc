"""K at 2, 5 and 10 times the samples: what each estimator says, and what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actprune.theory import METHODS, backtest, choose, extrapolate_working
from actprune.theory.extrapolation import Method
from benchmarks.real_networks.laws import in_blocks
from benchmarks.real_networks.names import TIMES

SIZES = (10, 30, 100, 300, 1_000, 3_000)  # D
LEAST_GROWTH = 0.05  # of N, between D and 10 D: less is not worth a forecast
SHUFFLES = 3  # of the samples up to D, for a backtest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is done."""

    draws: int = 3  # orders of the samples
    replicates: int = 99  # of a bootstrap
    splits: int = 1_000  # of a certificate


def sizes(T: int) -> list[int]:
    """The D of which ten times are there, T // 10 among them unless it is near another."""
    found = [D for D in SIZES if 10 * D <= T]
    last = T // 10
    return [*found, last] if found and last > 1.5 * found[-1] else found


def cases(fires: NDArray[np.bool_], *, draws: int, seed: int) -> list[dict[str, Any]]:
    """Forecasts from D samples wherever K grows by 5 % of N until 10 D.

    Each draw is a random order of the samples; the truth is K of the first 2 D, 5 D and 10 D of
    it, the forecast sees the first D alone.
    """
    rng = np.random.default_rng(seed)
    found = []
    for draw in range(draws):
        order = rng.permutation(len(fires))
        ever = fires.any(0)
        first = np.where(ever, fires[order].argmax(0), len(fires))
        for D in sizes(len(fires)):
            K = [int((first < t * D).sum()) for t in (1, *TIMES)]
            if K[-1] - K[0] >= LEAST_GROWTH * fires.shape[1]:
                seen = np.ascontiguousarray(fires[order[:D]])
                found.append({"D": D, "draw": draw, "K": K, **_forecasts(seen, K, rng)})
    return found


def shuffled(fires: NDArray[np.bool_], *, seed: int) -> NDArray[np.bool_]:
    """The same firings with each unit's samples in an order of its own: independent units.

    Counts, laws and the expected K stay what they were. What is then still wrong with a forecast is
    wrong with its law; what is wrong only without the shuffling is due to units that fire together.
    """
    return np.random.default_rng(seed).permuted(fires, axis=0)


def _forecasts(seen: NDArray[np.bool_], K: list[int], rng: np.random.Generator) -> dict[str, Any]:
    """By estimator and horizon: [error in units, whether the 95 % interval holds K or None]."""
    active, samples = in_blocks(seen)
    counts, D = active.sum(0), len(seen)
    choice = choose(active, samples)
    # the published law is the sparse limit alone: the exact one goes on from an inflated fit
    fit = choice.fits["inflated"] if choice.family == "urn" else choice.fit
    ahead: dict[str, list[list[float | int | None]]] = {m: [] for m in METHODS}
    ahead |= {"published": [], "no change": []}
    published = choice.fits["urn"]
    for times, truth in zip(TIMES, K[1:], strict=True):
        for method, said in extrapolate_working(counts, D, times * D, fit).items():
            covered = None
            if said.low is not None and said.high is not None:
                covered = int(said.low <= truth <= said.high)
            ahead[method].append([round(said.working - truth, 1), covered])
        law = float(published.expected_working(np.array([times * D]))[0])
        ahead["published"].append([round(law - truth, 1), None])
        ahead["no change"].append([K[0] - truth, int(K[0] == truth)])
    return {"family": choice.family, "ahead": ahead, "picks": _picks(seen, rng)}


def _picks(seen: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, list[Method]]:
    """By rule, the method for each horizon: the least error in a backtest among the first D.

    "same ratio" forecasts K(D) from D/2, D/5 and D/10 samples, "half" from D/2 for all horizons.
    """
    D = len(seen)
    shares = [1 / t for t in TIMES]
    errors = np.zeros((len(TIMES), len(METHODS)))
    for _ in range(SHUFFLES):
        rows = seen[rng.permutation(D)].astype(np.int64)
        tested = backtest(rows, np.ones(D, dtype=np.int64), shares)
        for i, share in enumerate(shares):
            for j, method in enumerate(METHODS):
                errors[i, j] += abs(tested[share, method].error)
    best = [METHODS[j] for j in errors.argmin(1)]
    return {"same ratio": best, "half": [best[0]] * len(TIMES)}


def curve(fires: NDArray[np.bool_], D: int, *, seed: int) -> dict[str, Any]:
    """K over one order of the samples, and what is forecast from its first D, to draw."""
    order = np.random.default_rng(seed).permutation(len(fires))
    seen = fires[order[:D]]
    active, samples = in_blocks(seen)
    counts = active.sum(0)
    choice = choose(active, samples)
    fit = choice.fits["inflated"] if choice.family == "urn" else choice.fit
    first = np.where(fires.any(0), fires[order].argmax(0), len(fires))
    before = np.unique(np.rint(np.geomspace(1, D, 25)).astype(int))
    after = np.unique(np.rint(np.geomspace(D, 10 * D, 17)).astype(int))
    ahead: dict[str, list[list[float]]] = {m: [] for m in METHODS}
    for d in after.tolist():
        for method, said in extrapolate_working(counts, D, d, fit).items():
            low = said.working if said.low is None else said.low
            high = said.working if said.high is None else said.high
            ahead[method].append([round(x, 1) for x in (said.working, low, high)])
    urn = choice.fits["urn"]
    return {
        "D": D,
        "units": fires.shape[1],
        "family": choice.family,
        "d": [*before.tolist(), *after.tolist()[1:]],
        "K": [int((first < d).sum()) for d in [*before.tolist(), *after.tolist()[1:]]],
        "after": after.tolist(),
        "ahead": ahead,
        "published": [round(float(k), 1) for k in urn.expected_working(after)],
    }
