"""Covariances of units that several consumers read, from one reading of the data.

Shapes: N units, T tensors that the consumers read, R rows (samples and positions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.ops.gram import add_gram
from actprune.profiling.counting.layout import by_unit
from actprune.refit.moments import covariance
from actprune.running.hooks import watching_inputs
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site, Slot


def covariances_apart(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    progress: Callable[[str], None],
) -> Mapping[str, Tensor]:
    """Covariance of every site's units in the dense model, float64 [N * T, N * T]: a unit has a
    column for each tensor read, and what different ones read is taken as unrelated, since each
    consumer is refitted on its own."""
    device = device_of(model)
    sums: dict[tuple[str, int], tuple[Tensor, Tensor, int]] = {}
    by_consumer: dict[str, list[tuple[Site, Slot]]] = {}
    for site in sites:
        for slot in site.watched:
            by_consumer.setdefault(slot.module, []).append((site, slot))

    def see(name: str, x: Tensor) -> None:
        conv = isinstance(linear_or_conv(model, name), nn.Conv2d)
        for site, slot in by_consumer[name]:
            a_SUP = by_unit(site, x, conv_consumer=conv, slot=slot)
            a_RU = a_SUP.transpose(1, 2).flatten(0, 1).double()
            n, key = site.units, (site.name, slot.tensor)
            xx, total, rows = sums.get(key) or (a_RU.new_zeros(n, n), a_RU.new_zeros(n), 0)
            add_gram(xx, a_RU)
            sums[key] = (xx, total + a_RU.sum(0), rows + len(a_RU))

    with undisturbed(model), watching_inputs(model, by_consumer, see):
        for batch in batches:
            batch.to(device).run(model)
            progress("covariances")
    found = {key: covariance(*x).cpu() for key, x in sums.items()}
    return {s.name: _side_by_side([found[s.name, c.tensor] for c in s.watched]) for s in sites}


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Covariances [N, N] of T tensors as one [N * T, N * T], a unit's columns together."""
    if len(parts) == 1:
        return parts[0]
    n, t = len(parts[0]), len(parts)
    whole_NTNT = torch.zeros(n, t, n, t, dtype=torch.float64)
    for i, part in enumerate(parts):
        whole_NTNT[:, i, :, i] = part
    return whole_NTNT.reshape(n * t, n * t)
