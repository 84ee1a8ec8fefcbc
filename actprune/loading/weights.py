"""Weights from a file into a model that has their shapes; never any code."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from actprune.errors import ActpruneError
from actprune.loading.paths import existing_file, one_line

TORCH_SUFFIXES = (".pt", ".pth", ".th")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
WRAPPERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")  # of data parallel and of compiled models


def load_weights(model: nn.Module, path: Path) -> tuple[str, ...]:
    """Copy the tensors of a file into `model`, all of them or none.

    A state dict may lie under one of `WRAPPERS`, and its names may all start with one of
    `PREFIXES`. BatchNorm's step counters and the second name of a shared tensor may be missing.

    Args:
        model: changed in place; its dtypes and devices stay.
        path: a .safetensors file, or a .pt, .pth or .th file written by `torch.save`.

    Returns:
        What was done to make the file fit, one line each.

    Raises:
        ActpruneError: if the file is missing, damaged, holds more than tensors, or does not fit.
    """
    path = existing_file(path, "weights file")
    if path.suffix not in SUFFIXES:
        raise ActpruneError(f"{path}: weights must be one of {', '.join(SUFFIXES)}.")
    state, notes = _unwrap(_read(path), path)
    own = model.state_dict(keep_vars=True)
    state, stripped = _strip(state, own, path)
    _check(state, own, path)
    try:
        model.load_state_dict(state, strict=False)  # what may be missing has been checked
    except Exception as e:  # a module's own loading hook
        raise ActpruneError(f"{path}: the model does not take these weights: {one_line(e)}") from e
    return (*notes, *stripped, *_conversions(state, own, path))


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        if found := re.search(r"GLOBAL ([\w.]+)", str(e)):
            raise ActpruneError(
                f"{path}: holds a Python object ({found[1]}) and not only tensors, so it is not "
                f"read; save model.state_dict() instead."
            ) from e
        raise ActpruneError(f"{path}: not a file written by torch.save, or a damaged one.") from e
    except Exception as e:  # each format fails in its own ways
        raise ActpruneError(
            f"{path}: cannot be read as {path.suffix}, it may be damaged: {one_line(e)}"
        ) from e


def _unwrap(content: Any, path: Path) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    while isinstance(content, Mapping):
        key = next((k for k in WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if key is None:
            break
        notes.append(f"{path.name}: read the weights under '{key}'.")
        content = content[key]
    if not isinstance(content, Mapping):
        raise ActpruneError(
            f"{path}: expected a state dict (names and tensors), got {type(content).__name__}."
        )
    if not any(isinstance(x, Tensor) for x in content.values()):
        raise ActpruneError(
            f"{path}: no tensors at the top or under {', '.join(map(repr, WRAPPERS))}; "
            f"it holds {_some(map(str, content))}. Save model.state_dict() on its own."
        )
    return {str(k): v for k, v in content.items()}, notes


def _strip(
    state: dict[str, Any], own: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    notes: list[str] = []
    while prefix := next((p for p in PREFIXES if all(k.startswith(p) for k in state)), None):
        if any(k.startswith(prefix) for k in own):  # the model's own name
            break
        state = {k.removeprefix(prefix): v for k, v in state.items()}
        notes.append(f"{path.name}: dropped '{prefix}' from the start of all names.")
    return state, tuple(notes)


def _check(state: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> None:
    given = {id(own[k]) for k in state if k in own}
    missing = [
        k
        for k in own
        if k not in state and id(own[k]) not in given and not k.endswith("num_batches_tracked")
    ]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} is {_shape(state[k])} in the file and {_shape(own[k])} in the model"
        for k in state
        if k in own and _shape(state[k]) != _shape(own[k])
    ]
    if len(unexpected) == len(state):
        raise ActpruneError(
            f"{path}: none of its names occurs in the model; the file has {_some(state)}, "
            f"the model {_some(own)}. Give the weights of this architecture."
        )
    faults = [
        *([f"missing {_some(missing)}"] if missing else []),
        *([f"unexpected {_some(unexpected)}"] if unexpected else []),
        *([_some(shapes, 2)] if shapes else []),
    ]
    if faults:
        raise ActpruneError(
            f"{path}: does not fit the model: {'; '.join(faults)}. "
            f"Give the weights of this architecture."
        )


def _conversions(state: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    pairs: dict[tuple[str, str], int] = {}
    for k, x in state.items():
        if isinstance(x, Tensor) and x.dtype != own[k].dtype:
            pair = (str(x.dtype).removeprefix("torch."), str(own[k].dtype).removeprefix("torch."))
            pairs[pair] = pairs.get(pair, 0) + 1
    return tuple(
        f"{path.name}: converted {n} tensors from {a} to the model's {b}."
        for (a, b), n in pairs.items()
    )


def _shape(x: Any) -> str:
    return str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__


def _some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
