"""The model that a spec names."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from actprune.errors import ActpruneError
from actprune.loading.resolve import call, resolve
from actprune.loading.specs import check_form
from actprune.loading.weights import load_weights
from actprune.zoo import trained
from actprune.zoo.registry import find
from actprune.zoo.training import isolated

SCHEMES = ("zoo", "hf")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare models
class LoadedModel:
    """A model, and where it comes from."""

    model: nn.Module
    spec: str  # in normal form: equal for two ways of writing the same thing
    notes: tuple[str, ...]  # what was done to make the weights fit, one line each


def load_model(spec: str, weights: Path | None = None) -> LoadedModel:
    """Load the model that `spec` names.

    Args:
        spec: `zoo:NAME` or `zoo:NAME@SEED` (trained on the spot where it is not cached), or
            `FILE.py:NAME` or `PACKAGE.MODULE:NAME` where NAME is an nn.Module (which is copied)
            or can be called without arguments and returns one. Its code is run.
        weights: a file to take the weights from: .safetensors, .pt, .pth or .th.

    Raises:
        ActpruneError: if the spec names no model, its code fails, or the weights do not fit it.
    """
    model, normalized = _make(spec, train=weights is None)
    notes = () if weights is None else load_weights(model, Path(weights))
    return LoadedModel(model=model, spec=normalized, notes=notes)


def build_model(spec: str) -> nn.Module:
    """The architecture that `spec` names, to load other weights into: a zoo model is not trained.

    Raises:
        ActpruneError: as `load_model`.
    """
    return _make(spec, train=False)[0]


def _make(spec: str, *, train: bool) -> tuple[nn.Module, str]:
    if spec.startswith("zoo:"):
        entry, seed = find(spec)
        seed = seed or 0
        normalized = f"zoo:{entry.name}@{seed}" if seed else f"zoo:{entry.name}"
        if train:
            return trained(entry, seed), normalized
        with isolated(seed):
            return entry.build().eval(), normalized
    if spec.startswith("hf:"):
        raise ActpruneError(
            f"{spec}: this version does not read Hugging Face models yet; write a function that "
            f"returns the model and name it as FILE.py:NAME."
        )
    check_form(spec, "a model", SCHEMES)
    found = resolve(spec)
    if isinstance(found.value, nn.Module):
        return copy.deepcopy(found.value), found.spec
    model = call(found)
    if not isinstance(model, nn.Module):
        raise ActpruneError(
            f"{found.spec}: expected a torch.nn.Module, but calling it returned "
            f"{type(model).__name__}."
        )
    return model, found.spec
