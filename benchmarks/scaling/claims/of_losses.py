"""How the test loss falls with the data, and where it bends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.scaling import loss_growth
from benchmarks.scaling.claims.claim import CLOSE, Claim, span
from benchmarks.scaling.losses import BENDS
from benchmarks.scaling.views import Row, rank_correlation

NEAR = 3.0  # within which a bend is where it was said to be


def losses_claims(rows: Sequence[Row]) -> Iterator[Claim]:
    nets = loss_growth.losses(rows)
    good = [n.best.law.startswith("power law") and n.best.r2 >= 0.95 for n in nets]
    r2 = [n.fits["power law"].r2 for n in nets]
    yield Claim(
        claim="[ZS] the test loss decays with D as a power law",
        criterion="from 100 images on a power law (plain, floored or bent) has the lowest AICc "
        "and R² ≥ .95, by net",
        met=sum(good),
        cases=len(good),
        number=f"exponent {span([n.beta for n in nets])}, R² of the plain one {span(r2)}",
    )
    where = np.array([n.bend.parameters["D0"] for n in nets])
    bent = [n.wide_best.law == BENDS for n in nets]
    near = [
        is_bent and any(1 / NEAR <= n.bend.parameters["D0"] / M <= NEAR for M in n.M.values())
        for is_bent, n in zip(bent, nets, strict=True)
    ]
    yield Claim(
        claim="[ZS] the loss changes its course near log D = log(bN/c)",
        criterion=f"over all D a bend has the lowest AICc and lies within a factor {NEAR:g} of "
        "bN/c of any of three families, by net",
        met=sum(near),
        cases=len(near),
        number=f"bN/c is {span([n.M['beta-binomial'] for n in nets])} images "
        f"(beta-binomial); the best bend lies at "
        f"{span([n.bend.parameters['D0'] for n in nets])}, and is chosen for {sum(bent)} of "
        f"{len(nets)}; slopes {span([n.bend.parameters['beta'] for n in nets])}, then "
        f"{span([n.bend.parameters['beta'] + n.bend.parameters['turn'] for n in nets])}",
    )
    moves = rank_correlation(where, np.array([n.M["beta-binomial"] for n in nets]))
    yield Claim(
        claim="(ours) and it moves with bN/c from net to net",
        criterion="rank correlation of the bend with beta-binomial bN/c over nets ≥ .5",
        met=int(moves >= 0.5),
        cases=int(np.isfinite(moves)),
        number=f"{moves:+.2f}; there are 10 classes",
    )
    same = [any(1 / CLOSE <= n.beta / b <= CLOSE for b in n.b.values()) for n in nets]
    ratio = [n.beta / n.b["beta-binomial"] for n in nets]
    yield Claim(
        claim="(ours, from K's law) the loss decays with the exponent b",
        criterion=f"within a factor {CLOSE} of b in any of three families, by net",
        met=sum(same),
        cases=len(same),
        number=f"exponent over beta-binomial b {span(ratio)}",
    )
