"""`actprune merge`: add profiles up."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Annotated

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json
from ._options import Force, Json
from ._paths import check_new_file


def merge(
    profiles: Annotated[
        list[Path], typer.Argument(metavar="A B ...", help="Profiles of one model, two or more.")
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="C.safetensors", help="Where to save the sum."),
    ],
    json: Json = False,
    force: Force = False,
) -> None:
    """Add profiles up: over shards, machines and days. Counts add exactly, in any order.

    Profiles of one model add up if they share their firing thresholds: take the later ones with
    `actprune profile --like FIRST`.

    \b
    Examples:
      actprune merge monday.safetensors tuesday.safetensors -o both.safetensors
    """
    check_new_file(out, force=force)
    if len(profiles) < 2:
        raise ActpruneError("A B ...: give two profiles or more.")

    from actprune.profiling.merge import merge as add
    from actprune.profiling.store import load_profile, save_profile

    from .profile import summary

    total = reduce(add, map(load_profile, profiles))
    save_profile(total, out)
    if json:
        emit_json(summary(total, out))
    else:
        emit(f"{out}: {total}")
