"""A model's identity: the names, shapes, types and bytes of its tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from actprune.running.offloaded import value_of


def model_hash(model: nn.Module) -> str:
    """32 hex digits of the state dict, independent of device and of requires_grad flags.

    Weights that are off-loaded are read where they are, one after the other.

    Raises:
        ActpruneError: if a tensor has no values: it is on the meta device, and off-loaded nowhere.
    """
    digest = hashlib.blake2b(digest_size=16)
    for entry, value in sorted(model.state_dict().items()):
        for name, tensor in _tensors(entry, value):
            data = value_of(model, name, tensor).detach().cpu().contiguous()
            digest.update(f"{name}|{data.dtype}|{tuple(data.shape)}|".encode())
            digest.update(data.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in an entry of a state dict; quantized layers pack several into one."""
    if isinstance(value, Tensor):
        yield name, value.dequantize() if value.is_quantized else value
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            yield from _tensors(f"{name}.{i}", part)
