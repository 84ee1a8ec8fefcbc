"""The model that a spec names."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from actprune.errors import ActpruneError
from actprune.loading.converted import is_gguf, load_converted
from actprune.loading.hf import FromFolder, load_hf
from actprune.loading.resolve import call, resolve
from actprune.loading.specs import check_form
from actprune.loading.tokenizer import Tokenizer, tokenizer_for
from actprune.loading.weights import load_weights
from actprune.zoo import trained
from actprune.zoo.registry import find, find_package
from actprune.zoo.training import isolated

SCHEMES = ("zoo", "hf")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare models
class LoadedModel:
    """A model, and where it comes from."""

    model: nn.Module
    spec: str  # in normal form: equal for two ways of writing the same thing
    notes: tuple[str, ...]  # what was done to make the weights fit, one line each
    open_tokenizer: Callable[[], Any] | None = None  # takes seconds; None where there is none

    def tokenizer(self) -> Tokenizer:
        """How text becomes this model's tokens.

        Raises:
            ActpruneError: if the model has no tokenizer, or it cannot be loaded.
        """
        if self.open_tokenizer is None:
            raise ActpruneError(
                f"{self.spec}: has no tokenizer, so text cannot be read; let the factory set the "
                f"model's attribute 'tokenizer', or give token ids as npz:FILE."
            )
        return tokenizer_for(self.model, self.open_tokenizer(), self.spec)


def load_model(spec: str, weights: Path | None = None) -> LoadedModel:
    """Load the model that `spec` names.

    Args:
        spec: `zoo:NAME` or `zoo:NAME@SEED` (trained on the spot where it is not cached, or
            fetched before), `hf:FOLDER` or `hf:ID` (see `load_hf`), or `FILE.py:NAME` or
            `PACKAGE.MODULE:NAME` where NAME is an nn.Module (which is copied) or can be called
            without arguments and returns one. Its code is run. The module's attribute `tokenizer`,
            if it has one, reads text (see `tokenizer_for`).
        weights: a file to take the weights from: .safetensors, .pt, .pth or .th.

    Raises:
        ActpruneError: if the spec names no model, its code fails, or the weights do not fit it.
    """
    made = _make(spec, train=weights is None)
    if weights is None:
        return made
    return dataclasses.replace(made, notes=load_weights(made.model, Path(weights)))


def build_model(spec: str) -> nn.Module:
    """The architecture that `spec` names, to load other weights into: nothing is trained or read.

    Raises:
        ActpruneError: as `load_model`.
    """
    return _make(spec, train=False).model


def _make(spec: str, *, train: bool) -> LoadedModel:
    if spec.startswith("zoo:"):
        return _from_zoo(spec, train=train)
    if spec.startswith("hf:"):
        return _of(load_hf(spec.removeprefix("hf:"), spec, with_weights=train), spec)
    check_form(spec, "a model", SCHEMES)
    found = resolve(spec)
    if isinstance(found.value, nn.Module):
        return _from_factory(copy.deepcopy(found.value), found.spec)
    model = call(found)
    if not isinstance(model, nn.Module):
        raise ActpruneError(
            f"{found.spec}: expected a torch.nn.Module, but calling it returned "
            f"{type(model).__name__}."
        )
    return _from_factory(model, found.spec)


def _from_zoo(spec: str, *, train: bool) -> LoadedModel:
    if package := find_package(spec):
        named = f"zoo:{package.name}"
        if is_gguf(package.digests):
            return _of(load_converted(package, with_weights=train), named)
        return _of(load_hf(str(package.path()), named, with_weights=train), named)
    entry, seed = find(spec)
    seed = seed or 0
    normalized = f"zoo:{entry.name}@{seed}" if seed else f"zoo:{entry.name}"
    if train:
        return LoadedModel(model=trained(entry, seed), spec=normalized, notes=())
    with isolated(seed):
        return LoadedModel(model=entry.build().eval(), spec=normalized, notes=())


def _of(found: FromFolder, spec: str) -> LoadedModel:
    return LoadedModel(
        model=found.model, spec=spec, notes=found.notes, open_tokenizer=found.open_tokenizer
    )


def _from_factory(model: nn.Module, spec: str) -> LoadedModel:
    tokenizer = getattr(model, "tokenizer", None)
    opens = None if tokenizer is None else lambda: tokenizer
    return LoadedModel(model=model, spec=spec, notes=(), open_tokenizer=opens)
