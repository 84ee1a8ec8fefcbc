"""What the theory claims of trained networks, and what the rows say: one line a claim.

[ZS] is Zhang & Sui, arXiv 2412.18073. A claim that is a share of cases held where at least 90 % of
them meet its criterion, did not where at most 10 % do, and held in part in between; criteria are
ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.harness import table
from benchmarks.real_networks.judge import Row, chosen_rule, outcome
from benchmarks.real_networks.names import OWN, REPORTED_ON, TIMES
from benchmarks.real_networks.summary import agrees, rejected

HELD, FAILED = 0.9, 0.1
SPARSE = 0.05  # mean rate below which a site counts as sparse
GROWS = 0.05  # of N, from which K is said to grow between D and 10 D
NEAR = 0.02  # of all samples, within which the leave-one-out estimate counts as right

Line = tuple[str, str, str, str, str]  # claim, criterion, verdict, number, what it means


def claim_table(rows: Sequence[Row]) -> str:
    """All claims as a Markdown table."""
    head = ["claim", "criterion", "verdict (cases)", "the number behind it", "for pruning"]
    return table(head, [*_laws(rows), *_tails(rows), *_growth(rows), *_certificates(rows)])


def _verdict(met: int, cases: int) -> str:
    if not cases:
        return "could not be tested"
    share = met / cases
    word = "held" if share >= HELD else "did not hold" if share <= FAILED else "held in part"
    return f"**{word}** ({met} of {cases})"


def _laws(rows: Sequence[Row]) -> Iterator[Line]:
    laws = [
        (r, r["laws"][0])
        for r in rows
        if r["kind"] == "site" and r["laws"] and 0 < r["laws"][0]["mean"] < 1
    ]
    for name, here in (
        ("at the profile's own rule", [x for x in laws if x[0]["rule"] == OWN]),
        (
            f"above raised thresholds, dense sites (mean rate ≥ {SPARSE})",
            [x for x in laws if x[0]["rule"] != OWN and x[1]["mean"] >= SPARSE],
        ),
        (
            f"above raised thresholds, sparse sites (mean rate < {SPARSE})",
            [x for x in laws if x[0]["rule"] != OWN and x[1]["mean"] < SPARSE],
        ),
    ):
        gaps = [
            (x["heldout"][x["family"]] - x["heldout"]["urn"]) / r["units"]
            for r, x in here
            if x["heldout"]["urn"] is not None
        ]
        fits = [x["fit_p"] > 0.05 for _, x in here if x["fit_p"] is not None]
        yield (
            f"[ZS] counts per unit follow the urn's published law (negative binomial), {name}",
            "best of four laws on held-out samples, by site",
            _verdict(sum(x["family"] == "urn" for _, x in here), len(here)),
            f"it loses a median {median(gaps):.3f} nats a unit to the best law; the best law's "
            f"own fit passes at {sum(fits)} of {len(fits)} sites tested",
            "take the family that wins on held-out samples, and show where even that misfits",
        )


def _tails(rows: Sequence[Row]) -> Iterator[Line]:
    tails = [r["tail"] for r in rows if r["kind"] == "site" and r["tail"]]
    yield (
        "[ZS] the counts have a power-law tail",
        "not rejected by KS, against a cut-off, nor against a beta-binomial (each at 5 %), by site",
        _verdict(sum(not rejected(t) for t in tails), len(tails)),
        "median KS distance "
        f"{median(t['power_ks'] for t in tails if t['power_ks'] is not None):.2f}",
        "alpha is no summary of a trained network; reports leave it out where it is rejected",
    )
    beside = [t for t in tails if t["alpha"] is not None and t["one_minus_b"] is not None]
    inside = [t for t in beside if 0 < t["one_minus_b"] < 1]
    gaps = [abs(t["alpha"] - t["one_minus_b"]) for t in inside]
    yield (
        "[ZS] alpha = 1 - b",
        "within two errors, on sites with 0 < 1 - b < 1",
        _verdict(sum(map(agrees, inside)), len(inside)),
        f"median gap {median(gaps):.2f}; at {len(beside) - len(inside)} of {len(beside)} sites "
        "1 - b does not lie in (0, 1)",
        "read b off the count law, not off a tail",
    )


def _growth(rows: Sequence[Row]) -> Iterator[Line]:
    own = [r for r in rows if r["kind"] == "site" and r["rule"] == OWN]
    growing = [r for r in own if r["cases"]]
    yield (
        "(ours) the working units have practically all shown after ten samples",
        f"K(10 D) - K(D) < {100 * GROWS:.0f} % of N from D = 10 on, at the profile's own rule, "
        "by site",
        _verdict(len(own) - len(growing), len(own)),
        f"K still grows at {len(growing)} of {len(own)} sites",
        "at a > 0, free units are found by a few samples; their certificate is what needs many",
    )
    rule = chosen_rule(rows)
    for t in TIMES:
        o = outcome(rows, rule, nets=REPORTED_ON, times=(t,))
        other = outcome(rows, "good-toulmin", nets=REPORTED_ON, times=(t,))
        if o is None or other is None:
            continue
        yield (
            f"K at {t} D can be forecast by one estimator chosen beforehand ({rule})",
            'median error ≤ half that of "no change", 80 to 98 % of 95 % intervals hold K',
            "**held**" if o.held else "**did not hold**",
            f"error ratio {o.ratio:.2f}, {100 * (o.covered or 0):.0f} % covered; smoothed "
            f"Good-Toulmin, seen afterwards: {other.ratio:.2f}, "
            f"{100 * (other.covered or 0):.0f} %",
            "show every estimator with its interval; do not plan by one of them",
        )


def _certificates(rows: Sequence[Row]) -> Iterator[Line]:
    seen = [r for r in rows if r["kind"] == "certificate" and r["truth"] > 0]
    yield (
        "the split certificate covers 95 % of splits",
        "coverage ≥ .95 less three Monte Carlo errors, over 1,000 splits, by row",
        _verdict(sum(r["covered"] >= r["level"] - 3 * r["covered_error"] for r in seen), len(seen)),
        f"coverage {min(r['covered'] for r in seen):.3f} to {max(r['covered'] for r in seen):.3f}",
        "the certificate may be promised, for inputs drawn like those held out",
    )
    gaps = [abs(r["leave_one_out"] - r["truth"]) for r in seen]
    yield (
        "the leave-one-out estimate is right on average",
        f"mean over splits within {NEAR} of the truth, by row",
        _verdict(sum(g <= NEAR for g in gaps), len(gaps)),
        f"largest difference {max(gaps):.3f}",
        "a free estimate that needs no second half of the data, but no bound",
    )
    pieces = [r for r in rows if r["kind"] == "documents" and r["few_truth"] > 0]
    met = [r["few_covered"] >= 0.95 - 3 * (0.95 * 0.05 / r["splits"]) ** 0.5 for r in pieces]
    whole = [r["whole_covered"] for r in pieces]
    yield (
        "pieces of a few documents may be counted as samples",
        "the certificate still covers 95 % of splits, by row",
        _verdict(sum(met), len(met)),
        f"coverage from {min(r['few_covered'] for r in pieces):.2f}; whole documents as samples "
        f"{min(whole):.2f} and more",
        "count documents, not windows",
    )
