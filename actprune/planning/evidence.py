"""Gather what the criteria need, with one reading of the data where it is needed at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part
from actprune.ops.gram import gram
from actprune.planning.criteria import Evidence
from actprune.profiling.result import Profile
from actprune.refit.design import inputs
from actprune.refit.independent import covariance
from actprune.refit.moments import covariance as moments_covariance
from actprune.running.hooks import watching_inputs
from actprune.running.joins import norm_factor
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site


def gather(
    model: nn.Module,
    profile: Profile,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, Evidence]:
    """Evidence per site name. Covariances of patches are computed on `batches` when first asked
    for, all sites in one reading; without batches those of the profile's Gram matrices serve."""
    cache: dict[str, Tensor] = {}

    def lazily(site: Site) -> Callable[[], Tensor]:
        def get() -> Tensor:
            if not batches:
                return covariance(profile.site(site.name), Part.FIT, Part.SELECT)
            if not cache:
                cache.update(_covariances(model, sites, batches, progress))
            return cache[site.name]

        return get

    found = {}
    for site in sites:
        consumer = linear_or_conv(model, site.consumer.module).weight.detach().double().cpu()
        start = site.consumer.offset
        part = consumer[:, start : start + site.units * site.consumer.repeat]
        found[site.name] = Evidence(
            stats=profile.site(site.name),
            producer=model.get_submodule(site.producer.module).get_parameter("weight"),
            consumer=part.reshape(len(part), site.units, -1) * _scale(model, site)[:, None, None],
            covariance=lazily(site),
            seed=seed,
        )
    return found


def _scale(model: nn.Module, site: Site) -> Tensor:
    """The factor with which each of the consumer's outputs goes on, float64 [D] >= 0."""
    outputs = len(linear_or_conv(model, site.consumer.module).weight)
    scale = torch.ones(outputs, dtype=torch.float64)
    for name in site.norms_after:
        scale = scale * norm_factor(model.get_submodule(name)).abs().double().cpu()
    return scale


def _covariances(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    progress: Callable[[str], None],
) -> Mapping[str, Tensor]:
    """Covariance of every site's consumer columns in the dense model, float64 [P, P]."""
    device = device_of(model)
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}
    by_consumer: dict[str, list[Site]] = {}
    for site in sites:
        by_consumer.setdefault(site.consumer.module, []).append(site)

    def see(name: str, x: Tensor) -> None:
        layer = linear_or_conv(model, name)
        for site in by_consumer[name]:
            a_RP = inputs(layer, x, site.consumer.index(range(site.units))).double()
            xx, s, rows = sums.get(site.name, (0.0, 0.0, 0))
            sums[site.name] = (xx + gram(a_RP), s + a_RP.sum(0), rows + len(a_RP))

    with undisturbed(model), watching_inputs(model, by_consumer, see):
        for batch in batches:
            batch.to(device).run(model)
            progress("covariances")
    return {name: moments_covariance(*found).cpu() for name, found in sums.items()}
