"""What the papers claim, by a criterion that was written down beside it, and what the rows say.

A claim becomes a share of cases: it held where at least 90 % of its cases meet the criterion, did
not where at most 10 % do, and held in part in between. [ZS] is Zhang & Sui, arXiv 2412.18073; [LS]
Lehmler et al., arXiv 2308.00858; [LZ] Lin et al., arXiv 2501.02436. Where they leave a definition
open it is ours, and so is every criterion.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import table
from benchmarks.scaling import growth
from benchmarks.scaling.claims.claim import Claim
from benchmarks.scaling.claims.of_counts import constants_claims, counts_claims
from benchmarks.scaling.claims.of_growth import growth_claims
from benchmarks.scaling.claims.of_losses import losses_claims
from benchmarks.scaling.claims.of_nets import labels_claims, orders_claims
from benchmarks.scaling.views import Row


def claims(rows: Sequence[Row]) -> list[Claim]:
    """Every claim, in the order of the questions."""
    found = growth.growths(rows)
    return [
        *growth_claims(rows, found),
        *counts_claims(rows),
        *constants_claims(rows),
        *losses_claims(rows),
        *orders_claims(rows),
        *labels_claims(rows),
    ]


def claim_table(rows: Sequence[Row]) -> str:
    """All claims as a Markdown table."""
    lines = [
        [c.claim, c.criterion, f"**{c.verdict}** ({c.met} of {c.cases})", c.number]
        for c in claims(rows)
    ]
    return table(["claim", "criterion", "verdict (cases)", "the number behind it"], lines)
