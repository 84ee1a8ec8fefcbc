"""Sizes of activations that no profile carries: one reading of the data for all sites.

Shapes: S samples, U units, P positions a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.planning.criteria import Sizes
from actprune.profiling.counting.layout import by_unit
from actprune.running.hooks import watching_inputs
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site, Slot


def sizes(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    progress: Callable[[str], None],
) -> Mapping[str, Sizes]:
    """Sizes of the units' activations in the dense model, by site name, over all tensors that its
    consumers read."""
    sums = {s.name: torch.zeros(3, s.units, dtype=torch.float64) for s in sites}
    positions = dict.fromkeys(sums, 0)
    by_consumer: dict[str, list[tuple[Site, Slot]]] = {}
    for site in sites:
        for slot in site.watched:
            by_consumer.setdefault(slot.module, []).append((site, slot))
    device = device_of(model)
    with undisturbed(model):
        for batch in batches:

            def see(name: str, x: Tensor, samples: int = len(batch)) -> None:
                conv = isinstance(linear_or_conv(model, name), nn.Conv2d)
                for site, slot in by_consumer[name]:
                    a_SUP = by_unit(site, x, conv_consumer=conv, samples=samples, slot=slot)
                    a_SUP = a_SUP.double().abs()
                    sums[site.name][0] += a_SUP.sum((0, 2)).cpu()
                    sums[site.name][1] += a_SUP.mean(2).square().sum(0).cpu()
                    sums[site.name][2] += (a_SUP > 0).sum((0, 2)).cpu()
                    positions[site.name] += a_SUP.shape[0] * a_SUP.shape[2]

            with watching_inputs(model, by_consumer, see):
                batch.to(device).run(model)
            progress("sizes of activations")
    return {
        name: Sizes(
            mean_abs=(total / positions[name]).numpy(),
            sample_norm=squares.sqrt().numpy(),
            nonzero=(nonzero / positions[name]).numpy(),
        )
        for name, (total, squares, nonzero) in sums.items()
    }
