"""Sites whose units can be watched, proved by intervention; a trial cut tells whether they can go.

Proposals are feeds (feeds.py): a producer as wide as what the consumer reads, or two of them, or
one twice as wide. Such a feed is a site if each unit that the consumer reads hangs on its own
output of every producer and on no other. What a feed's consumer reads depends on its own producers
alone, so that one forward pass can try all sites at once.

Shapes: R rows (samples and positions), N units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.fastpath import module_by_module
from actprune.running.forward import run_checked
from actprune.running.hooks import watching_inputs
from actprune.sites.calls import Calls
from actprune.sites.feeds import Feed
from actprune.sites.proof import agree
from actprune.sites.site import Kind, Site, Slot
from actprune.sites.unitwise import unit_by_unit


def watched_sites(
    model: nn.Module, batch: Batch, feeds: Iterable[Feed], calls: Mapping[str, Calls]
) -> list[Site]:
    """The sites among `feeds`, in their order; whether they can be cut is not asked here.

    The model must be in evaluation mode. Empty if it cannot run on the values that take the place
    of its layers' outputs.
    """
    proposed = {s.name: (s, f.rows) for f in feeds if (s := _proposal(f, calls)) is not None}
    try:
        sites = _by_sample(model, batch, [s for s, _ in proposed.values()], calls)
        return unit_by_unit(model, batch, sites, {n: rows for n, (_, rows) in proposed.items()})
    except ActpruneError:
        return []


def _proposal(feed: Feed, calls: Mapping[str, Calls]) -> Site | None:
    """The site that `feed` would be, by its widths and the calls of its layers."""
    n = feed.width
    offsets = {(n,): (0,), (2 * n,): (0, n), (n, n): (0, 0)}.get(feed.widths)
    layers = (*feed.makers, feed.consumer)
    once = all(name in calls and calls[name].count == 1 for name in layers)
    if offsets is None or n < 2 or not once or calls[feed.consumer].by_keyword:
        return None
    makers = feed.makers if len(feed.makers) == len(offsets) else feed.makers * len(offsets)
    kind: Kind = "linear" if len(offsets) == 1 else "gated"
    producers = (
        Slot(module=m, role="producer", offset=o) for m, o in zip(makers, offsets, strict=True)
    )
    consumer = Slot(module=feed.consumer, role="consumer")
    return Site(name=feed.makers[0], kind=kind, units=n, slots=(*producers, consumer))


def _by_sample(
    model: nn.Module, batch: Batch, sites: Sequence[Site], calls: Mapping[str, Calls]
) -> list[Site]:
    """The sites whose rows belong to known samples, marked `flat` where these share an axis with
    the positions: then the rows of the first sample must come first, as many as of any other."""
    unclear = [s for s in sites if not calls[s.consumer.module].samples_first]
    if not unclear or len(batch) < 2:
        return [s for s in sites if s not in unclear]
    whole = _inputs(model, batch, unclear)
    first = _inputs(model, batch.select(torch.arange(1)), unclear)

    def flat(site: Site) -> bool:
        x_RN, head = whole.get(site.name), first.get(site.name)
        if x_RN is None or head is None or len(x_RN) != len(batch) * len(head):
            return False
        mine, next_one = x_RN[: len(head)], x_RN[len(head) : 2 * len(head)]
        # as loose as in a trial cut, for sums in another order; the same sample twice tells nothing
        same, same_again = (agree([head], [x], lambda eps: eps**0.5) for x in (mine, next_one))
        return same and not same_again

    return [
        s.model_copy(update={"flat": s in unclear}) for s in sites if s not in unclear or flat(s)
    ]


def _inputs(model: nn.Module, batch: Batch, sites: Iterable[Site]) -> dict[str, Tensor]:
    """What the sites' consumers read of `batch`, [R, N] each, by the sites' names."""
    site_of = {s.consumer.module: s.name for s in sites}
    seen: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        seen[site_of[name]] = x.reshape(-1, x.shape[-1]).clone()

    with watching_inputs(model, site_of, see), module_by_module():
        run_checked(model, batch)
    return seen
