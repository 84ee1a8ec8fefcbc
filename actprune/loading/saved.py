"""Load a pruned model from the folder it was saved in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from actprune.errors import ActpruneError
from actprune.loading.model import build_model
from actprune.pruning.saved import read_manifest, rebuild


def load(
    folder: str | Path,
    factory: Callable[[], nn.Module] | None = None,
    weights: str | Path | None = None,
) -> nn.Module:
    """The pruned model in evaluation mode, rebuilt from tensors and the manifest alone.

    Args:
        folder: written by `actprune prune`.
        factory: returns the dense model's architecture; a model from the zoo or from Hugging Face
            needs none. What else the manifest names is compared, never run.
        weights: a safetensors file to load instead of the saved one, after your own fine-tuning.

    Raises:
        ActpruneError: if the folder is not complete, or the factory makes another architecture.
    """
    folder = Path(folder)
    spec = read_manifest(folder).model.spec
    if factory is None:
        if not spec.startswith(("zoo:", "hf:")):
            raise ActpruneError(
                f"{folder}: pruned from {spec!r}, which is not run from a file; "
                f"pass factory=, the function that builds the dense model."
            )

        def build() -> nn.Module:
            return build_model(spec)

        factory = build
    model = rebuild(folder, factory, None if weights is None else Path(weights))
    return model.eval()
