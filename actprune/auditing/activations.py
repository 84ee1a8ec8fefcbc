"""Find each site's activation function in a forward pass, and be there when it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from actprune.auditing.activation import Activation, See
from actprune.auditing.following import Follower, following
from actprune.data.batch import Batch
from actprune.running.forward import run_checked
from actprune.sites.site import Site


def find_activations(
    model: nn.Module, batch: Batch, sites: Iterable[Site]
) -> tuple[dict[str, Activation], dict[str, str]]:
    """The activation functions of `sites` by site name, and why others have none that was found.

    The model must be in evaluation mode. A few samples are enough.

    Raises:
        ActpruneError: if the model cannot run on the batch.
    """
    sites = tuple(sites)
    follower = Follower({}, None)
    with following(model, sites, follower):
        run_checked(model, batch)
    found: dict[str, Activation] = {}
    reasons: dict[str, str] = {}
    for site in sites:
        threads = [t for t in follower.threads if t.site is site and t.ends]
        if site.kind == "gated":
            threads = [t for t in threads if any(curved for _, curved in t.ends.values())]
        unknown = [t.unknown for t in threads if t.unknown]
        if site.kind == "residual":
            reasons[site.name] = f"the sum that {site.name} adds to is read in several ways"
        elif unknown:
            reasons[site.name] = f"{unknown[0]} behind {site.name} is no call that can be judged"
        elif len(threads) != 1:
            reasons[site.name] = f"no activation function was seen behind {site.name}"
        elif len(threads[0].ends) != 1:
            reasons[site.name] = f"what {site.name} makes is read in several ways"
        else:
            (thread,) = threads
            ((step, (names, _)),) = thread.ends.items()
            found[site.name] = Activation(
                site=site,
                names=names,
                producer=thread.producer,
                conv=thread.conv,
                part=thread.part,
                restarts=thread.restarts,
                step=step,
            )
    return found, reasons


@contextmanager
def at_activations(model: nn.Module, activations: Iterable[Activation], see: See) -> Iterator[None]:
    """Within the block call `see` where the given functions run; a tensor it returns takes the
    place of the function's output. No hook outlives the block."""
    wanted = {(a.producer, a.part, a.restarts, a.step): a for a in activations}
    sites = {a.site.name: a.site for a in wanted.values()}
    with following(model, tuple(sites.values()), Follower(wanted, see)):
        yield
