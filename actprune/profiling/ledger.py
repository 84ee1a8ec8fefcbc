"""Counting batch by batch: each site reduces its activations onto a page, a batch settles once.

Within a batch a site only reduces over positions, into its columns of a page [samples, units of all
sites]; blocks, extremes and first firings are then settled for all sites together, so that a deep
model does not pay for them layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.split import block_of
from actprune.errors import ActpruneError
from actprune.ops.backend import Backend
from actprune.ops.gram import gram
from actprune.ops.stats import native_takes, unit_stats_into
from actprune.profiling.result import FOLDS, SiteProfile
from actprune.profiling.rows import Rows
from actprune.profiling.rules import Rule
from actprune.profiling.sums import STATS, Sums
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
        with_gram: bool,
        device: torch.device,
        seed: int = 0,
        source: int = 0,
        backend: Backend = "auto",
    ) -> None:
        """`seed` decides the samples' blocks; `source` is added to the ids of first firings.

        `backend` "auto" takes compiled C on the CPU once there has been work enough to repay it.
        """
        self.sums = Sums(sites, rules, with_gram=with_gram, device=device)
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
        """Begin a batch."""
        self._rows = Rows.of(batch)
        self._block_R = block_of(self._rows.ids, self._seed)
        if self._page.shape[1] != len(self._rows):
            self._page = self._page.new_empty((STATS, len(self._rows), self._width))
            self._positions_RK = torch.zeros((len(self._rows), len(self._site_of))).long()
        self._seen.clear()

    def see(self, name: str, a_SUP: Tensor) -> None:
        """Reduce one site's activations of this batch."""
        rule, columns = self.sums.rules[name], self.sums.columns[name]
        backend = self._backend
        if backend == "auto" and self._reduced >= REPAYS_COMPILING and native_takes(a_SUP):
            backend = "native"
        self._reduced += a_SUP.numel()
        for piece in self._rows.pieces:
            part = a_SUP[piece.samples, :, piece.positions]
            unit_stats_into(
                self._page[:, piece.rows, columns],
                part,
                threshold=rule.threshold,
                magnitude=rule.kind == "magnitude",
                backend=backend,
            )
            self._positions_RK[piece.rows, self._site_of[name]] = part.shape[-1]
        self._seen.add(name)
        if name in self.sums.gram:
            self._add_gram(self.sums.gram[name], a_SUP)

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

    def freeze(self) -> tuple[SiteProfile, ...]:
        """The result so far, one profile a site."""
        self.finish()
        return self.sums.freeze()

    def finish(self) -> None:
        """Count the document that was held back: there is no more of it."""
        last, self.unfinished = self.unfinished, None
        if last is not None:
            self._settle(torch.tensor([last.id]), last.page, last.positions)

    def _settle(self, id_R: Tensor, page: Tensor, positions_RK: Tensor) -> None:
        if len(id_R):
            self.sums.add(
                (id_R + self._source).to(self._device),
                block_of(id_R, self._seed).to(self._device),
                page,
                positions_RK.to(self._device),
            )

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

    def _add_gram(self, into: Tensor, a_SUP: Tensor) -> None:
        for fold, part in enumerate(FOLDS):
            inside_R = (self._block_R >= part.value.start) & (self._block_R < part.value.stop)
            for piece in self._rows.pieces:
                rows = a_SUP[piece.samples, :, piece.positions]
                kept = rows[inside_R[piece.rows].to(rows.device)]
                if len(kept):
                    into[fold] += gram(kept.transpose(1, 2).reshape(-1, a_SUP.shape[1]))

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
        joined[stat].index_add_(0, to, page[stat])
    joined[3].index_reduce_(0, to, page[3], "amin", include_self=False)
    joined[4].index_reduce_(0, to, page[4], "amax", include_self=False)
    positions_DK = torch.zeros((len(id_D), positions_RK.shape[1]), dtype=torch.int64)
    return id_D, joined, positions_DK.index_add_(0, document_R, positions_RK)
