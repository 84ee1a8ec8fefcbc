"""The law of the counts, and what its constants depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.scaling import constants, growth
from benchmarks.scaling.claims.claim import CLOSE, Claim, span
from benchmarks.scaling.views import SCALING, Row, settled


def counts_claims(rows: Sequence[Row]) -> Iterator[Claim]:
    choice = growth.family_choice(rows)
    chosen = choice["chosen"]
    yield Claim(
        claim="[ZS] counts per unit follow the urn's published law",
        criterion="chosen by held-out test images among four laws, by site and net",
        met=chosen.get("urn", 0),
        cases=sum(chosen.values()),
        number=f"beta-binomial {chosen.get('beta-binomial', 0)}, inflated "
        f"{chosen.get('inflated', 0)}; median loss of the published law "
        f"{choice['gap']:.2f} nats a unit",
    )
    for arm in SCALING:
        tail = growth.tail_choice(settled(rows, arm))
        power = tail["best"].get("power law", 0) + tail["best"].get("truncated power law", 0)
        alpha = tail["alpha"]
        yield Claim(
            claim=f"[ZS] P(count = k) ~ k^-alpha with 0 < alpha < 1, {arm} nets",
            criterion="a power law, cut off or not, has the lowest AIC of five tails and such an "
            "exponent, by site and net with 100 units in the tail",
            met=tail["inside_and_best"],
            cases=tail["sites"],
            number=f"alpha {span(alpha)}, 1 - b {span(tail['one_minus_b'])}; a power law is "
            f"best at {power}, needs its cut-off at {tail['cut_off']} of {tail['sites']}",
        )


def constants_claims(rows: Sequence[Row]) -> Iterator[Claim]:
    for arm in SCALING:
        found = settled(rows, arm)
        if not found:
            continue
        s = constants.spread_of_b(found, "beta-binomial")
        moves = [np.exp(s["seeds"]), s["data"], s["widths"]]
        there = [m for m in moves if np.isfinite(m)]
        yield Claim(
            claim=f"[ZS] b is a constant of the architecture, {arm} nets",
            criterion=f"beta-binomial b moves by less than {CLOSE} over seeds (one standard "
            "deviation), data sizes (most / least), widths (most / least)",
            met=sum(m < CLOSE for m in there),
            cases=len(there),
            number=" / ".join(f"{m:.2f}" if np.isfinite(m) else "-" for m in moves)
            + f"; b {s['least']:.2g} to {s['most']:.2g}, rank correlation with D "
            f"{s['rank_data']:+.2f}",
        )
    widths = constants.by_width(rows)
    for arm in SCALING:
        here = [w for w in widths if w.arm == arm and np.isfinite(w.rho)]
        yield Claim(
            claim=f"[ZS] larger models are more compressible: the free share grows with N, {arm}",
            criterion="exponent of rho in N above 2 standard errors, by layer and D",
            met=sum(w.rho > 2 * w.rho_error for w in here),
            cases=len(here),
            number=f"exponent of rho {span([w.rho for w in here])}; published "
            f"{span([w.fixed_c for w in here])} at fixed c, {span([w.moving_c for w in here])} "
            f"with c ~ N^g, g {span([w.g for w in here])}",
        )
    firings = constants.firings_per_unit(rows)
    yield Claim(
        claim="[ZS] a working unit fires on more training images as D grows",
        criterion="exponent of D above 2 standard errors, by site",
        met=sum(f.exponent > 2 * f.error for f in firings),
        cases=len(firings),
        number=f"exponent {span([f.exponent for f in firings])}: the share of images falls "
        f"from {span([f.first for f in firings])} to {span([f.last for f in firings])}",
    )
