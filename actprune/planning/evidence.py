"""Gather what the criteria need, with one reading of the data where it is needed at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part
from actprune.errors import ActpruneError
from actprune.planning.apart import covariances_apart
from actprune.planning.columns import read_columns
from actprune.planning.criteria import Evidence, Sizes
from actprune.planning.sizes import sizes
from actprune.planning.slopes import slopes
from actprune.profiling.result import Profile
from actprune.refit.independent import covariance
from actprune.refit.moments import Folds
from actprune.running.joins import norm_factor
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site, Slot

T = TypeVar("T")


def gather(
    model: nn.Module,
    profile: Profile,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, Evidence]:
    """Evidence per site name. What the profile lacks is computed on `batches` when first asked for,
    for all sites in one reading; without batches the profile's Gram matrices serve for the
    covariances.

    Raises:
        ActpruneError: from what `Evidence` calls, where there are no batches, or none with labels
            for the slopes.
    """

    @cache
    def all_columns() -> Mapping[str, Mapping[str, Folds]]:
        return read_columns(model, sites, batches, seed=profile.identity.seed, progress=progress)

    @cache
    def all_apart() -> Mapping[str, Tensor]:
        shared = [s for s in sites if len(s.consumers) > 1]
        return covariances_apart(model, shared, batches, progress)

    @cache
    def all_sizes() -> Mapping[str, Sizes]:
        return sizes(model, sites, batches, progress)

    @cache
    def all_slopes() -> Mapping[str, np.ndarray]:
        return slopes(model, sites, batches, progress)

    def covariance_of(site: Site) -> Callable[[], Tensor]:
        if not batches:
            return lambda: covariance(profile.site(site.name), Part.FIT, Part.SELECT)
        if len(site.consumers) > 1:
            return lambda: all_apart()[site.name]
        name = site.consumer.module
        return lambda: columns_of(site)()[name].everything.cov_xx

    def of(site: Site, read: Callable[[], Mapping[str, T]]) -> Callable[[], T]:
        def get() -> T:
            if not batches:
                raise ActpruneError(
                    f"Site {site.name!r}: this criterion needs activations that the profile does "
                    f"not carry; give the data."
                )
            return read()[site.name]

        return get

    def columns_of(site: Site) -> Callable[[], Mapping[str, Folds]]:
        return of(site, all_columns)

    found = {}
    for site in sites:
        makers = [model.get_submodule(p.module).get_parameter("weight") for p in site.producers]
        made = [w[p.index(range(site.units))] for w, p in zip(makers, site.producers, strict=True)]
        found[site.name] = Evidence(
            stats=profile.site(site.name),
            producer=torch.cat([w.detach().reshape(site.units, -1) for w in made], dim=1),
            consumer=_outgoing(model, site),
            covariance=covariance_of(site),
            columns=columns_of(site),
            seed=seed,
            sizes=of(site, all_sizes),
            slope=of(site, all_slopes),
        )
    return found


def _outgoing(model: nn.Module, site: Site) -> Tensor:
    """The consumers' weights times the factor with which each output goes on, float64 [D, N, M].

    Of several consumers, M is one column for each tensor that they read, zero but at the outputs
    (and taps) of those that read it: their costs add up.
    """
    parts: list[Tensor] = []  # [D, N, taps x repeat] of each consumer
    for slot in site.consumers:
        weight = linear_or_conv(model, slot.module).weight.detach().double().cpu()
        mine = weight[:, slot.offset : slot.offset + site.units * slot.repeat]
        part = mine.reshape(len(mine), site.units, -1)
        parts.append(part * _scale(model, slot)[:, None, None])
    if len(parts) == 1:
        return parts[0]
    stacked: list[Tensor] = []
    for slot, part in zip(site.consumers, parts, strict=True):
        rows_DN = part.permute(0, 2, 1).flatten(0, 1)
        rows_DNM = rows_DN.new_zeros(*rows_DN.shape, len(site.watched))
        rows_DNM[:, :, slot.tensor] = rows_DN
        stacked.append(rows_DNM)
    return torch.cat(stacked)


def _scale(model: nn.Module, slot: Slot) -> Tensor:
    """The factor with which each of the consumer's outputs goes on, float64 [D] >= 0."""
    outputs = len(linear_or_conv(model, slot.module).weight)
    scale = torch.ones(outputs, dtype=torch.float64)
    for name in slot.norms_after:
        scale = scale * norm_factor(model.get_submodule(name)).abs().double().cpu()
    return scale
