"""`actprune export`: a saved cut as a file that runs without actprune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import emit, emit_json, stages, working
from ._options import DATA_HELP, CutFolder, DenseModel, Force, Json
from ._paths import check_new_file


def export(
    folder: CutFolder,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="The file to write, .onnx or .pt2."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=f"Samples to check the file with: {DATA_HELP} A zoo model brings its own.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="onnx|pt2", help="The format.  [default: what FILE ends in]"),
    ] = None,
    model: DenseModel = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A safetensors file to use instead of the saved one, after your own fine-tuning.",
        ),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write a saved cut as ONNX or as a torch.export program, checked against torch.

    The file takes batches of any size. It is run on real samples before it is written; if an output
    differs from torch's by more than 1e-4 of the larger of 1 and the largest output, nothing is
    written. ONNX needs `pip install "actprune[export]"`.

    \b
    Examples:
      actprune export out -o model.onnx
      actprune export out -o model.pt2 --model net.py:make --data npz:calib.npz
    """
    check_new_file(out, force=force)

    from actprune.recipe.export import export_folder

    with working(), stages("export") as progress:
        made = export_folder(
            folder, out, data, kind=kind, model=model, weights=weights, progress=progress
        )
    if json:
        emit_json(made.model_dump_json())
        return
    from actprune.exporting.result import ExportOutcome
    from actprune.reporting.words import export as told

    emit(told(ExportOutcome.of(made)))
