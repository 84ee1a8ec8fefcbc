"""Work inside a hook of somebody else's forward pass, apart from what is on around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.utils._python_dispatch import _disable_current_modes


@contextmanager
def apart() -> Iterator[None]:
    """No gradients, no inference mode, no autocast (sums would run in half precision) and, as in
    `unrecorded`, nobody who takes down operations inside the block."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(unrecorded())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def unrecorded() -> Iterator[None]:
    """No dispatch mode sees the operations inside the block.

    Selective checkpointing would keep their results and take them for the model's own when it
    computes the pass again, and a FLOP counter would count them.
    """
    if torch._C._len_torch_dispatch_stack():
        with _disable_current_modes():
            yield
    else:
        yield
