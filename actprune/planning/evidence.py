"""Gather what the criteria need, with one reading of the data where it is needed at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part
from actprune.ops.gram import gram
from actprune.planning.criteria import Evidence
from actprune.profiling.counting.layout import by_unit
from actprune.profiling.result import Profile
from actprune.refit.design import inputs
from actprune.refit.independent import covariance
from actprune.refit.moments import covariance as moments_covariance
from actprune.running.hooks import watching_inputs
from actprune.running.joins import norm_factor
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import linear_or_conv
from actprune.sites.site import Site, Slot


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
        makers = [model.get_submodule(p.module).get_parameter("weight") for p in site.producers]
        made = [w[p.index(range(site.units))] for w, p in zip(makers, site.producers, strict=True)]
        found[site.name] = Evidence(
            stats=profile.site(site.name),
            producer=torch.cat([w.detach().reshape(site.units, -1) for w in made], dim=1),
            consumer=_outgoing(model, site),
            covariance=lazily(site),
            seed=seed,
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


def _covariances(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    progress: Callable[[str], None],
) -> Mapping[str, Tensor]:
    """Covariance of every site's consumer columns in the dense model, float64 [P, P]; of several
    consumers, a unit has a column for each tensor read, and what different ones read is taken as
    unrelated, since each is refitted on its own."""
    device = device_of(model)
    sums: dict[tuple[str, int], tuple[Tensor, Tensor, int]] = {}
    by_consumer: dict[str, list[tuple[Site, Slot]]] = {}
    for site in sites:
        for slot in site.watched:
            by_consumer.setdefault(slot.module, []).append((site, slot))

    def see(name: str, x: Tensor) -> None:
        layer = linear_or_conv(model, name)
        for site, slot in by_consumer[name]:
            if len(site.consumers) == 1:
                a_RP = inputs(layer, x, slot.index(range(site.units))).double()
            else:
                conv = isinstance(layer, nn.Conv2d)
                a_SUP = by_unit(site, x, conv_consumer=conv, slot=slot)
                a_RP = a_SUP.transpose(1, 2).flatten(0, 1).double()
            xx, s, rows = sums.get((site.name, slot.tensor), (0.0, 0.0, 0))
            sums[site.name, slot.tensor] = (xx + gram(a_RP), s + a_RP.sum(0), rows + len(a_RP))

    with undisturbed(model), watching_inputs(model, by_consumer, see):
        for batch in batches:
            batch.to(device).run(model)
            progress("covariances")
    found = {key: moments_covariance(*x).cpu() for key, x in sums.items()}
    return {s.name: _apart([found[s.name, c.tensor] for c in s.watched]) for s in sites}


def _apart(parts: Sequence[Tensor]) -> Tensor:
    """Covariances [N, N] of T tensors as one [N * T, N * T], a unit's columns together."""
    if len(parts) == 1:
        return parts[0]
    n, t = len(parts[0]), len(parts)
    whole_NTNT = parts[0].new_zeros(n, t, n, t)
    for i, part in enumerate(parts):
        whole_NTNT[:, i, :, i] = part
    return whole_NTNT.reshape(n * t, n * t)
