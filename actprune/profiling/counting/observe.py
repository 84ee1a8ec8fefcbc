"""One forward pass, seen at every site.

Where consumers read a site's units from different tensors, the positions of all count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.profiling.counting.layout import by_unit, side_by_side
from actprune.running.forward import run_checked
from actprune.running.hooks import watching_inputs
from actprune.sites.site import Site, Slot

See = Callable[[str, Tensor], None]  # (site name, activations [S, U, P])


def observe(
    model: nn.Module, batch: Batch, sites: Iterable[Site], see: See, *, what: str = "the data"
) -> Any:
    """Run one forward pass, call `see` at each site, and return the model's raw output.

    Raises:
        ActpruneError: if the model cannot run on the batch, called `what` in the message.
    """
    with watching_sites(model, sites, see, samples=len(batch)):
        return run_checked(model, batch, what)


@contextmanager
def watching_sites(
    model: nn.Module,
    sites: Iterable[Site],
    see: See,
    *,
    samples: int,
    unless: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Call `see` once at each site in every forward pass of `samples` samples run inside the block,
    less those that run while `unless()` holds."""
    by_consumer: dict[str, list[tuple[Site, Slot]]] = {}
    for site in sites:
        for slot in site.watched:
            by_consumer.setdefault(slot.module, []).append((site, slot))
    waiting: dict[str, list[Tensor]] = {}

    def split(consumer: str, x: Tensor) -> None:
        if unless():
            return
        conv = isinstance(model.get_submodule(consumer), nn.Conv2d)
        for site, slot in by_consumer[consumer]:
            a_SUP = by_unit(site, x, conv_consumer=conv, samples=samples, slot=slot)
            if len(site.watched) == 1:
                see(site.name, a_SUP)
                continue
            if slot == site.watched[0]:
                waiting[site.name] = []  # also after a pass that was broken off
            # a copy: later layers may overwrite the tensor
            waiting.setdefault(site.name, []).append(a_SUP.clone())
            if len(waiting[site.name]) == len(site.watched):
                see(site.name, side_by_side(waiting.pop(site.name)))

    with watching_inputs(model, by_consumer, split):
        yield
