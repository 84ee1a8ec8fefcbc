"""Keep torch's fused transformer kernels from going round the layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def module_by_module() -> Iterator[None]:
    """Within the block nn.TransformerEncoderLayer and nn.MultiheadAttention run layer by layer.

    Outside autograd they may hand all their weights to one fused kernel, which calls no layer's
    forward and which flop counters do not know.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
