"""Question 1: does K(D) follow the law, D the size of the training set?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import table
from benchmarks.scaling.laws import URN, LawFit, fit_laws
from benchmarks.scaling.views import (
    SCALING,
    Array,
    Row,
    View,
    column,
    ends,
    named,
    rank_correlation,
    settled,
    sites,
    views,
)

CHI2 = 3.84  # 95 % quantile of chi2(1)
LEAST_UNITS = 100  # in a tail that is fitted


def _on_few_test_images(v: View) -> float:
    """E[K] on 100 test images, between the points of the net's growth curve."""
    curve = v["test"]["growth"]
    return float(np.interp(np.log(100), np.log(curve["d"]), curve["K"]))


# what "working" may mean: which counts, and how many units work by them
MEANINGS: dict[str, tuple[str, Callable[[View], float]]] = {
    "one of its D training images": ("train", lambda v: v["train"]["working"]),
    "one of 100 test images": ("test", _on_few_test_images),
    "one of all test images": ("test", lambda v: v["test"]["working"]),
    "1 % of all test images": ("test", lambda v: v["test"]["strict"]["0.01"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteGrowth:
    """K against the training size at one site, under one meaning."""

    site: tuple[str, int, int]
    meaning: str
    units: int
    active: float  # c, units a sample, mean over runs
    D: Array
    K: Array
    fits: dict[str, LawFit]

    @property
    def best(self) -> LawFit:
        """The law of the lowest AICc."""
        return min(self.fits.values(), key=lambda f: f.aicc)

    @property
    def urn(self) -> LawFit:
        """The best of the urn's forms."""
        return min((self.fits[name] for name in URN), key=lambda f: f.aicc)

    @property
    def rank(self) -> float:
        """Spearman's correlation of K with D."""
        return rank_correlation(self.D, self.K)


def growths(rows: Sequence[Row]) -> list[SiteGrowth]:
    """Every site under every meaning of "working"."""
    found = []
    for site, group in sites(views(rows, *SCALING)).items():
        D = column(group, "samples")
        for meaning, (part, working) in MEANINGS.items():
            K = np.array([working(v) for v in group], dtype=np.float64)
            N, c = site[1], float(column(group, part, "active").mean())
            fits = fit_laws(D, K, N, c)
            found.append(
                SiteGrowth(site=site, meaning=meaning, units=N, active=c, D=D, K=K, fits=fits)
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinNet:
    """How well laws follow K(d) over d test images of one trained net, rms in shares of N."""

    published: float
    exact: float


def within(view: View) -> WithinNet:
    """The growth curve of a net that stands still; c is measured, b fitted."""
    curve, N = view["test"]["growth"], view["test"]["units"]
    D, K = np.array(curve["d"], float), np.array(curve["K"])
    fits = fit_laws(D, K, N, view["test"]["active"], URN[:2])
    return WithinNet(
        published=fits[URN[0]].rms / N,
        exact=fits[URN[1]].rms / N,
    )


def live(view: View) -> dict[str, float]:
    """Units that had fired after the first window and after the whole training, as shares of N."""
    counted, N = view["live"], view["test"]["units"]
    return {
        "first": counted["working"][0] / N,
        "last": counted["working"][-1] / N,
        "samples_first": counted["samples"][0],
        "dispersion": counted["spikes"]["relative"] or np.nan,
        "rank_first_last": counted["rank_first_last"] or np.nan,
    }


def family_choice(rows: Sequence[Row]) -> dict[str, Any]:
    """Which law of the counts held-out test images choose, and by how much."""
    found = [v for v in settled(rows, *SCALING) if v["test"]["working"]]
    chosen: dict[str, int] = {}
    gaps = []
    for v in found:
        laws = v["test"]["laws"]
        chosen[laws["chosen"]] = chosen.get(laws["chosen"], 0) + 1
        held = {name: fit["heldout"] for name, fit in laws["fits"].items()}
        rivals = [held[f] for f in ("beta-binomial", "inflated") if held[f] is not None]
        if held["urn"] is not None and rivals:
            gaps.append((max(rivals) - held["urn"]) / v["test"]["units"])
    return {"chosen": chosen, "gap": float(np.median(gaps)), "least_gap": float(np.min(gaps))}


def tail_choice(found: Sequence[View]) -> dict[str, Any]:
    """Which tail the counts have, by AIC, and what the exponent is."""
    best: dict[str, int] = {}
    alphas, bs, cut, n, inside = [], [], 0, 0, 0
    for v in found:
        tails = v["test"]["tails"]
        scores = {
            name: 2 * len(t["parameters"]) - 2 * t["log_likelihood"]
            for name, t in tails.items()
            if t["parameters"] is not None
        }
        known = "power law" in scores and "truncated power law" in scores
        if not known or tails["power law"]["units"] < LEAST_UNITS:
            continue
        n += 1
        winner = min(scores, key=lambda name: scores[name])
        best[winner] = best.get(winner, 0) + 1
        ratio = scores["power law"] - scores["truncated power law"] + 2  # 2 ln likelihood ratio
        cut += ratio > CHI2
        alphas.append(tails["truncated power law"]["parameters"]["alpha"])
        inside += winner.endswith("power law") and 0 < tails[winner]["parameters"]["alpha"] < 1
        bs.append(v["test"]["laws"]["fits"]["beta-binomial"]["b"] or np.nan)
    alpha, b = np.array(alphas), np.array(bs)
    return {
        "sites": n,
        "best": best,
        "cut_off": cut,
        "alpha": alpha,
        "one_minus_b": 1 - b,
        "inside_and_best": inside,
        "rank": rank_correlation(alpha, 1 - b),
    }


def by_counting_alone(rows: Sequence[Row]) -> list[tuple[tuple[str, int, int], float]]:
    """Site, and R2 with which one net's curve over test images has K on the training images.

    The nets trained on most images are counted on d test images, d = D: nothing is fitted, and D
    is how many images are counted and not how many were trained on. Beyond all test images the
    curve stays at its end.
    """
    found = []
    for site, group in sites(views(rows, *SCALING)).items():
        D, K = column(group, "samples"), column(group, "train", "working")
        largest = [v["test"]["growth"] for v in group if v["samples"] == D.max()]
        curve = np.mean([c["K"] for c in largest], 0)
        expected = np.interp(np.log(D), np.log(largest[0]["d"]), curve)
        rest, total = K - expected, K - K.mean()
        if total.any():
            found.append((site, 1 - float(rest @ rest) / float(total @ total)))
    return found


def by_own_curve(rows: Sequence[Row]) -> list[tuple[tuple[str, int, int], float]]:
    """The same with each net's own curve over test images: is an image trained on any different?"""
    found = []
    for site, group in sites(views(rows, *SCALING)).items():
        K = column(group, "train", "working")
        curves = [v["test"]["growth"] for v in group]
        expected = np.array(
            [
                np.interp(np.log(v["samples"]), np.log(c["d"]), c["K"])
                for v, c in zip(group, curves, strict=True)
            ]
        )
        rest, total = K - expected, K - K.mean()
        if total.any():
            found.append((site, 1 - float(rest @ rest) / float(total @ total)))
    return found


def equal_steps(rows: Sequence[Row], step: int) -> dict[tuple[str, int, int], float]:
    """Rank correlation of K (all test images) with D among nets after the same number of steps."""
    found = {}
    for site, group in sites(views(rows, *SCALING)).items():
        at = [
            (v["samples"], look["working"][v["layer"] - 1])
            for v in group
            for look in v["looks"]
            if look["step"] == step
        ]
        if len({D for D, _ in at}) >= 4:
            D, K = np.array(at, dtype=np.float64).T
            found[site] = rank_correlation(D, K)
    return found


def growth_table(rows: Sequence[Row]) -> str:
    """One line a site: K at the ends of the data by two meanings, and how the urn's law does."""
    lines = []
    by_site = grouped_by_site(growths(rows))
    for site, meanings in by_site.items():
        cells = []
        for g in (meanings["one of its D training images"], meanings["one of all test images"]):
            first, last = ends(g.D, g.K)
            fits = [g.fits[f"{form}, c measured"].r2 for form in ("published", "exact")]
            cells += [f"{first:.0f} → {last:.0f}", " / ".join(_r2(r) for r in (*fits, g.urn.r2))]
            cells.append(f"{g.best.law} ({_r2(g.best.r2)})")
        lines.append([named(site), *cells])
    head = ["net"]
    for images in ("its D training images", "all test images"):
        head += [f"K on {images}, smallest → largest D"]
        head += ["R²: published / exact / urn with c free", "lowest AICc (R²)"]
    return table(head, lines)


def grouped_by_site(
    found: Sequence[SiteGrowth],
) -> dict[tuple[str, int, int], dict[str, SiteGrowth]]:
    """Site to meaning to growth."""
    result: dict[tuple[str, int, int], dict[str, SiteGrowth]] = {}
    for g in found:
        result.setdefault(g.site, {})[g.meaning] = g
    return result


def _r2(value: float) -> str:
    """Short; what is worse than a constant by far needs no digits."""
    if not np.isfinite(value):
        return "-"
    return "< -1" if value < -1 else f"{value:.2f}".replace("-0.00", "0.00")
