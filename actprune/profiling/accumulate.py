"""Sums that grow batch by batch for one site; frozen into a SiteProfile at the end."""

from __future__ import annotations

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


class SiteSums:
    """The running statistics of one site, on the model's device."""

    def __init__(self, site: Site, rule: Rule, *, with_gram: bool, device: torch.device) -> None:
        self.site, self.rule = site, rule

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        n = site.units
        self.samples, self.positions = zeros(BLOCKS), zeros(BLOCKS)
        self.samples_active, self.positions_active = zeros(BLOCKS, n), zeros(BLOCKS, n)
        self.total = zeros(BLOCKS, n, dtype=torch.float64)
        self.square = zeros(BLOCKS, n, dtype=torch.float64)
        self.low = zeros(n, dtype=torch.float64) + torch.inf
        self.high = zeros(n, dtype=torch.float64) - torch.inf
        self.first = zeros(n) + _LAST
        self.gram = zeros(len(FOLDS), n, n, dtype=torch.float64) if with_gram else None

    def add(self, a_SUP: Tensor, block_S: Tensor, id_S: Tensor, batch: int) -> None:
        """Count one batch; raises ActpruneError where activations are not finite."""
        active_SU, sum_SU, square_SU, low_SU, high_SU = unit_stats(
            a_SUP, threshold=self.rule.threshold, magnitude=self.rule.kind == "magnitude"
        )
        if not torch.isfinite(square_SU).all():
            raise ActpruneError(
                f"Site {self.site.name!r} produced activations that are not finite in batch "
                f"{batch}; check the model and the data for NaN or overflow."
            )
        block_S, id_S = block_S.to(a_SUP.device), id_S.to(a_SUP.device)
        fires_SU = active_SU > 0
        self.samples += torch.bincount(block_S, minlength=BLOCKS)
        self.positions += torch.bincount(block_S, minlength=BLOCKS) * a_SUP.shape[-1]
        self.samples_active.index_add_(0, block_S, fires_SU.long())
        self.positions_active.index_add_(0, block_S, active_SU)
        self.total.index_add_(0, block_S, sum_SU)
        self.square.index_add_(0, block_S, square_SU)
        self.low = torch.minimum(self.low, low_SU.amin(0))
        self.high = torch.maximum(self.high, high_SU.amax(0))
        ids_SU = torch.where(fires_SU, id_S[:, None], _LAST)
        self.first = torch.minimum(self.first, ids_SU.amin(0))
        if self.gram is not None:
            for fold, part in enumerate(FOLDS):
                inside_S = (block_S >= part.value.start) & (block_S < part.value.stop)
                if inside_S.any():
                    rows = a_SUP[inside_S].transpose(1, 2).reshape(-1, self.site.units)
                    self.gram[fold] += gram(rows)

    def freeze(self) -> SiteProfile:
        """The result so far."""

        def array(x: Tensor) -> np.ndarray:
            return x.cpu().numpy().copy()

        first = torch.where(self.first == _LAST, NEVER, self.first)
        return SiteProfile(
            site=self.site,
            rule=self.rule,
            samples=array(self.samples),
            positions=array(self.positions),
            samples_active=array(self.samples_active),
            positions_active=array(self.positions_active),
            total=array(self.total),
            square=array(self.square),
            low=array(self.low),
            high=array(self.high),
            first=array(first),
            gram=None if self.gram is None else array(self.gram),
        )
