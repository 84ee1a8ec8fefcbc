"""`actprune verify`: measure a saved cut again, on held-out data."""

from __future__ import annotations

from typing import Annotated

import typer

from actprune.errors import ActpruneError

from ._console import emit, emit_json, stages, working
from ._options import DATA_HELP, CutFolder, DenseModel, Json, Weights


def verify(
    folder: CutFolder,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The calibration data, of which only the held-out third is read, or other data, "
            f"read whole: {DATA_HELP} A zoo model brings its own.",
        ),
    ] = None,
    heldout: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Held-out data, all of which are read."),
    ] = None,
    model: DenseModel = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Measure the loss change of a saved cut on held-out data, against its forecast.

    Writes the report in that folder anew. Exits 1 if the verdict is fail.

    \b
    Examples:
      actprune verify out
      actprune verify out --heldout npz:fresh.npz --json
      actprune verify out --model net.py:make --weights net.pt --data npz:calib.npz
    """
    if data is not None and heldout is not None:
        raise ActpruneError("--heldout: cannot be given together with --data; choose one.")

    from actprune.recipe.run import verify_folder

    with working(), stages("verify") as progress:
        report = verify_folder(
            folder, data, heldout=heldout, model=model, weights=weights, progress=progress
        )
    if json:
        emit_json(report.model_dump_json(by_alias=True))
    else:
        from actprune.reporting.table import summary_table

        emit(summary_table(report))
    if report.verdict == "fail":
        raise typer.Exit(1)
