"""Bounds on every unit of every site, for all inputs of a box at once (interval propagation).

The bounds hold for the network in real numbers and for the one that the machine computes in its own
precision, in any order of summation (rounding.py). Gowal et al., arXiv 1810.12715, section 3, in
the form centre and radius; the margins for rounding are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.exact.box import Box, only_input
from actprune.exact.interval import Following, Interval, Path, StoppedError
from actprune.exact.sums import RULES, STRUCTURAL
from actprune.running.fastpath import module_by_module
from actprune.running.forward import in_one_line
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.sites.site import Site, Slot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteBounds:
    """What holds for the units of one site on the whole box.

    low, high: float64 [units], over all positions of what the consumers read.
    always: bool [units], above zero at every position where they enter the ReLU.
    path: the operations between producer and consumer, or None where they are not known.
    fixed: float64 [inputs of the producer], the one value that an input has on the box, else NaN.
    """

    low: Tensor
    high: Tensor
    always: Tensor
    path: Path | None
    fixed: Tensor

    @property
    def never(self) -> Tensor:
        """bool [units]: proved never active."""
        return (self.low == 0) & (self.high == 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proof:
    """Bounds per site name, and what ended the proof for sites that have none."""

    sites: Mapping[str, SiteBounds]
    stopped: str | None  # the first operation without a rule, or what the forward pass did


def prove(model: nn.Module, sites: Sequence[Site], example: Batch, box: Box | None) -> Proof:
    """Bounds on the units of `sites` for every input in `box`; without a box, for any input.

    Args:
        example: at least one sample, for its shape. The code of the forward pass may depend on
            shapes, not on values: where it does, the proof stops there.
    """
    x = only_input(example)
    if x is None:
        return Proof(sites={}, stopped="the model has other inputs than one of numbers")
    one = x[:1].detach()
    if box is None:
        low = torch.full(one.shape, -torch.inf, dtype=torch.float64, device=one.device)
        high = -low
    else:
        low, high = (b[None].to(one.device).clone() for b in box.bounds)
    read: dict[str, list[SiteBounds]] = {s.name: [] for s in sites}
    inputs: dict[str, Tensor] = {}
    following = Following(RULES, STRUCTURAL)

    def watch(model: nn.Module) -> list[Any]:
        handles = []
        for site in sites:
            producer = model.get_submodule(site.producer.module)
            handles += [
                producer.register_forward_pre_hook(_seeing_inputs(site, producer, inputs)),
                producer.register_forward_hook(_naming(site, following)),
            ]
            for slot in site.consumers:
                consumer = model.get_submodule(slot.module)
                reading = _reading(site, slot, inputs, following, read[site.name])
                handles.append(consumer.register_forward_pre_hook(reading))
        return handles

    _, stopped = _follow(model, example, Interval(low, high, one), following, watch)
    found = {
        s.name: _together(read[s.name])
        for s in sites
        if len(read[s.name]) == len(s.consumers)  # the pass came to all that read its units
    }
    return Proof(sites=found, stopped=stopped)


def enclosure(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor] | str:
    """low, high: float64, between which the model's output on `batch` lies, whatever rounding does;
    or what the bounds could not follow.

    Any network whose weights differ from the model's by `rounding.WEIGHTS` / 2 units of rounding,
    in each weight, has its outputs there too.
    """
    x = only_input(batch.to(device_of(model)))
    if x is None:
        return "the model has other inputs than one of numbers"
    at = x.detach().double()
    following = Following(RULES, STRUCTURAL)
    out, stopped = _follow(model, batch, Interval(at, at.clone(), x), following, lambda m: [])
    if isinstance(out, Interval) and bool((out.high - out.low).isfinite().all()):
        return out.low, out.high
    return stopped or "the bounds are not finite"


def _follow(
    model: nn.Module,
    batch: Batch,
    x: Interval,
    following: Following,
    watch: Callable[[nn.Module], list[Any]],
) -> tuple[Tensor | None, str | None]:
    """The output that the model gives for `x` in the place of the batch's input, and what stopped
    or weakened the bounds."""

    def put(v: Any) -> Any:
        return x if isinstance(v, Tensor) else v

    given = replace(
        batch, args=tuple(map(put, batch.args)), kwargs={k: put(v) for k, v in batch.kwargs.items()}
    )
    with undisturbed(model), module_by_module():
        handles = watch(model)
        try:
            with following:
                out = primary(given.run(model))
        except StoppedError as e:
            return None, str(e)
        except Exception as e:  # the user's own forward may raise anything on such a tensor
            return None, in_one_line(e)
        finally:
            for handle in handles:
                handle.remove()
    return out, following.unknown


def _together(read: Sequence[SiteBounds]) -> SiteBounds:
    """What holds at all consumers of a site at once; of several, no path is known."""
    if len(read) == 1:
        return read[0]
    return replace(
        read[0],
        low=torch.stack([b.low for b in read]).amin(0),
        high=torch.stack([b.high for b in read]).amax(0),
        always=torch.stack([b.always for b in read]).all(0),
        path=None,
    )


def _naming(site: Site, following: Following) -> Callable[..., None]:
    """Say whose units the producer's output holds."""

    def hook(_module: nn.Module, _args: Any, out: Any) -> None:
        if isinstance(out, Interval):
            following.note_paths(out, {site.name: ()})

    return hook


def _seeing_inputs(site: Site, layer: nn.Module, inputs: dict[str, Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(args[0], Interval):
            low, high = _extremes(args[0], layer)
            fixed = low == high
            if isinstance(layer, nn.Conv2d):  # padding adds zeros: only a zero is the same there
                fixed = fixed & (low == 0)
            inputs[site.name] = torch.where(fixed, low, torch.nan).cpu()

    return hook


def _reading(
    site: Site,
    slot: Slot,
    inputs: dict[str, Tensor],
    following: Following,
    read: list[SiteBounds],
) -> Callable[..., None]:
    def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0]
        if not isinstance(x, Interval) or site.name not in inputs:
            return
        columns = slot.index(range(site.units))
        low, high = (b.cpu()[columns].reshape(site.units, -1) for b in _extremes(x, layer))
        path = following.paths(x).get(site.name)
        always = torch.zeros(site.units, dtype=torch.bool)
        before = following.before_relu.get(site.name)
        if path is not None and "relu" not in path:
            always[:] = True  # nothing but linear operations so far as the path is known
        elif before is not None:
            axis = 1 if site.kind == "conv" else before.ndim - 1
            if before.shape[axis] == site.units:
                always = (before.transpose(0, axis).flatten(1).amin(1) > 0).cpu()
        read.append(
            SiteBounds(
                low=low.amin(1),
                high=high.amax(1),
                always=always,
                path=path,
                fixed=inputs[site.name],
            )
        )

    return hook


def _extremes(x: Interval, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Lowest and highest over all positions of each column that `layer` reads."""
    axis = 1 if isinstance(layer, nn.Conv2d) else x.ndim - 1
    low, high = (b.transpose(0, axis).flatten(1) for b in (x.low, x.high))
    return low.amin(1), high.amax(1)
