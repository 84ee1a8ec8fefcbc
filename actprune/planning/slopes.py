"""How steeply the loss answers to each unit: first-order Taylor scores, one reading of the data.

Shapes: S samples, U units, P positions a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.profiling.counting.layout import by_unit
from actprune.running.evaluate import loss_for
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site


def slopes(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    progress: Callable[[str], None],
) -> Mapping[str, np.ndarray]:
    """Mean over samples of (d loss / d z_u)^2, by site name, float64 [N] each, >= 0.

    z_u = 1 is a factor on unit u where its consumers read it, so d loss / d z_u is the sum over
    consumers and positions of a x d loss / d a (Molchanov et al. 2019, arXiv 1906.10771, whose
    gates behind a batch normalization these are; they square the gradients of minibatches, this
    squares each sample's own, so that the batch size does not matter), d loss / d a being what
    goes through that consumer. The loss is the one that suits the data,
    see `choose_loss`. Gradients come from `torch.autograd.grad`, so no parameter's `.grad` changes.

    Raises:
        ActpruneError: if the data have no labels: a divergence from the dense model has its least
            value there, and no slope; or if no gradient comes through the model.
    """
    if any(b.labels is None for b in batches):
        raise ActpruneError(
            "Criterion 'taylor' needs labels for the gradient of the loss, and the data have none; "
            "give labelled data, or choose another criterion."
        )
    loss = loss_for(model, batches, None)
    totals = {s.name: torch.zeros(s.units, dtype=torch.float64) for s in sites}
    consumers = {c.module for s in sites for c in s.consumers}
    device = device_of(model)
    with undisturbed(model, grad=True):
        for batch in batches:
            moved = batch.to(device)
            read: dict[str, list[Tensor]] = {}
            with _apart(model, consumers, read):
                out = primary(moved.run(model))
            slope = _gradients(loss.per_sample(out, out.detach(), moved.labels).sum(), read)
            for site in sites:
                sums_SU = 0
                for slot in site.consumers:
                    conv = isinstance(linear_or_conv(model, slot.module), nn.Conv2d)
                    for x, g in zip(read[slot.module], slope[slot.module], strict=True):
                        product = x.detach().double() * g.double()
                        product_SUP = by_unit(
                            site, product, conv_consumer=conv, samples=len(batch), slot=slot
                        )
                        sums_SU = sums_SU + product_SUP.sum(2)
                assert isinstance(sums_SU, Tensor)
                totals[site.name] += sums_SU.square().sum(0).cpu()
            progress("gradients")
    samples = sum(map(len, batches))
    return {name: (total / samples).numpy() for name, total in totals.items()}


@contextmanager
def _apart(
    model: nn.Module, consumers: Iterable[str], read: dict[str, list[Tensor]]
) -> Iterator[None]:
    """Give each consumer a copy of its input, so that gradients tell apart what goes through it
    from what goes past it, and note the copies."""

    def copying(name: str, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        own = args[0].clone()
        read.setdefault(name, []).append(own)
        return (own, *args[1:])

    with ExitStack() as hooks:
        for name in consumers:
            layer = model.get_submodule(name)
            hooks.callback(layer.register_forward_pre_hook(partial(copying, name)).remove)
        yield


def _gradients(total: Tensor, read: Mapping[str, list[Tensor]]) -> dict[str, list[Tensor]]:
    """The gradient of `total` in every tensor of `read`, in the same places."""
    every = [x for found in read.values() for x in found]
    if not total.requires_grad or not all(x.requires_grad for x in every):
        raise ActpruneError(
            "Criterion 'taylor' needs gradients, and the model's forward gives none (it runs under "
            "no_grad, or detaches); choose another criterion."
        )
    gradients = iter(torch.autograd.grad(total, every, allow_unused=True, materialize_grads=True))
    return {name: [next(gradients) for _ in found] for name, found in read.items()}
