"""`actprune subtract`: take a part out of a merged profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import emit, emit_json, note
from ._options import Force, Json
from ._paths import check_new_file


def subtract(
    a: Annotated[Path, typer.Argument(metavar="A", help="A profile that others were merged into.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="One of them, to be taken out.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="C.safetensors", help="Where to save the rest."),
    ],
    json: Json = False,
    force: Force = False,
) -> None:
    """Take the samples of B out of A. Counts subtract exactly.

    The greatest and least activation of a unit and its first firing cannot be taken apart, so C
    does not know them: it serves every target but lossless, and `actprune theory` gives it the
    split certificate only.

    \b
    Examples:
      actprune subtract both.safetensors tuesday.safetensors -o monday.safetensors
    """
    check_new_file(out, force=force)

    from actprune.profiling.store import load_profile, save_profile
    from actprune.profiling.subtract import subtract as take

    from .profile import summary

    rest = take(load_profile(a), load_profile(b))
    save_profile(rest, out)
    if json:
        emit_json(summary(rest, out))
        return
    emit(f"{out}: {rest}")
    note("extremes and first firings are unknown after subtract; all counts are exact.")
