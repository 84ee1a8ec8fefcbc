"""Questions 2 and 3: is b a constant, what does c do as N grows, how often does a unit fire?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actprune.theory import elasticities
from benchmarks.harness import table
from benchmarks.scaling.growth import SiteGrowth
from benchmarks.scaling.views import (
    SCALING,
    Row,
    View,
    column,
    ends,
    grouped,
    named,
    rank_correlation,
    settled,
    sites,
    slope,
)

FAMILIES = ("urn", "beta-binomial", "inflated")
_B_OF_COUNTS = ("test", "laws", "fits", "beta-binomial", "b")


def spread_of_b(found: Sequence[View], family: str) -> dict[str, float]:
    """How b of one family varies over runs, data and widths of one arm.

    `seeds` is the standard deviation of ln b between runs that differ in their seed alone, `data`
    and `widths` the mean range of ln b over training sizes and over widths, all else alike.
    """
    b = {id(v): v["test"]["laws"]["fits"][family]["b"] for v in found}
    found = [v for v in found if b[id(v)]]

    def logs(group: Sequence[View]) -> np.ndarray:
        return np.log([b[id(v)] for v in group])

    by_run = grouped(found, lambda v: (v["width"], v["layer"], v["samples"]))
    by_data = grouped(found, lambda v: (v["width"], v["layer"], v["seed"]))
    by_width = grouped(found, lambda v: (v["samples"], v["layer"], v["seed"]))
    seeds = [logs(g).var(ddof=1) for g in by_run.values() if len(g) > 1]
    data = [np.ptp(logs(g)) for g in by_data.values() if len(g) > 3]
    widths = [np.ptp(logs(g)) for g in by_width.values() if len(g) > 1]
    samples = column(found, "samples")
    return {
        "least": float(np.exp(logs(found).min())),
        "median": float(np.exp(np.median(logs(found)))),
        "most": float(np.exp(logs(found).max())),
        "seeds": float(np.sqrt(np.mean(seeds))) if seeds else np.nan,
        "data": float(np.exp(np.mean(data))) if data else np.nan,
        "widths": float(np.exp(np.mean(widths))) if widths else np.nan,
        "rank_data": rank_correlation(samples, logs(found)),
    }


def train_against_test(found: Sequence[View], family: str) -> float:
    """Median ratio of b from the training images to b from the test images, one net each."""
    on_test = column(found, "test", "laws", "fits", family, "b")
    return float(np.nanmedian(column(found, "train", "fits", family, "b") / on_test))


def counts_against_growth(
    rows: Sequence[Row], found: Sequence[SiteGrowth]
) -> list[tuple[str, float, float]]:
    """Site, b of the counts within a net (median over runs), and b of K over training sizes."""
    by_site = sites(settled(rows, *SCALING))
    return [
        (
            named(g.site),
            float(np.nanmedian(column(by_site[g.site], *_B_OF_COUNTS))),
            g.fits["exact, c measured"].parameters["b"],
        )
        for g in found
        if g.meaning == "one of its D training images"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByWidth:
    """How c and the free share go with the width, at one layer and training size."""

    arm: str
    layer: int
    samples: int
    widths: tuple[int, ...]
    g: float  # exponent of c, units active a test image
    g_error: float
    rho: float  # exponent of the share of units that fire on no test image
    rho_error: float
    fixed_c: float  # what the published law has for `rho` if c is fixed
    moving_c: float  # and with c ~ N^g
    free: dict[int, float]  # width to that share


def by_width(rows: Sequence[Row]) -> list[ByWidth]:
    """Exponents over widths and seeds; NaN where too few nets have a free unit."""
    found = []
    groups = grouped(settled(rows, *SCALING), lambda v: (v["arm"], v["layer"], v["samples"]))
    for (arm, layer, samples), group in groups.items():
        widths = column(group, "width")
        kinds = sorted({int(w) for w in widths})
        if len(kinds) < 2:
            continue
        free = 1 - column(group, "test", "working") / column(group, "test", "units")
        logs = np.full(len(free), np.nan)
        np.log(free, out=logs, where=free > 0)
        g, g_error, _ = slope(np.log(widths), np.log(column(group, "test", "active")))
        rho, rho_error, _ = slope(np.log(widths), logs)
        fixed = _published_elasticity(group)
        found.append(
            ByWidth(
                arm=arm,
                layer=layer,
                samples=samples,
                widths=tuple(kinds),
                g=g,
                g_error=g_error,
                rho=rho,
                rho_error=rho_error,
                fixed_c=fixed,
                moving_c=(1 - g) * fixed,
                free={w: float(free[widths == w].mean()) for w in kinds},
            )
        )
    return found


def _published_elasticity(group: Sequence[View]) -> float:
    """Mean of the published d ln rho / d ln N at fixed c, with the urn's b of each net."""
    found = []
    for v in group:
        b, state = v["test"]["laws"]["fits"]["urn"]["b"], v["test"]
        if b and 0 < state["active"] < state["units"]:
            answer = elasticities(N=state["units"], b=b, c=state["active"], D=state["n"])
            found.append(answer.published_N)
    return float(np.mean(found)) if found else np.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Firings:
    """Training images that a working unit fires on, against the training size."""

    site: tuple[str, int, int]
    exponent: float  # of D
    error: float
    first: float  # as a share of D, at the smallest D
    last: float  # and at the largest


def firings_per_unit(rows: Sequence[Row]) -> list[Firings]:
    """One entry a site: the exponent by least squares on logarithms."""
    found = []
    for site, group in sites(settled(rows, *SCALING)).items():
        D = column(group, "samples")
        share = column(group, "train", "active") / column(group, "train", "working")
        rise, error, _ = slope(np.log(D), np.log(share * D))
        first, last = ends(D, share)
        found.append(Firings(site=site, exponent=rise, error=error, first=first, last=last))
    return found


def constants_table(rows: Sequence[Row]) -> str:
    """b of the chosen families by arm: its range, and what moves it."""
    lines = []
    for arm in SCALING:
        found = settled(rows, arm)
        if not found:
            continue
        for family in FAMILIES:
            s = spread_of_b(found, family)
            lines.append(
                [
                    arm,
                    family,
                    f"{s['least']:.2g} / {s['median']:.2g} / {s['most']:.2g}",
                    f"{s['seeds']:.2f}",
                    f"{s['data']:.1f}",
                    f"{s['widths']:.1f}" if np.isfinite(s["widths"]) else "-",
                    f"{s['rank_data']:+.2f}",
                ]
            )
    head = ["nets", "family", "b: least / median / most", "spread of ln b over seeds"]
    head += ["most / least b over D", "over widths", "rank correlation of b with D"]
    return table(head, lines)
