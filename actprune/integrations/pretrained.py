"""Save a pruned model of transformers so that transformers alone loads it again."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.source import Source, as_source
from actprune.errors import ActpruneError
from actprune.exporting.result import LIMIT
from actprune.files import new_folder
from actprune.loading.hf import quiet
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.wrapped import at_hand

Shapes = Mapping[str, torch.Size]


def save_pretrained(
    small: nn.Module, folder: str | Path, batches: Source | Iterable[Any]
) -> Mapping[str, int | bool]:
    """Write `small` into a new folder that `from_pretrained` of transformers loads, no actprune.

    A configuration knows one width for the MLPs of all layers, so all must have kept equally many
    units (`allocate="uniform"`). Where the refit gave layers a bias they had not, the configuration
    must have a switch for it, as LLaMA's `mlp_bias`; the biases that it brings along are zeros.
    What was saved is loaded and run on the first batch before the folder appears.

    Args:
        small: from `prune`; a model of transformers.
        folder: new or empty; a tokenizer can be saved there afterwards.
        batches: as in `profile`; only the first is read.

    Returns:
        What changed in the configuration, by name.

    Raises:
        ActpruneError: if no configuration describes the model, or what was saved computes
            something else; nothing is written then.
    """
    small = at_hand(small)
    kind: Any = type(small)
    config = getattr(small, "config", None)
    if not hasattr(kind, "from_pretrained") or config is None:
        raise ActpruneError(
            f"{kind.__name__} is no model of transformers; save it with save_pruned or export it."
        )
    first = next((b for b in as_source(batches).batches() if len(b)), None)
    if first is None:
        raise ActpruneError("The data are empty; give at least one sample to check the model on.")
    changes = _changes(small)
    config = _changed(config, changes)
    state = {k: v.detach().cpu() for k, v in small.state_dict().items()}
    for name, shape in _shapes(kind, config).items():
        state.setdefault(name, torch.zeros(shape, dtype=next(small.parameters()).dtype))
    path = Path(folder)
    with quiet(), new_folder(path) as staging:
        made = kind(config)
        made.to(next(small.parameters()).dtype).load_state_dict(state)
        made.save_pretrained(staging)
        loaded = kind.from_pretrained(staging, local_files_only=True)
        gap, largest = _difference(small, loaded.to(device_of(small)), first)
        if not gap <= LIMIT * max(1.0, largest):
            raise ActpruneError(
                f"{path}: not written, since what transformers loads differs by up to {gap:.2g}; "
                f"save it with save_pruned instead."
            )
    return changes


def _changes(small: nn.Module) -> dict[str, int | bool]:
    """The entries of the configuration under which its class has the shapes of `small`, but for
    further biases; raises ActpruneError if there are none."""
    kind, config = type(small), small.config
    found: Shapes = {k: v.shape for k, v in small.state_dict().items()}
    sizes: dict[int, set[int]] = {}
    for name, shape in _shapes(kind, config).items():
        for before, after in zip(shape, found.get(name, shape), strict=True):
            if before != after:
                sizes.setdefault(before, set()).add(after)
    uneven = next((n for n, kept in sizes.items() if len(kept) > 1), None)
    if uneven is not None:
        kept = ", ".join(map(str, sorted(sizes[uneven])))
        raise ActpruneError(
            f"Of {uneven} units layers keep {kept}, but a configuration of transformers has one "
            f"width for all; plan with allocate='uniform', or save with save_pruned."
        )
    widths = {before: after for before, (after,) in sizes.items()}
    for named in _candidates(config, widths):
        wanted = _shapes(kind, _changed(config, named))
        missing = wanted.keys() - found.keys()
        same = all(wanted.get(name) == shape for name, shape in found.items())
        if same and all(name.endswith(".bias") for name in missing):
            return named
    biases = sorted(found.keys() - _shapes(kind, config).keys())
    what = f"the new bias {biases[0]}" if biases else f"the widths {widths}"
    raise ActpruneError(
        f"The configuration of {kind.__name__} has no entry for {what}; save with save_pruned."
    )


def _candidates(config: Any, widths: Mapping[int, int]) -> Iterator[dict[str, int | bool]]:
    """Changes worth a try: one width, as a fused layer is twice as wide; a switch for biases."""
    values = config.to_dict()
    switches = [k for k, v in values.items() if v is False and "bias" in k]
    resized: list[dict[str, int | bool]] = [
        {name: widths[n]} for name, n in values.items() if type(n) is int and n in widths
    ]
    for resize in resized or [{}]:
        yield resize
        yield from ({**resize, switch: True} for switch in switches)


def _changed(config: Any, changes: Mapping[str, int | bool]) -> Any:
    config = copy.deepcopy(config)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def _shapes(kind: Any, config: Any) -> Shapes:
    """Of the tensors that such a model holds; nothing is allocated."""
    with torch.device("meta"):
        made = kind(copy.deepcopy(config))
    return {name: x.shape for name, x in made.state_dict().items()}


def _difference(small: nn.Module, loaded: nn.Module, batch: Any) -> tuple[float, float]:
    """The largest difference of the outputs, and the largest output."""
    batch = batch.to(device_of(small))
    outputs: list[Tensor] = []
    for model in (small, loaded):
        with undisturbed(model):
            outputs.append(primary(batch.run(model)).double())
    gap = (outputs[0] - outputs[1]).abs().nan_to_num(nan=float("inf"))
    return float(gap.max()), float(outputs[0].abs().max())
