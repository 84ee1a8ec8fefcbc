"""What every sample does to every unit: the largest magnitude over its positions.

A whole matrix, samples x units, rather than a profile's counts: K(D) can then be read off for any
order and any number of orders, a split certificate be drawn a thousand times, and a threshold be
set afterwards, exactly. It fits into memory for the networks here.

Shapes: T samples, N units, S samples of a batch, P positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actprune.data.batch import Batch, as_batch
from actprune.profiling.counting.fixing import fixed_rules
from actprune.profiling.counting.observe import watching_sites
from actprune.sites.find import survey
from benchmarks.real_networks.names import OWN

STRENGTHS = (1.0, 3.0, 10.0)  # further thresholds, in multiples of the site's RMS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Recorded:
    """One site's units on T samples."""

    name: str
    peak: NDArray[np.float32] | NDArray[np.bool_]  # (T, N), largest |a| over positions; or a > 0
    own: float  # the threshold that `auto` fixes on the first samples; 0.0: a > 0
    rms: float | None  # of the site; None where only firings are known

    @property
    def rules(self) -> dict[str, float]:
        """The thresholds to look at, by name."""
        if self.rms is None:
            return {OWN: 0.0}
        return {OWN: self.own, **{f"{s:g} RMS": s * self.rms for s in STRENGTHS}}

    def fires(self, rule: str) -> NDArray[np.bool_]:
        """(T, N), whether each sample activates each unit."""
        return self.peak > self.rules[rule]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A network on T samples in random order."""

    net: str
    data: str
    sites: tuple[Recorded, ...]
    documents: NDArray[np.int64] | None = None  # (T,), what each sample is a piece of

    @property
    def T(self) -> int:
        """Samples."""
        return len(self.sites[0].peak)


def record(
    net: str,
    data: str,
    model: nn.Module,
    inputs: Tensor,
    *,
    batch: int,
    documents: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Recording:
    """Run `model` on all `inputs` [T, ...] in a seeded order and keep every site's peaks."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    inputs = inputs[order]
    batches = [as_batch((part,), 0) for part in inputs.split(batch)]
    head: Sequence[Batch] = [as_batch((inputs[:64],), 0)]
    with torch.no_grad():
        sites = survey(model, head[0].select(torch.arange(2))).sites
        own = fixed_rules(model, head, sites, "auto", None)
        rms = fixed_rules(model, head, sites, "magnitude:1", None)
        peaks: dict[str, list[NDArray[np.float32]]] = {s.name: [] for s in sites}

        def see(name: str, a_SUP: Tensor) -> None:
            peaks[name].append(a_SUP.abs().amax(-1).float().numpy())

        for part in batches:
            with watching_sites(model, sites, see, samples=len(part)):
                part.run(model)
    return Recording(
        net=net,
        data=data,
        sites=tuple(
            Recorded(
                name=s.name,
                peak=np.concatenate(peaks[s.name]),
                own=own[s.name].threshold,
                rms=rms[s.name].threshold,
            )
            for s in sites
        ),
        documents=None if documents is None else documents[order.numpy()],
    )
