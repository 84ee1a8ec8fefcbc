"""The rows as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from benchmarks.harness import table
from benchmarks.real_networks.judge import CANDIDATES, Outcome, Row, chosen_rule, outcome
from benchmarks.real_networks.names import CHOSEN_ON, NETS, OWN, REPORTED_ON, RULES, TIMES

SHORT = {"binomial": "bin", "urn": "urn", "beta-binomial": "bb", "inflated": "infl"}
NONE = "-"


def laws(rows: Sequence[Row]) -> str:
    """Which law wins on up to 1,000 samples, by network and firing rule, and whether it fits.

    Sites whose units all fired on every sample, or none on any, tell nothing and are left out.
    """
    lines = []
    for net, rule, found in _groups(rows):
        found = [r for r in found if 0 < r["laws"][0]["mean"] < 1]
        if not found:
            continue
        first = [r["laws"][0] for r in found]
        wins = Counter(x["family"] for x in first)
        clear = sum(bool(x["margin_error"] and x["margin"] > 2 * x["margin_error"]) for x in first)
        margins = [x["margin"] / r["units"] for r, x in zip(found, first, strict=True)
                   if x["margin"] is not None]  # fmt: skip
        tested = [x["fit_p"] for x in first if x["fit_p"] is not None]
        never = median(x["silent"] / r["units"] for r, x in zip(found, first, strict=True))
        lines.append(
            [
                net,
                rule,
                str(len(found)),
                ", ".join(f"{SHORT[f]} {wins[f]}" for f in SHORT if wins[f]),
                str(clear),
                f"{median(margins):.3f}" if margins else NONE,
                f"{sum(p > 0.05 for p in tested)} of {len(tested)}",
                f"{median(x['mean'] for x in first):.3f}",
                f"{100 * never:.1f} %",
            ]
        )
    head = ["network", "active", "sites", "won by", "clearly", "nats a unit", "fits (p > .05)"]
    return table([*head, "mean rate", "silent units"], lines)


def tails(rows: Sequence[Row]) -> str:
    """What speaks against a power law, and alpha beside 1 - b."""
    lines = []
    for net, rule, found in _groups(rows):
        seen = [r["tail"] for r in found if r["tail"]]
        if not seen:
            continue
        poor = [t for t in seen if t["power_p"] is not None]
        beside = [t for t in seen if t["alpha"] is not None and t["one_minus_b"] is not None]
        gaps = [abs(t["alpha"] - t["one_minus_b"]) for t in beside]
        lines.append(
            [
                net,
                rule,
                str(len(seen)),
                f"{sum(t['power_p'] <= 0.05 for t in poor)} of {len(poor)}",
                f"{sum(rejected(t) for t in seen)} of {len(seen)}",
                f"{median(t['power_ks'] for t in poor):.3f}" if poor else NONE,
                f"{median(t['alpha'] for t in beside):.2f}" if beside else NONE,
                f"{median(t['one_minus_b'] for t in beside):.2f}" if beside else NONE,
                f"{median(gaps):.2f}" if gaps else NONE,
                f"{sum(map(agrees, beside))} of {len(beside)}",
            ]
        )
    head = ["network", "active", "sites", "no power law by KS", "by any test", "KS", "alpha"]
    head += ["1 - b", "median gap", "within two errors"]
    return table(head, lines)


def rejected(t: Row) -> bool:
    """KS, the likelihood ratio against a cut-off, or Vuong's test for a beta-binomial, at 5 %."""
    vuong, gap = t["against_beta_binomial"]
    ratio = t["against_truncated_p"]
    return (
        (t["power_p"] is not None and t["power_p"] <= 0.05)
        or (ratio is not None and ratio < 0.05)
        or (vuong is not None and vuong < 0.05 and gap < 0)
    )


def agrees(t: Row) -> bool:
    """alpha - (1 - b) within two of its errors; alpha's by the jackknife where there is one.

    As if the two were independent: they are read from the same counts.
    """
    own = t["alpha_jackknife_error"] or t["alpha_error"] or 0.0
    other = t["one_minus_b_error"] or 0.0
    return abs(t["alpha"] - t["one_minus_b"]) <= 2 * (own**2 + other**2) ** 0.5


def forecasts(rows: Sequence[Row]) -> str:
    """The chosen rule, network by network: error by that of "no change", and coverage."""
    rule = chosen_rule(rows)
    lines = []
    for name, nets in (
        *((net, (net,)) for net in NETS),
        ("all that chose", CHOSEN_ON),
        ("**all others**", REPORTED_ON),
    ):
        whole = outcome(rows, rule, nets=nets)
        if whole is None:
            lines.append([name, "0", "0", *([NONE] * 5)])
            continue
        cells = [outcome(rows, rule, nets=nets, times=(t,)) for t in TIMES]
        control = outcome(rows, rule, nets=nets, kind="control")
        lines.append(
            [
                name,
                str(whole.sites),
                str(whole.cases // len(TIMES)),
                *(_cell(c) for c in cells),
                _cell(whole),
                _cell(control),
            ]
        )
    head = ["network", "sites and rules", "forecasts", *(f"K at {t} D" for t in TIMES)]
    return table([*head, "all three", "all three, units made independent"], lines)


def sentence(rows: Sequence[Row]) -> str:
    """What came of the rule that was fixed beforehand."""
    rule = chosen_rule(rows)
    said = []
    for t in TIMES:
        o = outcome(rows, rule, nets=REPORTED_ON, times=(t,))
        if o is None:
            return "not run"
        verdict = "held" if o.held else "not held"
        missing = f", {100 * o.missing:.0f} % have none" if o.missing else ""
        covered = (
            "no interval" if o.covered is None else f"{100 * o.covered:.0f} % covered{missing}"
        )
        said.append(f"at {t} D {verdict} (ratio {o.ratio:.2f}, {covered})")
    return f"Chosen: {rule}. On the other networks, {'; '.join(said)}."


def estimators(rows: Sequence[Row]) -> str:
    """Every estimator on the networks that did not choose."""
    rule = chosen_rule(rows)
    lines = []
    for who in (*CANDIDATES, "published", "no change"):
        cells = [outcome(rows, who, nets=REPORTED_ON, times=(t,)) for t in TIMES]
        whole = outcome(rows, who, nets=REPORTED_ON)
        before = outcome(rows, who, nets=CHOSEN_ON)
        control = outcome(rows, who, nets=REPORTED_ON, kind="control")
        if whole is not None:
            bias = f"{100 * whole.signed:+.1f}"
            cells = [_cell(c) for c in (before, *cells, whole, control)]
            lines.append([f"**{who}**" if who == rule else who, *cells, bias])
    head = ["estimator", "networks that chose", *(f"others: K at {t} D" for t in TIMES)]
    head += ["others: all three", "units made independent", "median bias, % of N"]
    return table(head, lines)


def _units_of(row: Row) -> tuple[str, str, str]:
    """Network, site, and what counts as active there."""
    site = row["site"].removeprefix("model.").removesuffix(f", {row['rule']}")
    return row["net"], site, _active(row["rule"])


def certificates(rows: Sequence[Row]) -> str:
    """Coverage of the split certificate, where some free unit ever fires."""
    lines = [
        [
            *_units_of(r),
            f"{r['calibration']} + {r['check']}",
            f"{r['units'] + r['never']}",
            f"{r['free']:.1f} + {r['never']}",
            f"{r['covered']:.3f} ± {r['covered_error']:.3f}",
            f"{r['bound']:.4f}",
            f"{r['truth']:.4f}",
            f"{r['leave_one_out']:.4f}",
            NONE if r["together"] is None else f"{r['together']:.2f}",
        ]
        for r in rows
        if r["kind"] == "certificate" and r["truth"] > 0
    ]
    head = ["network", "units of", "active", "samples", "units", "free + never active"]
    head += ["covered (promised .95)", "mean bound", "mean truth", "leave-one-out"]
    return table([*head, "free units a firing sample"], lines)


def documents(rows: Sequence[Row]) -> str:
    """The certificate with pieces of few documents as samples."""
    lines = [
        [
            *_units_of(r),
            f"{r['few']} of {r['documents']}",
            f"{r['pieces']:.0f}",
            *(_bounded(r, kind) for kind in ("all", "few", "whole")),
        ]
        for r in rows
        if r["kind"] == "documents" and r["few_truth"] > 0
    ]
    head = ["network", "units of", "active", "documents", "pieces", "pieces of all documents"]
    return table([*head, "pieces of few documents", "whole documents as samples"], lines)


def _bounded(r: Row, kind: str) -> str:
    covered, bound, truth = (r[f"{kind}_{what}"] for what in ("covered", "bound", "truth"))
    return f"{covered:.3f} ({bound:.3f} for {truth:.3f})"


def _groups(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    sites = [r for r in rows if r["kind"] == "site"]
    found = []
    for net in NETS:
        for rule in RULES:
            here = [r for r in sites if (r["net"], r["rule"]) == (net, rule)]
            if here:
                found.append((net, _active(rule), here))
    return found


def _active(rule: str) -> str:
    return "by its rule" if rule == OWN else f"> {rule}"


def _cell(o: Outcome | None) -> str:
    if o is None:
        return NONE
    covered = "" if o.covered is None else f", {100 * o.covered:.0f} %"
    return f"{o.ratio:.2f}{covered}" if o.growth else f"{100 * o.error:.1f} % of N{covered}"
