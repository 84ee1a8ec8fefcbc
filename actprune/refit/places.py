"""Which layers get new weights, in running order, and what stands behind each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from actprune.data.batch import Batch
from actprune.running.hooks import changing_outputs
from actprune.running.joins import norm_factor, tapping
from actprune.running.outputs import primary
from actprune.sites.calls import observe_calls
from actprune.sites.proposed import sharing

OUTPUTS = 16_384  # beyond it, as in the head of a language model, targets would not fit in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One layer to be fitted.

    joins: its output is added into a residual stream, perhaps through batch normalizations.
    norm: the batch normalization straight behind it, which can take up a change of its bias.
    intercept: its bias may change: it has one, or `norm` takes it up, or it loses inputs and has no
    batch normalization behind it, so that costs reckon with a new bias.
    """

    name: str
    joins: bool
    norm: str | None
    intercept: bool


def find_places(
    model: nn.Module, batch: Batch, consumers: Collection[str], *, downstream: bool
) -> list[Place]:
    """The consumers that lose inputs, in running order; with `downstream` also the layers that run
    after the first of them and are plain enough to be fitted: a Linear or Conv2d, grouped or not,
    with weights of its own that runs once."""
    calls = observe_calls(model, batch)
    order = [name for name in calls if name in consumers]
    assert len(order) == len(consumers)
    if downstream and order:
        later = list(calls)[list(calls).index(order[0]) :]
        shared = sharing(model)
        once = {n for n in later if calls[n].count == 1 and not calls[n].by_keyword}
        order = [
            name
            for name in later
            if name in consumers or (name in once - shared and _plain(model.get_submodule(name)))
        ]
    names = {module: name for name, module in model.named_modules()}
    few = batch.select(torch.arange(min(len(batch), 2)))
    places = []
    for name in order:
        with tapping(model, name) as tap:
            few.run(model)
        behind = names[tap.norms[0]] if tap.norms else None
        takes_up = behind is not None and _takes_up(model, few, name, behind)
        biased = model.get_submodule(name).bias is not None
        places.append(
            Place(
                name=name,
                joins=tap.total is not None,
                norm=behind if takes_up else None,
                intercept=biased or takes_up or (name in consumers and behind is None),
            )
        )
    return places


def _plain(module: nn.Module) -> bool:
    if type(module).forward not in (nn.Linear.forward, nn.Conv2d.forward):
        return False
    if parametrize.is_parametrized(module):
        return False
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        return False
    weight = module._parameters.get("weight")
    return weight is not None and weight.is_floating_point() and len(weight) <= OUTPUTS


def _takes_up(model: nn.Module, batch: Batch, layer: str, norm: str) -> bool:
    """Whether a shift of the layer's outputs is the same as one of the normalization's mean: so it
    is unless the outputs are also read elsewhere, or the normalization reads others too."""
    width = len(model.get_submodule(layer).get_parameter("weight"))
    random = torch.Generator().manual_seed(0)

    def by_channel(out: Tensor, shift: Tensor) -> Tensor:
        axis = 1 if out.ndim > 2 else -1  # as a batch normalization reads it
        shape = [1] * out.ndim
        shape[axis] = -1
        return shift.to(out).reshape(shape)

    spread = []

    def see(_name: str, _x: Tensor, out: Tensor) -> None:
        spread.append(out.detach().std())

    def shifted(at: str, shift: Tensor) -> Tensor:
        def add(_name: str, _x: Tensor, out: Tensor) -> Tensor:
            return out + by_channel(out, shift)

        with changing_outputs(model, [at], add):
            return primary(batch.run(model)).double()

    with changing_outputs(model, [layer], see):
        plain = primary(batch.run(model)).double()
    shift = torch.randn(width, generator=random) * spread[0].cpu()
    factor = norm_factor(model.get_submodule(norm))
    before, behind = shifted(layer, shift), shifted(norm, shift.to(factor) * factor)
    moved = (before - plain).abs().max()
    # the two agree to rounding, which grows with depth; a shift read elsewhere differs by its size
    return bool(moved > 0 and (before - behind).abs().max() <= 1e-2 * moved)
