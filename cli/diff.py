"""`actprune diff`: which units fire more or less often in one profile than in another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json, table
from ._options import Json

LEVEL = 0.95


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A profile.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another profile of the same sites.")],
    level: Annotated[
        float,
        typer.Option(metavar="SHARE", help="1 minus the accepted share of false findings."),
    ] = LEVEL,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="Print at most N units.", min=0)
    ] = 20,
    json: Json = False,
) -> None:
    """List the units whose firing rates differ, tested unit by unit and corrected for their number.

    \b
    Examples:
      actprune diff before.safetensors after.safetensors
      actprune diff before.safetensors after.safetensors --json | jq '[.[] | select(.significant)]'
    """
    if not 0 < level < 1:
        raise ActpruneError(f"--level: must lie between 0 and 1, got {level:g}.")

    from actprune.profiling.diff import diff as compare
    from actprune.profiling.store import load_profile

    changes = compare(load_profile(a), load_profile(b), level)
    if json:
        emit_json([asdict(c) for c in changes])
        return
    from actprune.reporting.numbers import number, percent

    found = sorted((c for c in changes if c.significant), key=lambda c: c.p_value)
    emit(f"{len(found)} of {len(changes)} units fire at another rate")
    if found and limit:
        rows = [
            (c.site, str(c.unit), percent(c.rate_a), percent(c.rate_b), number(c.p_value))
            for c in found[:limit]
        ]
        emit(table(("site", "unit", "rate in A", "rate in B", "p"), rows))
    if len(found) > limit > 0:
        emit(f"... and {len(found) - limit} more; --limit or --json shows them")
