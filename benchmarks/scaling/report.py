"""Everything the rows say, as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.harness import table
from benchmarks.scaling import claims, constants, growth, label_study, loss_growth, order_study
from benchmarks.scaling.views import SCALING, Row, ends, named, settled


def report(rows: Sequence[Row]) -> str:
    """Question by question, then the verdicts."""
    found = growth.growths(rows)
    seconds = sum(r["seconds"] for r in rows)
    unfinished = [r for r in rows if r["goal"] is not None and not r["reached"]]
    sections = {
        f"{len(rows)} nets, {seconds / 60:.0f} minutes; {len(unfinished)} stopped at their cap": "",
        "1. K(D)": growth.growth_table(rows),
        "1. K(D), every meaning of working": _meanings(found),
        "1. R² of every law, median over sites": _laws(found),
        "1. Rank correlation of K with D after the same number of steps": _steps(rows),
        "1. Growth over d test images of one net, median rms in % of N": _within(rows),
        "1. Along the training, medians": _live(rows),
        "2. b": constants.constants_table(rows),
        "2. b of training images over b of test images, median": _parts(rows),
        "2. b of the counts, b of K(D)": table(
            ["net", "beta-binomial, within a net", "exact law over training sizes"],
            [
                [n, f"{a:.2f}", f"{b:.2f}"]
                for n, a, b in constants.counts_against_growth(rows, found)
            ],
        ),
        "2. c and the free share by width": _widths(rows),
        "3. Training images a working unit fires on": _firings(rows),
        "4. Test loss, best step": loss_growth.loss_table(rows),
        "4. Test loss, last step: exponent of D, R²": _last_losses(rows),
        "5. Orders": order_study.order_table(rows),
        "5. Orders, counts along the training": _orders(rows),
        "6. Labels, on test images": label_study.label_table(rows),
        "6. Random less true labels, by layer": _labels(rows),
        "Verdicts": claims.claim_table(rows),
    }
    return "\n\n".join(f"{head}\n\n{body}".rstrip() for head, body in sections.items())


def _meanings(found: Sequence[growth.SiteGrowth]) -> str:
    lines = []
    for g in found:
        first, last = ends(g.D, g.K)
        cells = [f"{first:.0f} → {last:.0f}", f"{g.rank:+.2f}", f"{g.best.law} ({g.best.r2:.2f})"]
        cells += [f"{g.urn.law} ({g.urn.r2:.2f}, rms {g.urn.rms:.1f})"]
        lines.append([named(g.site), g.meaning, *cells])
    head = ["net", "working: fires on", "K", "rank correlation with D", "lowest AICc (R²)"]
    return table([*head, "best urn (R²)"], lines)


def _laws(found: Sequence[growth.SiteGrowth]) -> str:
    lines = []
    for meaning in growth.MEANINGS:
        here = [g for g in found if g.meaning == meaning]
        if here:
            r2 = {law: np.nanmedian([g.fits[law].r2 for g in here]) for law in here[0].fits}
            lines.append([meaning, *(f"{v:.2f}" for v in r2.values())])
    return table(["working: fires on", *(found[0].fits if found else ())], lines)


def _steps(rows: Sequence[Row]) -> str:
    lines = []
    for step in (20, 100, 500):
        values = growth.equal_steps(rows, step)
        lines.append([str(step), ", ".join(f"{named(k)} {v:+.2f}" for k, v in values.items())])
    return table(["steps", "by net"], lines)


def _within(rows: Sequence[Row]) -> str:
    lines = []
    for arm in SCALING:
        fits = [growth.within(v) for v in settled(rows, arm)]
        if fits:
            rms = [100 * np.median([getattr(f, k) for f in fits]) for k in ("published", "exact")]
            lines.append([arm, *(f"{v:.1f}" for v in rms)])
    return table(["nets", "published, c measured", "exact, c measured"], lines)


def _live(rows: Sequence[Row]) -> str:
    lines = []
    for arm in SCALING:
        found = [growth.live(v) for v in settled(rows, arm)]
        if found:
            kinds = ("first", "last", "dispersion", "rank_first_last")
            values = [np.nanmedian([x[k] for x in found]) for k in kinds]
            lines.append([arm, *(f"{v:.2f}" for v in values)])
    head = ["nets", "share that fired in 5 steps", "in all steps", "variance over chance"]
    return table([*head, "rank correlation, first and last tenth"], lines)


def _two_bs(rows: Sequence[Row], found: Sequence[growth.SiteGrowth]) -> str:
    pairs = constants.counts_against_growth(rows, found)
    lines = [[name, f"{a:.2f}", f"{b:.2f}"] for name, a, b in pairs]
    return table(["net", "beta-binomial, within a net", "exact law over training sizes"], lines)


def _parts(rows: Sequence[Row]) -> str:
    lines = []
    for arm in SCALING:
        found = settled(rows, arm)
        if found:
            ratios = [constants.train_against_test(found, f) for f in constants.FAMILIES]
            lines.append([arm, *(f"{r:.2f}" for r in ratios)])
    return table(["nets", *constants.FAMILIES], lines)


def _widths(rows: Sequence[Row]) -> str:
    lines = []
    for w in constants.by_width(rows):
        free = ", ".join(f"{n}: {100 * v:.1f} %" for n, v in w.free.items())
        exponents = [f"{w.g:.2f} ± {w.g_error:.2f}", f"{w.rho:.2f} ± {w.rho_error:.2f}"]
        expected = [f"{w.fixed_c:.2f}", f"{w.moving_c:.2f}"]
        lines.append([w.arm, str(w.layer), f"{w.samples:,}", *exponents, *expected, free])
    head = ["nets", "layer", "D", "g in c ~ N^g", "exponent of rho in N", "published, c fixed"]
    return table([*head, "published, c ~ N^g", "free share by width"], lines)


def _firings(rows: Sequence[Row]) -> str:
    lines = [
        [named(f.site), f"{f.exponent:.2f} ± {f.error:.2f}", f"{f.first:.2f} → {f.last:.2f}"]
        for f in constants.firings_per_unit(rows)
    ]
    return table(["net", "exponent of D", "share of the images, smallest → largest D"], lines)


def _last_losses(rows: Sequence[Row]) -> str:
    lines = [
        [f"{n.arm} {n.width}", f"{n.beta:.2f}", f"{n.fits['power law'].r2:.3f}", n.best.law]
        for n in loss_growth.losses(rows, "last")
    ]
    return table(["net", "exponent", "R²", "lowest AICc"], lines)


def _orders(rows: Sequence[Row]) -> str:
    lines = []
    for arm in order_study.ARMS:
        live = order_study.agreements(rows, arm, "counts_live")
        seen, chance, free = order_study.free_overlap(rows, arm)
        if "another order" in live:
            lines.append(
                [
                    arm,
                    f"{live['another order'].mean:.3f}",
                    f"{order_study.shared_variance(rows, arm):.2f}",
                    f"{seen:.2f} ({chance:.2f} by chance; free share {free:.2f})",
                ]
            )
    head = ["nets", "rank correlation, another order", "variance not due to the order"]
    return table([*head, "free under both over free under either"], lines)


def _labels(rows: Sequence[Row]) -> str:
    lines = []
    for part in ("test", "train"):
        for name, layers in label_study.directions(rows, part).items():
            shown = ", ".join(f"{np.mean(d):+.3f}" for d in layers.values())
            up, down, same = label_study.agreeing(layers)
            lines.append([part, name, shown, f"{up} up, {down} down", f"{same} of {len(layers)}"])
    head = ["images", "statistic", "difference by layer", "single seeds"]
    return table([*head, "layers whose seeds agree"], lines)
