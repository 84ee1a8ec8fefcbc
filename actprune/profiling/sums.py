"""The additive totals of all sites, on the model's device; frozen into SiteProfiles.

Shapes: B = 32 blocks, W units of all sites side by side, K sites, R rows, one a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from actprune.data.split import BLOCKS
from actprune.profiling.result import FOLDS, NEVER, SiteProfile
from actprune.profiling.rules import Rule
from actprune.sites.site import Site

STATS = 5  # active, sum, square, low, high: the first axis of a page
_LAST = torch.iinfo(torch.int64).max


class Sums:
    """Running totals; every update is exact for counts and a float64 addition for sums."""

    def __init__(
        self,
        sites: Sequence[Site],
        rules: Mapping[str, Rule],
        *,
        with_gram: bool,
        device: torch.device,
    ) -> None:
        self.sites, self.rules = tuple(sites), rules
        self.columns = columns_of(sites)
        width = sum(s.units for s in sites)

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self._samples, self._positions = zeros(BLOCKS), zeros(BLOCKS, len(self.sites))
        self._samples_active, self._positions_active = zeros(BLOCKS, width), zeros(BLOCKS, width)
        self._total = zeros(BLOCKS, width, dtype=torch.float64)
        self._square = zeros(BLOCKS, width, dtype=torch.float64)
        self._low = zeros(width, dtype=torch.float64) + torch.inf
        self._high = zeros(width, dtype=torch.float64) - torch.inf
        self._first = zeros(width) + _LAST
        self._gram = (
            {s.name: zeros(len(FOLDS), s.units, s.units, dtype=torch.float64) for s in sites}
            if with_gram
            else {}
        )

    def add(self, id_R: Tensor, block_R: Tensor, page_RW: Tensor, positions_RK: Tensor) -> None:
        """Count rows of a page [STATS, R, W], each the whole of one sample."""
        active_RW, total_RW, square_RW, low_RW, high_RW = page_RW
        fires_RW = active_RW > 0
        self._samples += torch.bincount(block_R, minlength=BLOCKS)
        self._positions.index_add_(0, block_R, positions_RK)
        self._samples_active.index_add_(0, block_R, fires_RW.long())
        self._positions_active.index_add_(0, block_R, active_RW.long())
        self._total.index_add_(0, block_R, total_RW)
        self._square.index_add_(0, block_R, square_RW)
        self._low = torch.minimum(self._low, low_RW.amin(0))
        self._high = torch.maximum(self._high, high_RW.amax(0))
        ids_RW = torch.where(fires_RW, id_R[:, None], _LAST)
        self._first = torch.minimum(self._first, ids_RW.amin(0))

    @property
    def samples(self) -> int:
        """Samples counted so far."""
        return int(self._samples.sum())

    @property
    def gram(self) -> Mapping[str, Tensor]:
        """float64 [folds, N, N] for each site; empty without Gram matrices."""
        return self._gram

    def freeze(self) -> tuple[SiteProfile, ...]:
        """The totals so far, one profile a site."""
        first = torch.where(self._first == _LAST, NEVER, self._first)

        def array(x: Tensor) -> np.ndarray:
            return x.cpu().numpy().copy()

        frozen = []
        for index, site in enumerate(self.sites):
            columns = self.columns[site.name]
            gram = self._gram.get(site.name)
            frozen.append(
                SiteProfile(
                    site=site,
                    rule=self.rules[site.name],
                    samples=array(self._samples),
                    positions=array(self._positions[:, index]),
                    samples_active=array(self._samples_active[:, columns]),
                    positions_active=array(self._positions_active[:, columns]),
                    total=array(self._total[:, columns]),
                    square=array(self._square[:, columns]),
                    low=array(self._low[columns]),
                    high=array(self._high[columns]),
                    first=array(first[columns]),
                    gram=None if gram is None else array(gram),
                )
            )
        return tuple(frozen)

    def restore(self, frozen: Sequence[SiteProfile]) -> None:
        """Go on from totals that `freeze` gave for the same sites."""

        def put(into: Tensor, value: np.ndarray | None) -> None:
            assert value is not None  # only subtract makes it unknown
            into.copy_(torch.from_numpy(value))

        for index, profile in enumerate(frozen):
            columns = self.columns[profile.site.name]
            put(self._samples, profile.samples)
            put(self._positions[:, index], profile.positions)
            put(self._samples_active[:, columns], profile.samples_active)
            put(self._positions_active[:, columns], profile.positions_active)
            put(self._total[:, columns], profile.total)
            put(self._square[:, columns], profile.square)
            put(self._low[columns], profile.low)
            put(self._high[columns], profile.high)
            put(self._first[columns], profile.first)
            if profile.gram is not None:
                put(self._gram[profile.site.name], profile.gram)
        self._first[self._first == NEVER] = _LAST


def columns_of(sites: Sequence[Site]) -> dict[str, slice]:
    """Where each site's units lie when all are put side by side."""
    columns, width = {}, 0
    for site in sites:
        columns[site.name] = slice(width, width + site.units)
        width += site.units
    return columns
