"""What the rows say: the rule chosen on small networks, and how it does on the others.

A rule names one estimator for each site and horizon from the samples up to D alone. The rule is
chosen on MNIST and the digits, by the least median error among those whose intervals cover 80 to
98 % there, or among all where none does; all other networks are for judging it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from actprune.theory import METHODS
from benchmarks.real_networks.names import CHOSEN_ON, OWN, REPORTED_ON, TIMES

Row = Mapping[str, Any]

CANDIDATES = (*METHODS, "backtest, same ratio", "backtest, half")
ESTIMATORS = (*METHODS, "published", "no change")
COVERED = (0.80, 0.98)  # of the intervals, as was fixed before
AT_MOST = 0.5  # of the median error of "no change", as was fixed before


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One rule or estimator over many forecasts."""

    cases: int
    sites: int  # different sites and firing rules among them
    error: float  # median |forecast - K|, share of N
    growth: float  # median K(D') - K(D), share of N: the error of "no change"
    signed: float  # median of forecast - K, share of N
    covered: float | None  # share of 95 % intervals that hold K; None where there are none
    missing: float  # share without an interval, counted as not covering

    @property
    def ratio(self) -> float:
        """Median error by that of "no change"."""
        return self.error / self.growth if self.growth else float("inf")

    @property
    def held(self) -> bool:
        """Whether what was fixed before has come true."""
        covered = self.covered is not None and COVERED[0] <= self.covered <= COVERED[1]
        return covered and self.ratio <= AT_MOST


def outcome(
    rows: Iterable[Row],
    who: str,
    *,
    nets: Collection[str],
    times: Collection[int] = TIMES,
    own: bool | None = None,
    kind: str = "site",
) -> Outcome | None:
    """How a rule or an estimator does; None where there is no case.

    Args:
        rows: of the benchmark.
        who: one of `CANDIDATES` or `ESTIMATORS`.
        nets: networks to take.
        times: horizons D'/D to take.
        own: only the firing rule that a profile takes by itself (True), only others (False).
        kind: "site", or "control": the same with units made independent.
    """
    signed, growth, covered, sites = [], [], [], set()
    for row in rows:
        if row["kind"] != kind or row["net"] not in nets:
            continue
        if own is not None and own != (row["rule"] == OWN):
            continue
        for case in row["cases"]:
            for i, t in enumerate(TIMES):
                if t not in times:
                    continue
                error, holds = case["ahead"][_method(case, who, i)][i]
                signed.append(error / row["units"])
                growth.append((case["K"][i + 1] - case["K"][0]) / row["units"])
                covered.append(holds)
                sites.add((row["net"], row["site"], row["rule"]))
    if not signed:
        return None
    known = [c for c in covered if c is not None]
    return Outcome(
        cases=len(signed),
        sites=len(sites),
        error=median(abs(e) for e in signed),
        growth=median(growth),
        signed=median(signed),
        covered=sum(known) / len(covered) if known else None,
        missing=1 - len(known) / len(covered),
    )


def chosen_rule(rows: Sequence[Row], nets: Collection[str] = CHOSEN_ON) -> str:
    """The rule that does best on `nets`; see above."""
    found = {rule: outcome(rows, rule, nets=nets) for rule in CANDIDATES}
    there = {rule: o for rule, o in found.items() if o is not None}
    if not there:
        raise ValueError(f"No forecast on {', '.join(nets)}: nothing to choose a rule by.")
    sure = [
        rule
        for rule, o in there.items()
        if o.covered is not None and COVERED[0] <= o.covered <= COVERED[1]
    ]
    return min(sure or there, key=lambda rule: there[rule].error)


def verdict(
    rows: Sequence[Row],
    *,
    chosen_on: Collection[str] = CHOSEN_ON,
    reported_on: Collection[str] = REPORTED_ON,
) -> str:
    """The rule, and what it has done, in lines to print."""
    rule = chosen_rule(rows, chosen_on)
    lines = [f"chosen on {', '.join(chosen_on)}: {rule}"]
    for who in (*CANDIDATES, "published", "no change"):
        for nets, name in ((chosen_on, "chosen on"), (reported_on, "reported on")):
            for times in ((2,), (5,), (10,), TIMES):
                o = outcome(rows, who, nets=nets, times=times)
                if o is not None:
                    covered = "-" if o.covered is None else f"{o.covered:.3f}"
                    lines.append(
                        f"{who:22}{name:13}{'x'.join(map(str, times)):8}{o.cases:6} cases of "
                        f"{o.sites:4} sites: error {o.error:.4f} of {o.growth:.4f} "
                        f"({o.ratio:.2f}), bias {o.signed:+.4f}, covered {covered}"
                        f"{', held' if o.held and who == rule else ''}"
                    )
    return "\n".join(lines)


def _method(case: Row, who: str, i: int) -> str:
    kind, comma, which = who.partition(", ")
    return case["picks"][which][i] if comma and kind == "backtest" else who
