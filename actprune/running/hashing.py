"""A model's identity: the names, shapes, types and bytes of its tensors."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def model_hash(model: nn.Module) -> str:
    """32 hex digits of the state dict, independent of device and of requires_grad flags."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{data.dtype}|{tuple(data.shape)}|".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
