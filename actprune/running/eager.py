"""Whether calling a model calls the hooks that are set on it, once and in order."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn
from torch._C._dynamo.eval_frame import get_eval_frame_callback

from actprune.errors import ActpruneError


def check_calls_hooks(model: nn.Module) -> None:
    """Look at a model, in its wrappers, that is going to be called as it is.

    Raises:
        ActpruneError: if it or a part of it is compiled, since compiled code does not call hooks
            that come later, or if DataParallel copies it into several threads.
    """
    for module in model.modules():
        if isinstance(module, nn.DataParallel):
            raise ActpruneError(
                "The model runs as copies in several threads (DataParallel); use "
                "DistributedDataParallel, or call the module itself."
            )
        if _is_compiled(module) and not _forced_eager():
            raise ActpruneError(
                f"The model is compiled ({type(module).__name__}), and compiled code does not call "
                f"hooks; call the module that was compiled, or run the loop under "
                f"torch.compiler.set_stance('force_eager')."
            )


def check_not_compiling() -> None:
    """Look at the call that a hook is being called from.

    Raises:
        ActpruneError: if it is compiled, by a wrapper around the model that was not given to
            `check_calls_hooks`: the next call might leave the hooks out.
    """
    # the first while the compiler reads the hook, the second once it has given up on it
    if torch.compiler.is_compiling() or get_eval_frame_callback():
        raise ActpruneError(
            "The model is called from compiled code, which does not call hooks reliably; call the "
            "module itself, or run the loop under torch.compiler.set_stance('force_eager')."
        )


def _is_compiled(module: nn.Module) -> bool:
    frames = _frames()
    wrapped = frames is not None and isinstance(module, frames.OptimizedModule)
    return wrapped or module._compiled_call_impl is not None


def _forced_eager() -> bool:
    """Whether torch.compile has been told to run the plain code."""
    return getattr(getattr(_frames(), "_stance", None), "stance", "") == "force_eager"


def _frames() -> Any:
    """Part of the compiler, if it is loaded: else nothing is compiled yet."""
    return sys.modules.get("torch._dynamo.eval_frame")
