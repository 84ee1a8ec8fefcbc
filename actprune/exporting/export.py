"""Write a model into a file that runs without actprune, once it is known to compute the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import DEFAULT_BATCH, Source, as_source
from actprune.errors import ActpruneError
from actprune.exporting import onnx_file
from actprune.exporting.program import prepared, program_of, tensors
from actprune.exporting.pt2_file import pt2_bytes, pt2_runner
from actprune.exporting.result import LIMIT, Exported, Kind
from actprune.files import write_atomically
from actprune.running.forward import in_one_line
from actprune.running.state import undisturbed


def export(
    model: nn.Module,
    path: str | Path,
    batches: Source | Iterable[Any],
    *,
    kind: Kind | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Exported:
    """Write `model` to `path` as ONNX or as a torch.export program.

    The file takes what the model's forward takes, in float32 or float64, with any number of samples
    along the first axis; arguments that are no tensors, and the other axes, are fixed to those of
    `batches`. Outputs of a library's own class become a tuple of tensors. Before the file is
    written, it is run on the first batch as a whole and on its first sample alone, and every output
    is held against torch's: the largest absolute difference must be at most LIMIT times the larger
    of 1 and the largest output (ours). No sample is stored in it. `torch.export.load`, with which
    pt2 files are read, may unpickle: read none from a source that you do not trust.

    Args:
        model: as it is to run, in its wrapper or not (see `unwrapped`); it is left as it was.
        path: of the file, whose folder exists; a file there is replaced.
        batches: as in `profile`; only the first is read, of it at most 128 samples.
        kind: `onnx` or `pt2`; by default what `path` ends in.
        progress: called with a few words at each step.

    Raises:
        ActpruneError: if packages are missing (ONNX needs the extra `export`), the model cannot be
            exported, or what was exported computes something else; nothing is written then.
    """
    path = Path(path)
    kind = checked_kind(path, kind)
    check_packages(kind)
    if not path.absolute().parent.is_dir():
        raise ActpruneError(f"{path}: there is no folder {path.parent}; make it first.")
    batch = _first(as_source(batches))
    progress(f"exporting {kind}: tracing")
    plain = prepared(model, batch)
    program = program_of(plain, batch)
    opset = None
    progress(f"exporting {kind}: converting")
    if kind == "onnx":
        content, opset = onnx_file.onnx_bytes(program)
    else:
        content = pt2_bytes(program)
    progress(f"exporting {kind}: checking")
    one = batch.select(torch.arange(1))
    parts = [one] if len(batch) == 1 else [one, batch]
    try:
        run = onnx_file.onnx_runner(content, program) if kind == "onnx" else pt2_runner(content)
        found = [run(part) for part in parts]
    except Exception as e:  # a runtime that lacks an operator, a program that fixed a shape
        raise ActpruneError(
            f"{path}: not written, since the exported model does not run: {in_one_line(e)}; "
            f"export {'pt2' if kind == 'onnx' else 'onnx'} instead."
        ) from e
    with undisturbed(plain):
        wanted = [tensors(part.run(plain)) for part in parts]
    difference, largest = _compared(found, wanted, path)
    limit = LIMIT * max(1.0, largest)
    if not difference <= limit:
        raise ActpruneError(
            f"{path}: not written, since its outputs differ from torch's by up to {difference:.2g} "
            f"on {len(batch)} samples (at most {limit:.2g} is rounding); a forward that draws "
            f"random numbers does that, or an operator that the runtime computes otherwise."
        )
    write_atomically(path, content)
    return Exported(
        path=path,
        kind=kind,
        opset=opset,
        difference=difference,
        largest=largest,
        limit=limit,
        samples=len(batch),
        batch_sizes=tuple(len(part) for part in parts),
        bytes=len(content),
        tensor_bytes=sum(x.numel() * x.element_size() for x in plain.state_dict().values()),
        checked_with=onnx_file.runtime() if kind == "onnx" else f"torch {torch.__version__}",
    )


def checked_kind(path: Path, kind: str | None) -> Kind:
    """The kind that is asked for, or that `path` ends in; raises ActpruneError where it is none."""
    kinds: dict[str, Kind] = {k: k for k in get_args(Kind)}
    found = kinds.get(path.suffix.removeprefix(".") if kind is None else kind)
    if found is None:
        what = f"kind {kind!r}" if kind is not None else f"{path}"
        raise ActpruneError(
            f"{what}: not a format to export to; end the file's name in .onnx or .pt2, or give "
            f"that as its kind."
        )
    return found


def check_packages(kind: Kind) -> None:
    """Raise ActpruneError where a package is missing that `kind` needs; before any work."""
    if kind == "onnx":
        onnx_file.check_packages()


def _first(source: Source) -> Batch:
    batch = next((b for b in source.batches(DEFAULT_BATCH) if len(b)), None)
    if batch is None:
        raise ActpruneError(f"{source.spec}: the data are empty; give at least one sample.")
    batch = batch.select(torch.arange(min(DEFAULT_BATCH, len(batch))))
    return batch.to(torch.device("cpu"))


def _compared(
    found: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]], path: Path
) -> tuple[float, float]:
    """The largest difference of any output, and the largest output; NaN counts as infinite."""
    difference = largest = 0.0
    for xs, ys in zip(found, wanted, strict=True):
        if [x.shape for x in xs] != [y.shape for y in ys]:
            raise ActpruneError(
                f"{path}: not written, since its outputs have the shapes "
                f"{[tuple(x.shape) for x in xs]}, torch's {[tuple(y.shape) for y in ys]}."
            )
        for x, y in zip(xs, ys, strict=True):
            if y.numel():
                gap = (x.double() - y.double()).abs().nan_to_num(nan=float("inf"))
                difference = max(difference, float(gap.max()))
                largest = max(largest, float(y.double().abs().max()))
    return difference, largest
