"""Arrays in an .npz file as samples: x, further inputs x1, x2, ..., and optionally labels y."""

from __future__ import annotations

import difflib
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.loading.paths import existing_file, one_line

INPUT = re.compile(r"x([1-9]\d*)?")


def load_npz(path: Path) -> Arrays:
    """Read a file whose arrays all have the sample as their first axis.

    `x` and any `x1`, `x2`, ... are the model's inputs: floats become float32, integers (for
    embeddings) int64, bools stay. `y` is int64 labels or float32 targets.

    Raises:
        ActpruneError: if the file is missing, damaged or no .npz, needs pickle, has no `x`, no
            sample or an unknown array, if lengths disagree, or if a number is not finite in `x`
            or a NaN anywhere.
    """
    spec = f"npz:{path.as_posix()}"
    file = existing_file(path, "data file")
    arrays = _read(file, spec)
    inputs = sorted((k for k in arrays if INPUT.fullmatch(k)), key=lambda k: int(k[1:] or 0))
    if "x" not in arrays:
        raise ActpruneError(
            f"{spec}: no array named 'x' (the model's input), got {', '.join(arrays) or 'none'}; "
            f"save it with numpy.savez(file, x=..., y=...)."
        )
    wanted = ["x", *(f"x{i}" for i in range(1, len(inputs)))]
    if inputs != wanted:
        raise ActpruneError(
            f"{spec}: further inputs must be x1, x2, ... without a gap, got {', '.join(inputs)}."
        )
    for name in arrays:
        if name not in (*inputs, "y"):
            meant = "y" if name.lower().startswith(("label", "target")) else name.lower()
            close = difflib.get_close_matches(meant, ("y", "x1"), n=1, cutoff=0.4)
            hint = f"; did you mean '{close[0]}'?" if close else "; leave it out."
            raise ActpruneError(f"{spec}: unknown array '{name}', known are x, x1, ..., y{hint}")
    tensors = {name: _tensor(name, array, spec) for name, array in arrays.items()}
    lengths = {name: len(x) for name, x in tensors.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{n} in {name}" for name, n in lengths.items())
        raise ActpruneError(f"{spec}: all arrays must have the same number of samples, got {got}.")
    return Arrays.of(*(tensors[k] for k in inputs), labels=tensors.get("y"), spec=spec)


def _read(file: Path, spec: str) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(file):
            raise ActpruneError(
                f"{spec}: not an .npz file, or a damaged one; write it with "
                f"numpy.savez(file, x=..., y=...)."
            )
        with np.load(file, allow_pickle=False) as content:
            return {name: _array(content, name, spec) for name in content.files}
    except ActpruneError:
        raise
    except Exception as e:  # a damaged archive fails in many ways
        raise ActpruneError(f"{spec}: cannot be read, it may be damaged: {one_line(e)}") from e


def _array(content: np.lib.npyio.NpzFile, name: str, spec: str) -> np.ndarray:
    try:
        array = content[name]
    except ValueError as e:
        if "allow_pickle" in str(e):
            raise ActpruneError(
                f"{spec}: '{name}' holds Python objects, which would have to be unpickled and are "
                f"not read; save it as an array of numbers."
            ) from e
        raise
    if not isinstance(array, np.ndarray):  # a member that is not an .npy file
        raise ActpruneError(f"{spec}: '{name}' is not an array; write it with numpy.savez.")
    return array


def _tensor(name: str, array: np.ndarray, spec: str) -> Tensor:
    if array.ndim == 0:
        raise ActpruneError(f"{spec}: '{name}' must have the sample as its first axis, got 0 axes.")
    if len(array) == 0:
        raise ActpruneError(f"{spec}: '{name}' is empty, shape {array.shape}; give samples.")
    kind = array.dtype.kind
    if kind == "f":
        with np.errstate(over="ignore"):
            numbers = array.astype(np.float32)
        _refuse_bad_numbers(name, numbers, spec)
    elif kind in "iu" and (kind == "i" or array.dtype.itemsize < 8 or array.max() < 2**63):
        numbers = array.astype(np.int64)
    elif kind == "b":
        numbers = array.astype(np.int64 if name == "y" else np.bool_)
    else:
        raise ActpruneError(
            f"{spec}: '{name}' must be float32 (integers where the model embeds them), "
            f"got {array.dtype}."
        )
    return torch.from_numpy(np.ascontiguousarray(numbers))


def _refuse_bad_numbers(name: str, numbers: np.ndarray, spec: str) -> None:
    # infinities are a mask's business in further inputs, but never a measurement
    bad = ~np.isfinite(numbers) if name in ("x", "y") else np.isnan(numbers)
    samples = bad.reshape(len(bad), -1).any(axis=1)
    if samples.any():
        first = int(samples.argmax())
        got = "NaN" if np.isnan(numbers[first]).any() else "an infinity"
        raise ActpruneError(
            f"{spec}: '{name}' has {got} in sample {first}, the first of {int(samples.sum())} such "
            f"samples; leave them out."
        )
