"""Means and covariances of what the consumers of sites read, one reading of the data for all.

Shapes: P columns of a site at one consumer (units x taps or repeats), R rows (samples and drawn
positions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.ops.gram import add_gram
from actprune.refit.design import inputs, taps
from actprune.refit.moments import covariance
from actprune.refit.rows import draw_positions
from actprune.running.hooks import watching_inputs
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site, Slot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Columns:
    """Sums over `rows` rows of the columns x of a site at one consumer, on the CPU in float64."""

    rows: int
    x_P: Tensor
    xx_PP: Tensor

    def __add__(self, other: Columns) -> Columns:
        return Columns(
            rows=self.rows + other.rows, x_P=self.x_P + other.x_P, xx_PP=self.xx_PP + other.xx_PP
        )

    @property
    def mean(self) -> Tensor:
        return self.x_P / self.rows

    @property
    def covariance(self) -> Tensor:
        """Divided by rows, [P, P]; exactly 0 for constant columns."""
        return covariance(self.xx_PP, self.x_P, self.rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Halves:
    """The columns summed apart: of the samples that choose (the select part), and of the rest."""

    rest: Columns | None
    select: Columns | None

    @property
    def fit(self) -> Columns:
        """Without the samples that choose, or all there are."""
        found = self.select if self.rest is None else self.rest
        assert found is not None
        return found

    @property
    def everything(self) -> Columns:
        if self.rest is None or self.select is None:
            return self.fit
        return self.rest + self.select


def read_columns(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None],
) -> Mapping[str, Mapping[str, Halves]]:
    """Every site's columns in the dense model, by site and consumer, on the rows that
    `draw_positions` draws.

    Args:
        seed: of the profile, which decides each sample's part.
    """
    device, samples = device_of(model), sum(map(len, batches))
    sums: dict[tuple[str, str, bool], list] = {}
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
            for chosen in (False, True):
                here = a_RP[(selecting_R == chosen).to(a_RP.device)].double()
                if len(here):
                    p = here.shape[1]
                    empty = [0, here.new_zeros(p), here.new_zeros(p, p)]
                    total = sums.setdefault((site.name, name, chosen), empty)
                    total[0] += len(here)
                    total[1] += here.sum(0)
                    add_gram(total[2], here)

    with undisturbed(model), watching_inputs(model, by_consumer, see):
        for index, batch in enumerate(batches):
            now.append((index, batch))
            batch.to(device).run(model)
            progress("covariances")

    def half(site: Site, slot: Slot, *, chosen: bool) -> Columns | None:
        if (site.name, slot.module, chosen) not in sums:
            return None
        rows, x_P, xx_PP = sums[site.name, slot.module, chosen]
        return Columns(rows=rows, x_P=x_P.cpu(), xx_PP=xx_PP.cpu())

    return {
        site.name: {
            slot.module: Halves(
                rest=half(site, slot, chosen=False), select=half(site, slot, chosen=True)
            )
            for slot in site.consumers
        }
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
