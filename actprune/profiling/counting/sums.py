"""The additive totals of all sites, on the model's device; frozen into SiteProfiles.

Shapes: B = 32 blocks, Q = 4 quarters of them, W units of all sites side by side, K sites, R rows,
one a sample, H bins of magnitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from actprune.data.split import BLOCKS
from actprune.ops.histogram import BINS, magnitude_histograms
from actprune.ops.histogram.bins import bin_of
from actprune.profiling.gram.rooms import GramRooms
from actprune.profiling.gram.settings import GramSettings, gram_settings
from actprune.profiling.result import NEVER, QUARTERS, SiteProfile
from actprune.profiling.rules import Rule
from actprune.sites.site import Site

STATS = 5  # active, sum, square, low, high: the first axis of a page
HISTOGRAMS = ("histogram_positions", "histogram_samples")
_LAST = torch.iinfo(torch.int64).max


class Sums:
    """Running totals; every update is exact for counts and a float64 addition for sums."""

    def __init__(
        self,
        sites: Sequence[Site],
        rules: Mapping[str, Rule],
        *,
        with_gram: bool | GramSettings,
        with_histogram: bool = False,
        device: torch.device,
    ) -> None:
        """Raises ActpruneError if Gram matrices are asked for and there is no room for them."""
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
        bins = (QUARTERS, width if with_histogram else 0, BINS)
        self.with_histogram = with_histogram
        self._histogram_positions, self._histogram_samples = zeros(*bins), zeros(*bins)
        asked = gram_settings(with_gram)
        self.rooms = None if asked is None else GramRooms(sites, asked, device)

    def add(self, id_R: Tensor, block_R: Tensor, page_RW: Tensor, positions_RK: Tensor) -> None:
        """Count rows of a page [STATS, R, W], each the whole of one sample."""
        active_RW, total_RW, square_RW, low_RW, high_RW = page_RW
        fires_RW = active_RW > 0
        self._samples += torch.bincount(block_R, minlength=BLOCKS)
        self._positions.index_add_(0, block_R, positions_RK)
        self._samples_active.index_add_(0, block_R, fires_RW.long())
        self._positions_active.index_add_(0, block_R, active_RW.long())
        add_rows(self._total, block_R, total_RW)
        add_rows(self._square, block_R, square_RW)
        self._low = torch.minimum(self._low, low_RW.amin(0))
        self._high = torch.maximum(self._high, high_RW.amax(0))
        self._note_first(id_R, fires_RW)
        if self.with_histogram:
            self._count_peaks(block_R, torch.maximum(low_RW.abs(), high_RW.abs()))

    def _note_first(self, id_R: Tensor, fires_RW: Tensor) -> None:
        """Lower the first firings. Once a unit has fired, later samples cannot: in order of reading
        only the units that were silent so far are looked at."""
        if not self._first.numel():
            return
        silent_W = self._first == _LAST
        latest = self._first.masked_fill(silent_W, -1).amax()
        columns = silent_W.nonzero().squeeze(1) if id_R.amin() > latest else slice(None)
        ids_RW = torch.where(fires_RW[:, columns], id_R[:, None], _LAST)
        self._first[columns] = torch.minimum(self._first[columns], ids_RW.amin(0))

    def add_positions(self, name: str, block_S: Tensor, a_SUP: Tensor) -> None:
        """Count a site's activations by magnitude."""
        quarter_S = quarter_of(block_S)
        for quarter in quarter_S.unique().tolist():
            counts_UH, _ = magnitude_histograms(a_SUP[(quarter_S == quarter).to(a_SUP.device)])
            into_UH = self._histogram_positions[quarter, self.columns[name]]
            into_UH += counts_UH.to(into_UH.device)

    def _count_peaks(self, block_R: Tensor, peak_RW: Tensor) -> None:
        W = peak_RW.shape[1]
        unit_W = torch.arange(W, device=peak_RW.device)
        slot_RW = (quarter_of(block_R)[:, None] * W + unit_W) * BINS + bin_of(peak_RW)
        flat = slot_RW.reshape(-1)
        self._histogram_samples.view(-1).index_add_(0, flat, torch.ones_like(flat))

    @property
    def samples(self) -> int:
        """Samples counted so far."""
        return int(self._samples.sum())

    @property
    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """Per block so far, int64: samples [B], samples active [B, W]; copies."""
        return self._samples.cpu().numpy().copy(), self._samples_active.cpu().numpy().copy()

    @property
    def so_far(self) -> tuple[Tensor, Tensor, Tensor]:
        """Over all blocks, int64: positions [K], samples active [W], positions active [W]."""
        return self._positions.sum(0), self._samples_active.sum(0), self._positions_active.sum(0)

    @property
    def gram(self) -> Mapping[str, Tensor]:
        """[folds, N, N] for each site; empty without Gram matrices."""
        return {} if self.rooms is None else self.rooms.sums

    def freeze(self) -> tuple[SiteProfile, ...]:
        """The totals so far, one profile a site."""
        first = torch.where(self._first == _LAST, NEVER, self._first)

        def array(x: Tensor) -> np.ndarray:
            return x.cpu().numpy().copy()

        frozen = []
        for index, site in enumerate(self.sites):
            columns = self.columns[site.name]
            gram, drawn = (None, None) if self.rooms is None else self.rooms.freeze(site.name)
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
                    gram=gram,
                    gram_drawn=drawn,
                    **{
                        name: array(getattr(self, f"_{name}")[:, columns])
                        for name in HISTOGRAMS
                        if self.with_histogram
                    },
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
            if self.rooms is not None:
                self.rooms.restore(profile)
            if self.with_histogram:
                put(self._histogram_positions[:, columns], profile.histogram_positions)
                put(self._histogram_samples[:, columns], profile.histogram_samples)
        self._first[self._first == NEVER] = _LAST


def quarter_of(block: Tensor) -> Tensor:
    """Which quarter of the blocks each block lies in, 0 to 3."""
    return block // (BLOCKS // QUARTERS)


def add_rows(into_GW: Tensor, group_R: Tensor, x_RW: Tensor) -> None:
    """Add each row of `x_RW`, float64 and finite, to its group's, in the same order every time.

    On a GPU, where `index_add_` adds floats in any order, by a product with zeros and ones.
    """
    if not x_RW.is_cuda:
        into_GW.index_add_(0, group_R, x_RW)
        return
    member_GR = x_RW.new_zeros((len(into_GW), len(group_R)))
    member_GR[group_R, torch.arange(len(group_R), device=group_R.device)] = 1.0
    into_GW += member_GR @ x_RW


def columns_of(sites: Sequence[Site]) -> dict[str, slice]:
    """Where each site's units lie when all are put side by side."""
    columns, width = {}, 0
    for site in sites:
        columns[site.name] = slice(width, width + site.units)
        width += site.units
    return columns
