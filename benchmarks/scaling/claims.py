"""What the papers claim, by a criterion that was written down beside it, and what the rows say.

A claim becomes a share of cases: it held where at least 90 % of its cases meet the criterion, did
not where at most 10 % do, and held in part in between. [ZS] is Zhang & Sui, arXiv 2412.18073; [LS]
Lehmler et al., arXiv 2308.00858; [LZ] Lin et al., arXiv 2501.02436. Where they leave a definition
open it is ours, and so is every criterion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import table
from benchmarks.scaling import constants, growth, label_study, loss_growth, order_study
from benchmarks.scaling.losses import BENDS
from benchmarks.scaling.views import SCALING, Row, rank_correlation, settled

HELD, FAILED = 0.9, 0.1
CLOSE = 1.25  # a factor within which two constants count as the same
STEPS = 100  # after which nets of all training sizes are compared
STANDING = ("one of all test images",)  # what is counted at every look at a net
CHANCE = 1.5  # dispersion against chance, up to which a sequence passes as exchangeable
NEAR = 3.0  # and within which a bend is where it was said to be


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim, in how many cases it met its criterion, and the number that says most."""

    claim: str
    criterion: str
    met: int
    cases: int
    number: str

    @property
    def verdict(self) -> str:
        """In the words of the table."""
        if not self.cases:
            return "not tested"
        share = self.met / self.cases
        return "held" if share >= HELD else "did not hold" if share <= FAILED else "held in part"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """Every claim, in the order of the questions."""
    found = growth.growths(rows)
    return [
        *_growth(rows, found),
        *_counts(rows),
        *_constants(rows),
        *_losses(rows),
        *_orders(rows),
        *_labels(rows),
    ]


def claim_table(rows: Sequence[Row]) -> str:
    """All claims as a Markdown table."""
    lines = [
        [c.claim, c.criterion, f"**{c.verdict}** ({c.met} of {c.cases})", c.number]
        for c in claims(rows)
    ]
    return table(["claim", "criterion", "verdict (cases)", "the number behind it"], lines)


def _growth(rows: Sequence[Row], found: Sequence[growth.SiteGrowth]) -> Iterator[Claim]:
    equal = _median(growth.equal_steps(rows, STEPS).values())
    for meaning in list(growth.MEANINGS)[:3]:
        here = [g for g in found if g.meaning == meaning]
        ranks = np.array([g.rank for g in here])
        yield Claim(
            claim=f"[ZS] K grows with the training size D; working: fires on {meaning}",
            criterion="rank correlation of K and D ≥ .5, by site",
            met=int((ranks >= 0.5).sum()),
            cases=len(ranks),
            number=f"median rank correlation {_median(ranks)}, by arm {_by_arm(here, ranks)}"
            + (f"; after {STEPS} steps each {equal}" if meaning in STANDING else ""),
        )
        good = [g.urn.r2 >= 0.9 and g.urn.aicc <= g.best.aicc for g in here]
        published = [g.fits["published, c measured"].r2 for g in here]
        yield Claim(
            claim=f"[ZS] K(D) follows the urn's law; working: fires on {meaning}",
            criterion="a form of it has the lowest AICc and R² ≥ .9, by site",
            met=sum(good),
            cases=len(good),
            number=f"median R² {_median(published)} as published with c measured, "
            f"{_median([g.urn.r2 for g in here])} for the best form; "
            f"a constant or a line in log D is best at "
            f"{sum(g.best.law not in growth.URN for g in here)} of {len(here)}",
        )
    counted = [r2 for _, r2 in growth.by_counting_alone(rows)]
    yield Claim(
        claim="(ours) K on the training images grows since more images are counted, not since "
        "more were trained on",
        criterion="K(d) over d = D test images of the net with the most training images, nothing "
        "fitted, has it with R² ≥ .9, by site",
        met=sum(r2 >= 0.9 for r2 in counted),
        cases=len(counted),
        number=f"R² {_range(counted)}",
    )
    own = [r2 for _, r2 in growth.by_own_curve(rows)]
    yield Claim(
        claim="(ours) K on the D training images is K on D test images of the same net",
        criterion="nothing fitted, R² ≥ .9, by site",
        met=sum(r2 >= 0.9 for r2 in own),
        cases=len(own),
        number=f"R² {_range(own)}",
    )
    lives = [(v["arm"], growth.live(v)) for v in settled(rows, *SCALING)]
    first = [x["first"] for _, x in lives]
    yield Claim(
        claim="[ZS] K grows along the training from next to nothing",
        criterion="less than half of the units have fired after 5 steps, by site and net",
        met=sum(f < 0.5 for f in first),
        cases=len(first),
        number=f"share of units that have fired after 5 steps {_range(first)}, after all "
        f"{_range([x['last'] for _, x in lives])}",
    )
    spread = [x["dispersion"] for _, x in lives if np.isfinite(x["dispersion"])]
    ranks = [x["rank_first_last"] for _, x in lives]
    yield Claim(
        claim="[ZS] firings along the training are one urn's draws (so exchangeable)",
        criterion=f"variance of window counts at most {CHANCE} times that of draws at a fixed "
        "rate, mean over units, by site and net",
        met=sum(s <= CHANCE for s in spread),
        cases=len(spread),
        number=f"{_range(spread)} times; rank correlation of rates in the first and last tenth "
        f"{_range(ranks)}",
    )
    within = [(v["arm"], growth.within(v)) for v in settled(rows, *SCALING)]
    for form in ("published", "exact"):
        rms = np.array([getattr(w, form) for _, w in within])
        yield Claim(
            claim=f"[ZS] the {form} form fits the growth over d test images of one trained net"
            if form == "published"
            else "(ours) the exact form does",
            criterion="c measured, b fitted: rms residual ≤ 2 % of N, by site and net",
            met=int((rms <= 0.02).sum()),
            cases=len(rms),
            number=f"median rms {100 * np.median(rms):.1f} % of N" if len(rms) else "-",
        )


def _counts(rows: Sequence[Row]) -> Iterator[Claim]:
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
            number=f"alpha {_range(alpha)}, 1 - b {_range(tail['one_minus_b'])}; a power law is "
            f"best at {power}, needs its cut-off at {tail['cut_off']} of {tail['sites']}",
        )


def _constants(rows: Sequence[Row]) -> Iterator[Claim]:
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
            number=f"exponent of rho {_range([w.rho for w in here])}; published "
            f"{_range([w.fixed_c for w in here])} at fixed c, {_range([w.moving_c for w in here])} "
            f"with c ~ N^g, g {_range([w.g for w in here])}",
        )
    firings = constants.firings_per_unit(rows)
    yield Claim(
        claim="[ZS] a working unit fires on more training images as D grows",
        criterion="exponent of D above 2 standard errors, by site",
        met=sum(f.exponent > 2 * f.error for f in firings),
        cases=len(firings),
        number=f"exponent {_range([f.exponent for f in firings])}: the share of images falls "
        f"from {_range([f.first for f in firings])} to {_range([f.last for f in firings])}",
    )


def _losses(rows: Sequence[Row]) -> Iterator[Claim]:
    nets = loss_growth.losses(rows)
    good = [n.best.law.startswith("power law") and n.best.r2 >= 0.95 for n in nets]
    r2 = [n.fits["power law"].r2 for n in nets]
    yield Claim(
        claim="[ZS] the test loss decays with D as a power law",
        criterion="from 100 images on a power law (plain, floored or bent) has the lowest AICc "
        "and R² ≥ .95, by net",
        met=sum(good),
        cases=len(good),
        number=f"exponent {_range([n.beta for n in nets])}, R² of the plain one {_range(r2)}",
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
        number=f"bN/c is {_range([n.M['beta-binomial'] for n in nets])} images "
        f"(beta-binomial); the best bend lies at "
        f"{_range([n.bend.parameters['D0'] for n in nets])}, and is chosen for {sum(bent)} of "
        f"{len(nets)}; slopes {_range([n.bend.parameters['beta'] for n in nets])}, then "
        f"{_range([n.bend.parameters['beta'] + n.bend.parameters['turn'] for n in nets])}",
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
        number=f"exponent over beta-binomial b {_range(ratio)}",
    )


def _orders(rows: Sequence[Row]) -> Iterator[Claim]:
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


def _labels(rows: Sequence[Row]) -> Iterator[Claim]:
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


def _range(values: Iterable[float]) -> str:
    there = np.array([v for v in values if np.isfinite(v)])
    if not len(there):
        return "-"
    shown = [
        f"{v:,.0f}" if abs(v) >= 100 else f"{v:.2f}"
        for v in (there.min(), np.median(there), there.max())
    ]
    return f"{shown[0]} / {shown[1]} / {shown[2]}"


def _median(values: Iterable[float]) -> str:
    there = [v for v in values if np.isfinite(v)]
    return f"{np.median(there):+.2f}" if there else "-"


def _by_arm(found: Sequence[growth.SiteGrowth], values: Iterable[float]) -> str:
    arms: dict[str, list[float]] = {}
    for g, v in zip(found, values, strict=True):
        arms.setdefault(g.site[0], []).append(v)
    return ", ".join(f"{arm} {_median(v)}" for arm, v in arms.items())
