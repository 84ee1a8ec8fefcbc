"""Split certificates of real networks, and what pieces of one document do to them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actprune.theory import split_certificate
from benchmarks.certificate import LEVEL, coverage_over_splits
from benchmarks.real_networks.names import OWN
from benchmarks.real_networks.record import Recording

PARTS = 42  # a split takes two of so many parts and leaves 40 to the truth


def plans(recording: Recording) -> dict[str, tuple[str, NDArray[np.bool_]]]:
    """What is certified at once: all units of the network, or those of its middle site."""
    middle = recording.sites[len(recording.sites) // 2]
    found = {
        "all sites": (OWN, np.concatenate([s.fires(OWN) for s in recording.sites], axis=1)),
        middle.name: (OWN, middle.fires(OWN)),
    }
    if middle.rms is not None:
        for rule in ("3 RMS", "10 RMS"):
            found[f"{middle.name}, {rule}"] = (rule, middle.fires(rule))
    return found


def coverage(fires: NDArray[np.bool_], *, splits: int, seed: int) -> dict[str, Any]:
    """`coverage_over_splits` with a 42nd of the samples to choose and as many to check.

    Beside it how dependent the units are: `together`, by how much the sum of the free units' rates
    exceeds the share of samples that fire any of them (1: never two at once).
    """
    ever = fires[:, fires.any(0)]  # units that never fire are always free and never matter
    part = len(fires) // PARTS
    found = coverage_over_splits(ever, calibration=part, check=part, splits=splits, seed=seed)
    rng = np.random.default_rng(seed)
    by_unit = np.ascontiguousarray(ever.T)  # few units are read, and all samples
    rates, shares = [], []
    for _ in range(100):
        drawn = rng.permutation(len(ever))
        rest = by_unit[~ever[drawn[:part]].any(0)][:, drawn[part:]]
        rates.append(rest.sum() / rest.shape[1])
        shares.append(rest.any(0).mean())
    together = float(np.sum(rates) / np.sum(shares)) if np.sum(shares) else None
    never = fires.shape[1] - ever.shape[1]
    return {**asdict(found), "never": never, "together": together}


def by_document(
    fires: NDArray[np.bool_], documents: NDArray[np.int64], *, splits: int, seed: int
) -> dict[str, Any]:
    """The same certificate from pieces of few documents and from pieces of all.

    A split takes a few whole documents, chooses units on a random half of their pieces and checks
    on the other half; the truth is the share of pieces of all other documents, at least 20 times
    as many, that fire a free unit. Beside it as many pieces drawn from all documents, and whole
    documents as samples: half of the few choose, half check.
    """
    rng = np.random.default_rng(seed)
    ever = fires[:, fires.any(0)]
    names, at = np.unique(documents, return_inverse=True)
    whole = np.zeros((len(names), ever.shape[1]), dtype=bool)
    np.logical_or.at(whole, at, ever)
    by_unit, whole_by_unit = np.ascontiguousarray(ever.T), np.ascontiguousarray(whole.T)
    few = len(names) // 21 - len(names) // 21 % 2
    covered: dict[str, list[bool]] = {"few": [], "all": [], "whole": []}
    bounds: dict[str, list[float]] = {"few": [], "all": [], "whole": []}
    truths: dict[str, list[float]] = {"few": [], "all": [], "whole": []}
    pieces = []

    def judge(
        kind: str, samples: NDArray, rows: NDArray, chooses: NDArray, checks: NDArray, rest: NDArray
    ) -> None:
        free = ~samples[chooses].any(0)
        x = int(samples[checks][:, free].any(1).sum())
        bounds[kind].append(split_certificate(x, len(checks), LEVEL))
        truths[kind].append(float(np.logical_or.reduce(rows[free])[rest].mean()))
        covered[kind].append(truths[kind][-1] <= bounds[kind][-1])

    for _ in range(splits):
        drawn = rng.permutation(len(names))
        inside = np.flatnonzero(np.isin(at, drawn[:few]))
        inside = rng.permutation(inside)
        half = len(inside) // 2
        pieces.append(len(inside))
        outside = np.flatnonzero(~np.isin(at, drawn[:few]))
        judge("few", ever, by_unit, inside[:half], inside[half:], outside)
        anywhere = rng.permutation(len(ever))
        cut, beyond = anywhere[: len(inside)], anywhere[len(inside) :]
        judge("all", ever, by_unit, cut[:half], cut[half:], beyond)
        first, second, others = np.split(drawn, [few // 2, few])
        judge("whole", whole, whole_by_unit, first, second, others)
    return {
        "splits": splits,
        "documents": len(names),
        "few": few,
        "pieces": float(np.mean(pieces)),
        **{
            f"{kind}_{what}": float(np.mean(values[kind]))
            for kind in covered
            for what, values in (("covered", covered), ("bound", bounds), ("truth", truths))
        },
    }
