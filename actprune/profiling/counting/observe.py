"""One forward pass, seen at every site."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.profiling.counting.layout import by_unit
from actprune.running.forward import run_checked
from actprune.running.hooks import watching_inputs
from actprune.sites.site import Site

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
    """Call `see` at each site in the forward passes of `samples` samples run inside the block,
    less those that run while `unless()` holds."""
    by_consumer: dict[str, list[Site]] = {}
    for site in sites:
        by_consumer.setdefault(site.consumer.module, []).append(site)

    def split(consumer: str, x: Tensor) -> None:
        if unless():
            return
        conv = isinstance(model.get_submodule(consumer), nn.Conv2d)
        for site in by_consumer[consumer]:
            see(site.name, by_unit(site, x, conv_consumer=conv, samples=samples))

    with watching_inputs(model, by_consumer, split):
        yield
