"""Means and covariances of what the consumers of sites read, one reading of the data for all.

Shapes: P columns of a site at one consumer (units x taps or repeats), R rows (samples and drawn
positions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.refit.design import inputs, taps
from actprune.refit.moments import Folds
from actprune.refit.rows import draw_positions
from actprune.running.hooks import watching_inputs
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site, Slot


def read_columns(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None],
) -> Mapping[str, Mapping[str, Folds]]:
    """The moments of every site's columns in the dense model, without targets and on the CPU, by
    site and consumer, of the rows that `draw_positions` draws.

    Args:
        seed: of the profile, which decides each sample's part.
    """
    device, samples = device_of(model), sum(map(len, batches))
    sums: dict[tuple[str, str], Folds] = {}
    by_consumer: dict[str, list[tuple[Site, Slot]]] = {}
    for site in sites:
        for slot in site.consumers:
            by_consumer.setdefault(slot.module, []).append((site, slot))
    now: list[tuple[int, Batch]] = []

    def see(name: str, x: Tensor) -> None:
        index, batch = now[-1]
        layer = linear_or_conv(model, name)
        of_each = _positions(layer, x, len(batch))
        for site, slot in by_consumer[name]:
            entry = slot.index(range(site.units))
            at = draw_positions(
                of_each, samples, len(entry) * taps(layer),
                seed=seed, layer=f"{name}/{site.name}", batch=index,
            )  # fmt: skip
            a_RP = inputs(layer, x, entry, at=at, samples=len(batch))
            selecting_R = in_parts(batch.ids, seed, Part.SELECT).repeat_interleave(
                len(a_RP) // len(batch)
            )
            folds = sums.setdefault((site.name, name), Folds())
            for chosen in (False, True):
                here = a_RP[(selecting_R == chosen).to(a_RP.device)]
                if len(here):
                    folds.add(here, here[:, :0], selecting=chosen)

    with undisturbed(model), watching_inputs(model, by_consumer, see):
        for index, batch in enumerate(batches):
            now.append((index, batch))
            batch.to(device).run(model)
            progress("covariances")

    return {
        site.name: {slot.module: sums[site.name, slot.module].cpu() for slot in site.consumers}
        for site in sites
    }


def _positions(layer: nn.Linear | nn.Conv2d, x: Tensor, samples: int) -> int:
    """Output positions of each sample, from the layer's input."""
    if isinstance(layer, nn.Linear):
        return x.numel() // (samples * x.shape[-1])
    with torch.no_grad():
        one = nn.functional.conv2d(
            x[:1, :1], x.new_zeros(1, 1, *layer.kernel_size),
            stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
        )  # fmt: skip
    return one.numel()
