"""Compensate a cut from a profile alone, every site on its own and on dense inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.split import Part
from actprune.errors import ActpruneError
from actprune.profiling.result import FOLDS, Profile, SiteProfile
from actprune.refit.channel import absorb, predict_removed
from actprune.refit.masks import without_compensation
from actprune.refit.moments import Moments
from actprune.refit.settings import Compensation
from actprune.running.substitute import Affine, linear_or_conv
from actprune.sites.cut import Cut
from actprune.sites.site import Site


def compensate_from_profile(
    model: nn.Module, sites: Sequence[Site], cut: Cut, settings: Compensation, profile: Profile
) -> dict[str, Affine]:
    """As `compensate`, without data: means from the counts' sums, refits from the Gram matrices.

    A refit is per channel, and no unit sees what the layers before it have lost.

    Where consumers read a site's units from different tensors, whose statistics the profile adds
    up, one map fitted on all of them serves each.

    Raises:
        ActpruneError: if a refit is asked for and the profile has no Gram matrices.
    """
    maps = without_compensation(model, sites, cut)
    if settings.kind == "none":
        return maps
    for site in sites:
        removed = torch.tensor(cut.removes(site), dtype=torch.int64)
        if not len(removed):
            continue
        kept = torch.tensor(cut.keeps(site), dtype=torch.int64)
        stats = profile.site(site.name)
        if settings.kind == "mean":
            coefficients = torch.zeros(len(removed), len(kept), dtype=torch.float64)
            intercept = torch.from_numpy(stats.mean)[removed]
        else:
            fit, select = _fold(stats, Part.FIT), _fold(stats, Part.SELECT)
            coefficients, intercept = predict_removed(fit, select, kept, removed, settings.ridge)
        for slot in site.consumers:
            name = slot.module
            layer = linear_or_conv(model, name)
            fitted = absorb(layer, maps[name], site, slot, kept, removed, coefficients, intercept)
            maps[name] = replace(fitted, norm=slot.norms_after[0] if slot.norms_after else None)
    return maps


def covariance(stats: SiteProfile, *parts: Part) -> Tensor:
    """Covariance of the units over the positions of `parts`, [N, N] float64.

    Raises:
        ActpruneError: if the profile carries no Gram matrices.
    """
    moments = _fold(stats, parts[0])
    for part in parts[1:]:
        moments = moments + _fold(stats, part)
    return moments.cov_xx


def _fold(stats: SiteProfile, part: Part) -> Moments:
    if stats.gram is None:
        raise ActpruneError(
            f"Site {stats.site.name!r}: this needs Gram matrices, and the profile has none; "
            f"profile with --stats gram, or give the data."
        )
    blocks = list(part.value)
    rows = int(stats.positions[blocks].sum())
    fold = FOLDS.index(part)
    # means over the very positions that the matrix is of: the covariance has no negative variance
    total = stats.total[blocks].sum(0) if stats.gram_drawn is None else stats.gram_drawn[fold, 0]
    x = torch.from_numpy(np.ascontiguousarray(total))
    empty = torch.zeros(0, dtype=torch.float64)
    return Moments(
        rows=rows,
        x_P=x,
        xx_PP=torch.from_numpy(stats.gram[fold]).double(),
        z_D=empty,
        xz_PD=torch.zeros(len(x), 0, dtype=torch.float64),
        zz_D=empty,
    )
