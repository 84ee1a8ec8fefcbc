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
from actprune.planning.columns import Halves, read_columns
from actprune.planning.criteria import Evidence, Sizes
from actprune.planning.sizes import sizes
from actprune.planning.slopes import slopes
from actprune.profiling.result import Profile
from actprune.refit.independent import covariance
from actprune.running.joins import norm_factor
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site

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
    def all_columns() -> Mapping[str, Halves]:
        return read_columns(model, sites, batches, seed=profile.identity.seed, progress=progress)

    @cache
    def all_sizes() -> Mapping[str, Sizes]:
        return sizes(model, sites, batches, progress)

    @cache
    def all_slopes() -> Mapping[str, np.ndarray]:
        return slopes(model, sites, batches, progress)

    def covariance_of(site: Site) -> Callable[[], Tensor]:
        if not batches:
            return lambda: covariance(profile.site(site.name), Part.FIT, Part.SELECT)
        return lambda: columns_of(site)().everything.covariance

    def of(site: Site, read: Callable[[], Mapping[str, T]]) -> Callable[[], T]:
        def get() -> T:
            if not batches:
                raise ActpruneError(
                    f"Site {site.name!r}: this criterion needs activations that the profile does "
                    f"not carry; give the data."
                )
            return read()[site.name]

        return get

    def columns_of(site: Site) -> Callable[[], Halves]:
        return of(site, all_columns)

    found = {}
    for site in sites:
        consumer = linear_or_conv(model, site.consumer.module).weight.detach().double().cpu()
        start = site.consumer.offset
        part = consumer[:, start : start + site.units * site.consumer.repeat]
        found[site.name] = Evidence(
            stats=profile.site(site.name),
            producer=model.get_submodule(site.producer.module).get_parameter("weight"),
            consumer=part.reshape(len(part), site.units, -1) * _scale(model, site)[:, None, None],
            covariance=covariance_of(site),
            columns=columns_of(site),
            seed=seed,
            sizes=of(site, all_sizes),
            slope=of(site, all_slopes),
        )
    return found


def _scale(model: nn.Module, site: Site) -> Tensor:
    """The factor with which each of the consumer's outputs goes on, float64 [D] >= 0."""
    outputs = len(linear_or_conv(model, site.consumer.module).weight)
    scale = torch.ones(outputs, dtype=torch.float64)
    for name in site.norms_after:
        scale = scale * norm_factor(model.get_submodule(name)).abs().double().cpu()
    return scale
