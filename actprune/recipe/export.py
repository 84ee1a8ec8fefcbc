"""Export a saved cut: find its model and data again, then write and check the file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from actprune.errors import ActpruneError
from actprune.exporting.export import check_packages, checked_kind, export
from actprune.exporting.result import Exported
from actprune.loading.data import load_data, own_data
from actprune.loading.model import load_model
from actprune.loading.saved import load
from actprune.pruning.saved import read_manifest


def export_folder(
    folder: Path,
    path: Path,
    data: str | None = None,
    *,
    kind: str | None = None,
    model: str | None = None,
    weights: Path | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Exported:
    """Write the model of a folder that `run` filled to `path`, as `export` does.

    Args:
        data: samples to trace and check it with; a zoo model brings its own.
        kind: `onnx` or `pt2`; by default what `path` ends in.
        model: what builds the dense model, where it is not from the zoo or Hugging Face.
        weights: a safetensors file to use instead of the saved one, after fine-tuning.

    Raises:
        ActpruneError: if the folder is not complete, a name is missing, or as `export`.
    """
    known = checked_kind(path, kind)
    check_packages(known)
    spec = model or read_manifest(folder).model.spec
    if model is None and not spec.startswith(("zoo:", "hf:")):
        raise ActpruneError(
            f"{folder}: pruned from {spec!r}; name the dense model with --model, since a file "
            f"never decides what code is run."
        )
    named = data or own_data(spec)
    progress("loading the model")
    loaded = load_model(spec)
    small = load(folder, factory=lambda: copy.deepcopy(loaded.model), weights=weights)
    return export(small, path, load_data(named, loaded), kind=known, progress=progress)
