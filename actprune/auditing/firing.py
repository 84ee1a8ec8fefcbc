"""Firings as spike trains, in windows of consecutive samples in an order that the user states.

The statistics are those of `actprune.theory.spikes`; the counts are taken here, so that windows
hold equally many samples whatever the batches.

Shapes: S samples, U units, P positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor, nn

from actprune.auditing.result import SiteSpikes
from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.profiling.counting.fixing import fixed_rules
from actprune.profiling.counting.observe import observe
from actprune.running.state import device_of, undisturbed
from actprune.sites.site import Site
from actprune.theory.spikes import spike_statistics

WINDOWS = 20  # where no length is given


def spikes(
    model: nn.Module,
    batches: Sequence[Batch],
    sites: Iterable[Site],
    *,
    data_order: str,
    window: int | None = None,
    rule: str = "auto",
) -> tuple[SiteSpikes, ...]:
    """Rates and Fano factors of each site; a sample counts once where it fires a unit anywhere.

    Args:
        data_order: of the samples, in the user's words.
        window: samples a window; a twentieth of all, at least 2, if left out. What is left of the
            samples after the last whole window is not read.

    Raises:
        ActpruneError: if the samples are windows of packed text, or do not fill two windows.
    """
    if any(b.documents is not None for b in batches):
        raise ActpruneError("windows of packed text mix documents and have no order of their own")
    total = sum(len(b) for b in batches)
    length = window or max(2, total // WINDOWS)
    if total // length < 2:
        raise ActpruneError(f"{total} samples do not fill two windows of {length}")
    sites = tuple(sites)
    fires: dict[str, list[np.ndarray]] = {s.name: [] for s in sites}

    def see(name: str, a_SUP: Tensor) -> None:
        chosen = rules[name]
        size_SUP = a_SUP.abs() if chosen.kind == "magnitude" else a_SUP
        fires[name].append((size_SUP > chosen.threshold).any(2).cpu().numpy())

    device = device_of(model)
    with undisturbed(model):
        rules = fixed_rules(model, batches, sites, rule, None)
        watched = [s for s in sites if s.name in rules]
        for batch in batches:
            observe(model, batch.to(device), watched, see)
    return tuple(
        site_spikes(s.name, np.concatenate(fires[s.name]), length, data_order) for s in watched
    )


def site_spikes(name: str, fires_SU: np.ndarray, length: int, data_order: str) -> SiteSpikes:
    """The statistics of one site, from bool [S, U] in order."""
    windows = len(fires_SU) // length
    counts = fires_SU[: windows * length].reshape(windows, length, -1).sum(1)
    found = spike_statistics(counts, length, order=data_order)
    return SiteSpikes(
        site=name,
        windows=found.windows,
        length=found.length,
        mean_rate=found.mean_rate,
        rate_variance=found.rate_variance,
        mean_fano=found.mean_fano,
        fano_variance=found.fano_variance,
        relative=float(found.relative.mean()) if len(found.relative) else None,
        overdispersed=found.dispersion.share_over if found.dispersion else None,
        level=found.dispersion.level if found.dispersion else 0.05,
        reason=found.reason,
    )
