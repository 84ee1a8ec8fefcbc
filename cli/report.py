"""`actprune report`: show a saved report again, alone or beside another one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import emit, emit_json, working
from ._options import CutFolder, Force, Json
from ._paths import check_new_file


def report(
    folder: CutFolder,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="DIR2", help="Another such folder, to be set beside the first."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="page.html", help="Write the page to this file."),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Print a saved report; with -o, draw its page again, beside a second one if asked.

    \b
    Examples:
      actprune report out
      actprune report out --compare out2 -o both.html
      actprune report out --json | jq .verdict
    """
    if out is not None:
        check_new_file(out, force=force)

    from actprune.reporting.write import read_report

    first = read_report(folder)
    second = read_report(compare) if compare else None
    if out is not None:
        from actprune.files import write_atomically
        from actprune.reporting.html import render

        with working():
            page = render(first, second)
        write_atomically(out, page)
    if json:
        both = [r.model_dump(mode="json", by_alias=True) for r in (first, second) if r]
        emit_json(both if second else both[0])
        return
    from actprune.reporting.table import summary_table

    emit(summary_table(first))
    if second is not None:
        emit(f"\n{compare}:")
        emit(summary_table(second))
