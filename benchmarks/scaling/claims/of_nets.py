"""What tells nets apart: the order of their data, and true labels from random ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.scaling import label_study, order_study
from benchmarks.scaling.claims.claim import Claim
from benchmarks.scaling.views import Row


def orders_claims(rows: Sequence[Row]) -> Iterator[Claim]:
    for arm in order_study.ARMS:
        found = order_study.agreements(rows, arm)
        if "another order" not in found:
            continue
        a, chance = found["another order"], found.get("another initialization")
        shown = f"rank correlation of rates {a.mean:.2f} [{a.least:.2f}, {a.most:.2f}]"
        if "other images" in found:
            shown += f"; other images {found['other images'].mean:.2f}"
        if chance:
            shown += f"; another initialization {chance.mean:.2f}"
        shown += "; share of variance not due to the order "
        shown += f"{order_study.shared_variance(rows, arm):.2f}"
        kind = "sparse" if "sparse" in arm else "plain"
        yield Claim(
            claim=f"[ZS] units are urns: rates settle anew in every order of the data, {kind}",
            criterion="rank correlation below .1 between two orders, by pair",
            met=sum(v < 0.1 for v in a.values),
            cases=a.pairs,
            number=shown,
        )
        yield Claim(
            claim=f"(the other reading) rates are fixed by the initialization, {kind}",
            criterion="rank correlation above .95 between two orders, by pair",
            met=sum(v > 0.95 for v in a.values),
            cases=a.pairs,
            number=shown,
        )


def labels_claims(rows: Sequence[Row]) -> Iterator[Claim]:
    by_statistic = label_study.directions(rows, "test")
    for name, source in label_study.SOURCES.items():
        if name not in by_statistic:
            continue
        layers = by_statistic[name]
        signs = [np.sign(d) for layer in layers.values() for d in layer]
        common = 1 if sum(signs) >= 0 else -1
        met = sum(all(np.sign(d) == common for d in layer) for layer in layers.values())
        shown = ", ".join(f"{np.mean(d):+.2f}" for d in layers.values())
        yield Claim(
            claim=f"{source} {name} tells memorizing nets from generalizing ones",
            criterion="random less true labels has one sign in every seed, by layer, the same "
            "sign in all layers",
            met=met,
            cases=len(layers),
            number=f"differences by layer: {shown}",
        )
