"""A pruned model on disk: tensors in safetensors, and what was kept in actprune.json."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from actprune.errors import ActpruneError
from actprune.files import write_atomically
from actprune.planning.result import Frozen, ModelRef, Plan
from actprune.pruning.surgery import add_biases, shrink
from actprune.running.wrapped import at_hand, unwrapped
from actprune.sites.cut import Cut
from actprune.sites.site import Site

MANIFEST, WEIGHTS = "actprune.json", "model.safetensors"
BEFORE_HEALING = "before_healing.safetensors"  # the weights that the forecast is of


class KeptSite(Frozen):
    site: Site
    kept: tuple[int, ...]


class Manifest(Frozen):
    """Enough to rebuild the pruned model from the original factory."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: ModelRef  # the dense model
    architecture: str  # class of the dense model, compared when loading
    sites: tuple[KeptSite, ...]  # those that lost units
    new_biases: tuple[str, ...]  # layers that had no bias and got one
    weights_digest: str


def save_pruned(small: nn.Module, dense: nn.Module, plan: Plan, folder: Path) -> None:
    """Write model.safetensors and actprune.json into `folder`; raises as `at_hand`."""
    small, dense = at_hand(small), unwrapped(dense)
    content = _content(small)
    manifest = Manifest(
        model=plan.model,
        architecture=type(dense).__qualname__,
        sites=tuple(
            KeptSite(site=p.site, kept=p.kept) for p in plan.sites if p.site.name in plan.cut.kept
        ),
        new_biases=tuple(
            name
            for name, layer in dense.named_modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
            and layer.bias is None
            and small.get_submodule(name).bias is not None
        ),
        weights_digest=hashlib.blake2b(content, digest_size=16).hexdigest(),
    )
    write_atomically(folder / WEIGHTS, content)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(by_alias=True, indent=1))


def save_weights(small: nn.Module, path: Path) -> None:
    """Write other weights of the same pruned model to `path`, to be loaded in place of its own."""
    write_atomically(path, _content(at_hand(small)))


def _content(small: nn.Module) -> bytes:
    state = {  # cloned: safetensors refuses tensors that are views of one another
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format)
        for k, v in _distinct(small).items()
    }
    return save(state, metadata={"format": "pt"})


def read_manifest(folder: Path) -> Manifest:
    """Read actprune.json; raises ActpruneError if it is missing or not valid."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as e:
        raise ActpruneError(
            f"{path}: cannot be read ({e.strerror}); give a folder written by `actprune prune`."
        ) from e
    except ValidationError as e:
        fault = e.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "document"
        raise ActpruneError(f"{path}: not a valid manifest: {place}: {fault['msg']}.") from e


def rebuild(folder: Path, build: Callable[[], nn.Module], weights: Path | None = None) -> nn.Module:
    """The pruned model: `build()` cut to the manifest's shapes, with the saved tensors.

    Args:
        folder: written by `save_pruned`.
        build: returns the dense architecture, with any weights.
        weights: a safetensors file to load instead, for instance after fine-tuning.

    Raises:
        ActpruneError: if files are missing or damaged, or `build` makes another architecture.
    """
    manifest = read_manifest(folder)
    model = build()
    if not isinstance(model, nn.Module) or type(model).__qualname__ != manifest.architecture:
        raise ActpruneError(
            f"{folder}: saved from a {manifest.architecture}, but the factory returns a "
            f"{type(model).__qualname__}; pass the factory of the dense model."
        )
    sites = [k.site for k in manifest.sites]
    cut = Cut(kept={k.site.name: k.kept for k in manifest.sites})
    try:
        add_biases(model, manifest.new_biases)
        shrink(model, sites, cut, {})
    except (AttributeError, IndexError, RuntimeError) as e:
        raise ActpruneError(
            f"{folder}: the factory's model does not have the layers that were pruned "
            f"({type(e).__name__}: {e})."
        ) from e
    _load(model, weights or folder / WEIGHTS, None if weights else manifest.weights_digest)
    return model


def _load(model: nn.Module, path: Path, digest: str | None) -> None:
    try:
        if digest and hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() != digest:
            raise ActpruneError(
                f"{path}: not the file that was saved with {MANIFEST}; pass your own weights "
                f"with weights=."
            )
        state = load_file(str(path))
    except (OSError, SafetensorError) as e:
        raise ActpruneError(f"{path}: not a readable safetensors file ({e}).") from e
    wanted = model.state_dict()
    distinct = _distinct(model)
    shared = {k for k in wanted if k not in distinct}
    for name, tensor in state.items():
        if name in wanted and wanted[name].shape != tensor.shape:
            raise ActpruneError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the pruned model needs "
                f"{tuple(wanted[name].shape)}."
            )
    missing, unexpected = model.load_state_dict(state, strict=False)
    lacking = [k for k in missing if k not in shared]
    if lacking or unexpected:
        raise ActpruneError(
            f"{path}: tensors do not fit the pruned model; missing {lacking[:3]}, "
            f"unexpected {list(unexpected)[:3]}."
        )


def _distinct(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with tensors shared between names stored once, under the first."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor
    return state
