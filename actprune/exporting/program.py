"""A model as a graph of torch's own operators, with a batch axis of any size."""

from __future__ import annotations

import copy
import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils._pytree import tree_leaves

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.forward import in_one_line, run_checked
from actprune.running.state import undisturbed
from actprune.running.wrapped import at_hand

PRECISE = (torch.float32, torch.float64)  # in less, equality to LIMIT is not to be had


class TensorsOnly(nn.Module):
    """A model whose output is a plain tuple: what comes out of it needs no library's classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

        def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
            return tuple(tensors(self.model(*args, **kwargs)))

        # torch.export reads inputs' names here, and fails on shapes for **kwargs (torch 2.13)
        forward.__signature__ = inspect.signature(model.forward)  # pyright: ignore
        self.forward = forward


def tensors(output: Any) -> list[Tensor]:
    """Every tensor of an output, however nested, in order."""
    return [x for x in tree_leaves(_opened(output)) if isinstance(x, Tensor)]


def prepared(model: nn.Module, batch: Batch) -> nn.Module:
    """A copy of `model` on the CPU in evaluation mode, whose output is made of plain containers.

    Raises:
        ActpruneError: as `at_hand`, if a tensor is of less precision than float32, or the model
            does not run on `batch`.
    """
    model = at_hand(model)
    for name, x in model.state_dict().items():
        if x.is_floating_point() and x.dtype not in PRECISE:
            raise ActpruneError(
                f"{name} is {str(x.dtype).removeprefix('torch.')}: exports are checked against "
                f"torch in float32 or float64; give model.float()."
            )
    plain = copy.deepcopy(model).cpu().eval()
    with undisturbed(plain):
        output = run_checked(plain, batch.select(torch.arange(1)))
    return plain if _is_plain(output) else TensorsOnly(plain).eval()


def program_of(plain: nn.Module, batch: Batch) -> ExportedProgram:
    """The graph of a `prepared` model; it holds no sample of `batch`.

    Raises:
        ActpruneError: if torch.export cannot trace it for batches of any size.
    """
    # two samples: torch.export takes an axis of size 1 for a constant
    example = batch.select(torch.arange(2) % len(batch))
    shapes = ShapesCollection()
    for x in (*example.args, *example.kwargs.values()):
        if isinstance(x, Tensor) and x.ndim:
            shapes[x] = {0: Dim.DYNAMIC}
    try:
        with torch.inference_mode(False), torch.enable_grad(), quiet():
            program = torch.export.export(
                plain,
                example.args,
                dict(example.kwargs),
                dynamic_shapes=shapes,  # pyright: ignore[reportArgumentType]  # as documented
                strict=False,
            )
    except Exception as e:  # whatever the user's forward or torch raises
        raise ActpruneError(
            f"The model cannot be exported for batches of any size: {in_one_line(e)}; let its "
            f"forward branch on no tensor's values and fix no batch size."
        ) from e
    for size, bounds in program.range_constraints.items():
        # torch assumes 2 or more and still takes 1, which `export` checks by running it
        if int(bounds.lower) > 2 or bounds.upper < 2**31:
            raise ActpruneError(
                f"The model cannot be exported for batches of any size: its forward treats those "
                f"of {bounds.lower} to {bounds.upper} samples apart ({size}); let it fix no batch "
                f"size."
            )
    program.example_inputs = None  # else the user's data would travel with the file
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's notes on packages it could use and on its own deprecations; an error that
    matters is raised."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _is_plain(output: Any) -> bool:
    if type(output) in (tuple, list):
        return all(_is_plain(x) for x in output)
    if type(output) is dict:
        return all(_is_plain(x) for x in output.values())
    return isinstance(output, Tensor)


def _opened(output: Any) -> Any:
    """Mappings and sequences of any class as plain ones."""
    if isinstance(output, Tensor) or output is None:
        return output
    if hasattr(output, "items"):
        return [_opened(x) for _, x in output.items()]
    if isinstance(output, (tuple, list)):
        return [_opened(x) for x in output]
    return output
