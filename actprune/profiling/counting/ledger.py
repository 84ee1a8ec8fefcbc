"""Counting batch by batch: each site reduces its activations onto a page, a batch settles once.

Within a batch a site only reduces over positions, into its columns of a page [samples, units of all
sites]; blocks, extremes and first firings are then settled for all sites together, so that a deep
model does not pay for them layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.split import block_of
from actprune.errors import ActpruneError
from actprune.ops.backend import Backend
from actprune.ops.stats import native_takes, unit_stats_into
from actprune.profiling.counting.rows import Rows
from actprune.profiling.counting.strata_sums import StrataSums
from actprune.profiling.counting.stratify import Strata, strata_by
from actprune.profiling.counting.sums import STATS, Sums, add_rows
from actprune.profiling.gram.settings import GramSettings
from actprune.profiling.result import SiteProfile, Stratum
from actprune.profiling.rules import Rule
from actprune.sites.site import Site

# Activations reduced in plain PyTorch before a compiler is called. Half a second of compiling is
# repaid where as much again has gone into reducing; by a count, not by a clock, so that the sums'
# last bits do not depend on how busy the machine is (ours).
REPAYS_COMPILING = 2**28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unfinished:
    """The packed document at the end of a batch, which may go on in the next one."""

    id: int
    page: Tensor  # float64 [STATS, 1, W]
    positions: Tensor  # int64 [1, K]


class Ledger:
    """The running statistics of all sites, on the model's device.

    For each batch: `open`, `see` every site once, `close`. `freeze` ends a packed document.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        rules: Mapping[str, Rule],
        *,
        with_gram: bool | GramSettings,
        with_histogram: bool = False,
        strata: Strata | None = None,
        device: torch.device,
        seed: int = 0,
        source: int = 0,
        backend: Backend = "auto",
    ) -> None:
        """`seed` decides the samples' blocks; `source` is added to the ids of first firings.

        `backend` "auto" takes compiled C on the CPU once there has been work enough to repay it.

        Raises:
            ActpruneError: if there is no room for Gram matrices, or `strata` names nothing.
        """
        self.sums = Sums(
            sites, rules, with_gram=with_gram, with_histogram=with_histogram, device=device
        )
        self._strata = strata_by(strata)
        self._per_stratum = StrataSums(sites, rules, device)
        self._stratum_R: list[str] | None = None  # of the batch's samples
        self.unfinished: Unfinished | None = None
        self._device, self._seed, self._source = device, seed, source
        self._backend: Backend = backend
        self._site_of = {s.name: i for i, s in enumerate(sites)}
        self._width = sum(s.units for s in sites)
        self._page = torch.empty((STATS, 0, self._width), dtype=torch.float64, device=device)
        self._positions_RK = torch.zeros((0, len(sites)), dtype=torch.int64)
        self._seen: set[str] = set()
        self._reduced = 0

    def open(self, batch: Batch) -> None:
        """Begin a batch.

        Raises:
            ActpruneError: if its samples' strata cannot be told.
        """
        self._stratum_R = None if self._strata is None else self._strata(batch)
        self._rows = Rows.of(batch)
        self._block_R = block_of(self._rows.ids, self._seed)
        if self._page.shape[1] != len(self._rows):
            self._page = self._page.new_empty((STATS, len(self._rows), self._width))
            self._positions_RK = torch.zeros((len(self._rows), len(self._site_of))).long()
        self._seen.clear()

    def see(self, name: str, a_SUP: Tensor) -> None:
        """Reduce one site's activations of this batch, on the device where they are: only the
        statistics go from there to the model's first device."""
        rule, columns = self.sums.rules[name], self.sums.columns[name]
        backend = self._backend
        much = self._reduced >= REPAYS_COMPILING and a_SUP.device == self._device
        if backend == "auto" and much and native_takes(a_SUP):
            backend = "native"
        self._reduced += a_SUP.numel()
        for piece in self._rows.pieces:
            part = piece.of(a_SUP)
            unit_stats_into(
                self._page[:, piece.rows, columns],
                part,
                threshold=rule.threshold,
                magnitude=rule.kind == "magnitude",
                backend=backend,
            )
            self._positions_RK[piece.rows, self._site_of[name]] = part.shape[-1]
            ids, block = self._rows.ids[piece.rows], self._block_R[piece.rows]
            if self.sums.rooms is not None:
                self.sums.rooms.add(name, ids, block, part, self._seed)
            if self.sums.with_histogram:
                self.sums.add_positions(name, block, part)
        self._seen.add(name)

    def close(self, index: int) -> None:
        """Settle batch number `index`.

        Raises:
            ActpruneError: if a site was not reached, or its activations are not finite.
        """
        for name in self._site_of:
            if name not in self._seen:
                raise ActpruneError(
                    f"Site {name!r} did not run in batch {index}; a model that skips layers for "
                    f"some inputs cannot be profiled there."
                )
        square_RW = self._page[2]
        if not torch.isfinite(square_RW.sum()):  # which a sum of finite squares may also be
            self._refuse(square_RW, index)
        if self._rows.packed:
            self._settle(*self._held_back(self._rows.ids, self._page, self._positions_RK))
        else:
            self._settle(self._rows.ids, self._page, self._positions_RK)

    def restore(self, frozen: Sequence[SiteProfile], unfinished: Unfinished | None) -> None:
        """Go on from the sums and the unfinished document of a ledger of the same sites."""
        self.sums.restore(frozen)
        if unfinished is not None:
            page = unfinished.page.to(self._device)
            unfinished = replace(unfinished, page=page)
        self.unfinished = unfinished
        for index, profile in enumerate(frozen):
            held = 0 if unfinished is None else int(unfinished.positions[0, index])
            self._reduced += profile.units * (int(profile.positions.sum()) + held)

    def freeze(self) -> tuple[SiteProfile, ...]:
        """The result so far, one profile a site."""
        self.finish()
        return self.sums.freeze()

    def freeze_strata(self) -> tuple[Stratum, ...]:
        """The result so far of each stratum met; none where they were not asked for."""
        return self._per_stratum.freeze()

    def restore_strata(self, frozen: Sequence[Stratum]) -> None:
        """Go on from strata that `freeze_strata` gave for the same sites."""
        self._per_stratum.restore(frozen)

    def finish(self) -> None:
        """Count the document that was held back: there is no more of it."""
        last, self.unfinished = self.unfinished, None
        if last is not None:
            self._settle(torch.tensor([last.id]), last.page, last.positions)

    def _settle(self, id_R: Tensor, page: Tensor, positions_RK: Tensor) -> None:
        if not len(id_R):
            return
        ids = (id_R + self._source).to(self._device)
        block = block_of(id_R, self._seed).to(self._device)
        positions = positions_RK.to(self._device)
        self.sums.add(ids, block, page, positions)
        if self._stratum_R is not None:
            self._per_stratum.add(self._stratum_R, ids, block, page, positions)

    def _held_back(
        self, id_R: Tensor, page: Tensor, positions_RK: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One row a document, less the last one, which waits for the next batch."""
        before = self.unfinished
        if before is not None:
            id_R = torch.cat([torch.tensor([before.id]), id_R])
            page = torch.cat([before.page, page], dim=1)
            positions_RK = torch.cat([before.positions, positions_RK])
        id_D, page, positions_DK = _by_document(id_R, page, positions_RK)
        self.unfinished = Unfinished(
            id=int(id_D[-1]), page=page[:, -1:].clone(), positions=positions_DK[-1:]
        )
        return id_D[:-1], page[:, :-1], positions_DK[:-1]

    def _refuse(self, square_RW: Tensor, index: int) -> None:
        """Name the first site, in running order, whose activations were not finite."""
        for name, columns in self.sums.columns.items():
            if not torch.isfinite(square_RW[:, columns]).all():
                raise ActpruneError(
                    f"Site {name!r} produced activations that are not finite in batch "
                    f"{index}; check the model and the data for NaN or overflow."
                )


def _by_document(id_R: Tensor, page: Tensor, positions_RK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put rows that follow each other under one id together: D documents."""
    id_D, document_R = torch.unique_consecutive(id_R, return_inverse=True)
    to = document_R.to(page.device)
    joined = page.new_zeros((STATS, len(id_D), page.shape[2]))
    for stat in range(3):
        add_rows(joined[stat], to, page[stat])
    to_RW = to[:, None].expand(page.shape[1:])
    joined[3].scatter_reduce_(0, to_RW, page[3], "amin", include_self=False)
    joined[4].scatter_reduce_(0, to_RW, page[4], "amax", include_self=False)
    positions_DK = torch.zeros((len(id_D), positions_RK.shape[1]), dtype=torch.int64)
    return id_D, joined, positions_DK.index_add_(0, document_R, positions_RK)
