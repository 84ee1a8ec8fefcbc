"""The frontier of `actprune plan --sweep` in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._console import table

if TYPE_CHECKING:
    from actprune.planning.sweep import Frontier

WIDTH = 30  # of the longest bar


def frontier_text(found: Frontier) -> str:
    """A table of sizes, each with a bar as long as its harm."""
    from actprune.reporting.numbers import percent

    largest = max(r.harm for r in found.rows) or 1.0
    rows = [
        (percent(r.macs), percent(r.params), percent(r.units), f"{r.harm:.4g}",
         ("#" * round(WIDTH * r.harm / largest)).ljust(WIDTH))
        for r in found.rows
    ]  # fmt: skip
    said = f"harm: {found.unit}; interactions of sites are left out, so try a size with --target"
    if not found.measured:
        said += "; no data were given, so it is the criterion's own unit (--data measures it)"
    return table(("macs", "params", "units", "harm", ""), rows) + "\n\n" + said
