"""Sums that grow batch by batch, for all sites at once; frozen into SiteProfiles at the end.

Within a batch each site only reduces its activations over positions, into its columns of a page
[samples, units of all sites]; blocks, extremes and first firings are then settled once a batch for
all sites together, so that a deep model does not pay for them layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from actprune.data.split import BLOCKS
from actprune.errors import ActpruneError
from actprune.ops.gram import gram
from actprune.ops.stats import unit_stats
from actprune.profiling.result import FOLDS, NEVER, SiteProfile
from actprune.profiling.rules import Rule
from actprune.sites.site import Site

_LAST = torch.iinfo(torch.int64).max
_STATS = 5  # active, sum, square, low, high


class Ledger:
    """The running statistics of all sites, on the model's device."""

    def __init__(
        self,
        sites: Sequence[Site],
        rules: Mapping[str, Rule],
        *,
        with_gram: bool,
        device: torch.device,
    ) -> None:
        self._sites, self._rules, self._device = list(sites), rules, device
        self._columns: dict[str, slice] = {}
        width = 0
        for site in sites:
            self._columns[site.name] = slice(width, width + site.units)
            width += site.units

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self._width = width
        self._samples = zeros(BLOCKS)
        self._positions = {s.name: zeros(BLOCKS) for s in sites}
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
        self._page = zeros(_STATS, 0, width, dtype=torch.float64)
        self._block_S = zeros(0)
        self._seen: dict[str, int] = {}  # positions a sample in this batch

    def open(self, block_S: Tensor) -> None:
        """Begin a batch whose samples lie in the given blocks."""
        self._block_S = block_S.to(self._device)
        if self._page.shape[1] != len(block_S):
            self._page = torch.empty(
                (_STATS, len(block_S), self._width), dtype=torch.float64, device=self._device
            )
        self._seen = {}

    def see(self, name: str, a_SUP: Tensor) -> None:
        """Reduce one site's activations of this batch."""
        rule, columns = self._rules[name], self._columns[name]
        stats = unit_stats(a_SUP, threshold=rule.threshold, magnitude=rule.kind == "magnitude")
        for page_SU, stat_SU in zip(self._page, stats, strict=True):
            page_SU[:, columns] = stat_SU
        self._seen[name] = a_SUP.shape[-1]
        if name in self._gram:
            for fold, part in enumerate(FOLDS):
                inside_S = (self._block_S >= part.value.start) & (self._block_S < part.value.stop)
                if inside_S.any():
                    rows = a_SUP[inside_S].transpose(1, 2).reshape(-1, a_SUP.shape[1])
                    self._gram[name][fold] += gram(rows)

    def close(self, id_S: Tensor, batch: int) -> None:
        """Settle the batch; raises ActpruneError where a site was not reached or not finite."""
        missing = [s.name for s in self._sites if s.name not in self._seen]
        if missing:
            raise ActpruneError(
                f"Site {missing[0]!r} did not run in batch {batch}; a model that skips layers for "
                f"some inputs cannot be profiled there."
            )
        active_SW, sum_SW, square_SW, low_SW, high_SW = self._page
        if not torch.isfinite(square_SW.sum()):  # which a sum of finite squares may also be
            self._refuse(square_SW, batch)
        block_S = self._block_S
        fires_SW = active_SW > 0
        samples_B = torch.bincount(block_S, minlength=BLOCKS)
        self._samples += samples_B
        for name, positions in self._seen.items():
            self._positions[name] += positions * samples_B
        self._samples_active.index_add_(0, block_S, fires_SW.long())
        self._positions_active.index_add_(0, block_S, active_SW.long())
        self._total.index_add_(0, block_S, sum_SW)
        self._square.index_add_(0, block_S, square_SW)
        self._low = torch.minimum(self._low, low_SW.amin(0))
        self._high = torch.maximum(self._high, high_SW.amax(0))
        ids_SW = torch.where(fires_SW, id_S.to(self._device)[:, None], _LAST)
        self._first = torch.minimum(self._first, ids_SW.amin(0))

    def freeze(self) -> tuple[SiteProfile, ...]:
        """The result so far, one profile a site."""
        first = torch.where(self._first == _LAST, NEVER, self._first)

        def array(x: Tensor) -> np.ndarray:
            return x.cpu().numpy().copy()

        frozen = []
        for site in self._sites:
            columns = self._columns[site.name]
            grams = self._gram.get(site.name)
            frozen.append(
                SiteProfile(
                    site=site,
                    rule=self._rules[site.name],
                    samples=array(self._samples),
                    positions=array(self._positions[site.name]),
                    samples_active=array(self._samples_active[:, columns]),
                    positions_active=array(self._positions_active[:, columns]),
                    total=array(self._total[:, columns]),
                    square=array(self._square[:, columns]),
                    low=array(self._low[columns]),
                    high=array(self._high[columns]),
                    first=array(first[columns]),
                    gram=None if grams is None else array(grams),
                )
            )
        return tuple(frozen)

    def _refuse(self, square_SW: Tensor, batch: int) -> None:
        """Name the first site, in running order, whose activations were not finite."""
        for site in self._sites:
            if not torch.isfinite(square_SW[:, self._columns[site.name]]).all():
                raise ActpruneError(
                    f"Site {site.name!r} produced activations that are not finite in batch "
                    f"{batch}; check the model and the data for NaN or overflow."
                )
