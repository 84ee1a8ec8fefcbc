"""Which of an operation's implementations runs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from actprune.errors import ActpruneError

Backend = Literal["auto", "naive", "eager", "native", "triton"]
KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # exact in float32


def check_activations(x_SUP: Tensor) -> None:
    """Raise ActpruneError unless the tensor is a floating [samples, units, positions >= 1]."""
    if x_SUP.ndim != 3 or not x_SUP.is_floating_point() or x_SUP.shape[-1] == 0:
        raise ActpruneError(
            f"Expected floating activations of shape [samples, units, positions >= 1], "
            f"got {x_SUP.dtype} {tuple(x_SUP.shape)}."
        )


def choose(x: Tensor, backend: Backend) -> Literal["naive", "eager", "native", "triton"]:
    """Triton for CUDA tensors that are exact in float32, plain PyTorch for all others.

    "native", compiled C for the CPU, is taken only when asked for: who asks knows whether there is
    work enough to repay the compiler.

    Raises:
        ActpruneError: if a backend is asked for by name and cannot run, or does not exist.
    """
    if backend == "auto":
        fits = x.is_cuda and x.dtype in KERNEL_DTYPES and find_spec("triton") is not None
        return "triton" if fits else "eager"
    if backend not in get_args(Backend):
        raise ActpruneError(f"backend must be one of {get_args(Backend)}, got {backend!r}.")
    if backend == "triton":
        if x.dtype not in KERNEL_DTYPES:
            raise ActpruneError(f"The Triton kernels take no {x.dtype}; use backend='auto'.")
        if find_spec("triton") is None:
            raise ActpruneError("backend='triton' needs Triton, not installed; use 'auto'.")
        if not x.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
            raise ActpruneError(
                f"The Triton kernels need a CUDA tensor (or TRITON_INTERPRET=1), got one on "
                f"{x.device}; use backend='auto'."
            )
    return backend
