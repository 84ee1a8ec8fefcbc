"""Keep torch's fused transformer kernels from going round the layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_open_blocks: list[bool] = []  # of all blocks, what was set before the first one


@contextmanager
def module_by_module() -> Iterator[None]:
    """Within the block nn.TransformerEncoderLayer and nn.MultiheadAttention run layer by layer.

    Outside autograd they may hand all their weights to one fused kernel, which calls no layer's
    forward and which flop counters do not know. Blocks may end in any order, as those of two
    Profilers around one model do: the last one restores what was set before the first.
    """
    before = _open_blocks[-1] if _open_blocks else torch.backends.mha.get_fastpath_enabled()
    _open_blocks.append(before)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        _open_blocks.pop()
        if not _open_blocks:
            torch.backends.mha.set_fastpath_enabled(before)
