"""Do more units work with more data, and by the urn's law?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from benchmarks.scaling import growth
from benchmarks.scaling.claims.claim import Claim, median, span
from benchmarks.scaling.views import SCALING, Row, settled

STEPS = 100  # after which nets of all training sizes are compared
STANDING = ("one of all test images",)  # what is counted at every look at a net
CHANCE = 1.5  # dispersion against chance, up to which a sequence passes as exchangeable


def growth_claims(rows: Sequence[Row], found: Sequence[growth.SiteGrowth]) -> Iterator[Claim]:
    equal = median(growth.equal_steps(rows, STEPS).values())
    for meaning in list(growth.MEANINGS)[:3]:
        here = [g for g in found if g.meaning == meaning]
        ranks = np.array([g.rank for g in here])
        yield Claim(
            claim=f"[ZS] K grows with the training size D; working: fires on {meaning}",
            criterion="rank correlation of K and D ≥ .5, by site",
            met=int((ranks >= 0.5).sum()),
            cases=len(ranks),
            number=f"median rank correlation {median(ranks)}, by arm {_by_arm(here, ranks)}"
            + (f"; after {STEPS} steps each {equal}" if meaning in STANDING else ""),
        )
        good = [g.urn.r2 >= 0.9 and g.urn.aicc <= g.best.aicc for g in here]
        published = [g.fits["published, c measured"].r2 for g in here]
        yield Claim(
            claim=f"[ZS] K(D) follows the urn's law; working: fires on {meaning}",
            criterion="a form of it has the lowest AICc and R² ≥ .9, by site",
            met=sum(good),
            cases=len(good),
            number=f"median R² {median(published)} as published with c measured, "
            f"{median([g.urn.r2 for g in here])} for the best form; "
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
        number=f"R² {span(counted)}",
    )
    own = [r2 for _, r2 in growth.by_own_curve(rows)]
    yield Claim(
        claim="(ours) K on the D training images is K on D test images of the same net",
        criterion="nothing fitted, R² ≥ .9, by site",
        met=sum(r2 >= 0.9 for r2 in own),
        cases=len(own),
        number=f"R² {span(own)}",
    )
    lives = [(v["arm"], growth.live(v)) for v in settled(rows, *SCALING)]
    first = [x["first"] for _, x in lives]
    yield Claim(
        claim="[ZS] K grows along the training from next to nothing",
        criterion="less than half of the units have fired after 5 steps, by site and net",
        met=sum(f < 0.5 for f in first),
        cases=len(first),
        number=f"share of units that have fired after 5 steps {span(first)}, after all "
        f"{span([x['last'] for _, x in lives])}",
    )
    spread = [x["dispersion"] for _, x in lives if np.isfinite(x["dispersion"])]
    ranks = [x["rank_first_last"] for _, x in lives]
    yield Claim(
        claim="[ZS] firings along the training are one urn's draws (so exchangeable)",
        criterion=f"variance of window counts at most {CHANCE} times that of draws at a fixed "
        "rate, mean over units, by site and net",
        met=sum(s <= CHANCE for s in spread),
        cases=len(spread),
        number=f"{span(spread)} times; rank correlation of rates in the first and last tenth "
        f"{span(ranks)}",
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


def _by_arm(found: Sequence[growth.SiteGrowth], values: Iterable[float]) -> str:
    arms: dict[str, list[float]] = {}
    for g, v in zip(found, values, strict=True):
        arms.setdefault(g.site[0], []).append(v)
    return ", ".join(f"{arm} {median(v)}" for arm, v in arms.items())
