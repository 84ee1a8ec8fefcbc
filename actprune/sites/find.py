"""Find every site of a model, and say why each other layer is not one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.running.state import undisturbed
from actprune.running.wrapped import unwrapped
from actprune.sites.calls import Calls, observe_calls
from actprune.sites.census import Census, take_census
from actprune.sites.coupling import Couplings, RefusedError
from actprune.sites.feeds import Feed, find_feeds
from actprune.sites.proposed import WEIGHTED, cuttable_sites, proved, sharing
from actprune.sites.quantized import quantized_layers
from actprune.sites.site import Site
from actprune.sites.trial import objections
from actprune.sites.watched import watched_sites

FEW = 2  # samples that a model is traced on,
SHORT = 8  # and tokens of each, where they are windows of packed text


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A layer that is no site's producer on its own, and why."""

    layer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The sites of a model in the order in which their consumers run, and what else it holds.

    Sites with an `obstacle` can be watched, not cut; the census knows the layers of the others.
    """

    sites: tuple[Site, ...]
    refusals: tuple[Refusal, ...]
    census: Census


def survey(model: nn.Module, batch: Batch) -> Survey:
    """Find the sites of `model` by tracing it on `batch` (a few samples are enough).

    Sites that can be cut are proposed by torch-pruning's dependency graph, whose trace and search
    both have an end, and then proved, by intervention and by a trial cut. Among the layers left
    over, sites are proposed by autograd's graph and proved by intervention as well (watched.py);
    those of them that a trial cut does not confirm can only be watched. Each convolution and linear
    layer is then the name of a site or has a refusal. The model is left as it was.

    Raises:
        ActpruneError: if the model cannot run on the batch, or cannot be taken out of what wraps it
            (see `unwrapped`).
    """
    model = unwrapped(model)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, WEIGHTED)}
    with undisturbed(model, grad=True):
        whole = batch.select(torch.arange(min(FEW, len(batch))))
        few = whole.shortened(SHORT)
        calls = observe_calls(model, few)
        try:
            couplings = Couplings.trace(model, few)
        except RefusedError as e:
            sites, reasons = [], dict.fromkeys(layers, str(e))
        else:
            with torch.no_grad():
                sites, reasons = cuttable_sites(model, few, couplings, calls, layers)
        feeds = find_feeds(model, few)
    packed = quantized_layers(model)
    for site in sites:
        for layer in _touched([site]):
            if layer in packed:
                reasons |= _against(site, packed[layer])
    reasons |= packed
    sites = [s for s in sites if s.name not in reasons]
    with undisturbed(model):
        census = take_census(model, few, _touched(sites))
        against = objections(model, few, sites, census)
        for site in sites:
            if site.name in against:
                reasons |= _against(site, against[site.name])
        sites = [s for s in sites if s.name not in reasons]
        touched = set(_touched(sites))
        taken = touched | sharing(model)
        feeds = [f for f in feeds if taken.isdisjoint((*f.makers, f.consumer))]
        watched = watched_sites(model, few, feeds, calls)
        more = _cuttable_too(model, few, watched, calls, reasons, packed) if watched else []
        added = _touched([s for s in more if s.obstacle is None])
        touched |= set(added)
        if few is not whole or added:
            census = take_census(model, whole, sorted(touched))
    reasons |= _coupled(sites)
    sites += more
    for site in more:
        reasons.pop(site.name, None)
        for other in {s.module for s in site.producers} & reasons.keys():
            reasons[other] = f"it makes the units of site {site.name} together with that layer"
    reasons |= _routed([f for f in feeds if f.makers[0] in reasons], calls)
    order = {name: i for i, name in enumerate(calls)}
    sites.sort(key=lambda s: order[s.consumer.module])
    return Survey(
        sites=tuple(sites),
        refusals=tuple(
            Refusal(layer=n, reason=reasons[n]) for n, _ in model.named_modules() if n in reasons
        ),
        census=census.model_copy(
            update={"layers": {n: x for n, x in census.layers.items() if n in touched}}
        ),
    )


def _against(site: Site, reason: str) -> dict[str, str]:
    """The reason against a proposed site, for each layer that makes its units."""
    return {p.module: reason for p in site.producers}


def _coupled(sites: Sequence[Site]) -> dict[str, str]:
    """What is said of the layers that share a site's units and do not give it its name."""
    carried: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for site in sites:
        together = f"it makes the units of site {site.name} together with that layer"
        found |= {p.module: together for p in site.producers if p.module != site.name}
        for slot in site.slots:
            if slot.role == "grouped":
                carried.setdefault(slot.module, []).append(site.name)
    within = "its channels are cut with the units of site"
    return {
        layer: f"{within}{'s' * (len(names) > 1)} {' and '.join(names)}"
        for layer, names in carried.items()
    } | found


def _cuttable_too(
    model: nn.Module,
    batch: Batch,
    watched: Sequence[Site],
    calls: Mapping[str, Calls],
    reasons: Mapping[str, str],
    packed: Mapping[str, str],
) -> list[Site]:
    """The watched sites, with their obstacle where interventions and a trial cut do not show that
    they can be cut as well: torch-pruning knows nothing of a gate and a value in one output, and
    it fails on some models as a whole. What it says of a layer is the better reason."""
    shared = sharing(model)
    census = take_census(model, batch, _touched(watched))
    against: dict[str, str] = {}
    whole: dict[str, Site] = {}
    for site in watched:
        try:
            for layer in _touched([site]):
                _check_linear(layer, model.get_submodule(layer), packed)
            whole[site.name] = proved(model, batch, site, calls, shared)
        except RefusedError as e:
            against[site.name] = str(e)
    against |= objections(model, batch, list(whole.values()), census)
    found: list[Site] = []
    for site in watched:
        if site.name not in against:
            found.append(whole[site.name])
            continue
        known = None if site.kind == "gated" else reasons.get(site.name)
        found.append(site.model_copy(update={"obstacle": known or against[site.name]}))
    return found


def _check_linear(name: str, module: nn.Module, packed: Mapping[str, str]) -> None:
    if name in packed:
        raise RefusedError(packed[name])
    if not isinstance(module, nn.Linear):
        kind = type(module).__name__
        raise RefusedError(f"{name} is a {kind}; only Linear is supported so far")


def _routed(feeds: Sequence[Feed], calls: Mapping[str, Calls]) -> dict[str, str]:
    """Why gates and values of unknown rows make no site, by layer; torch-pruning's reason, that
    they are coupled with each other, would mislead."""
    return {
        maker: f"what {f.consumer} reads is not the rows of all samples in order, as in an expert"
        for f in feeds
        for maker in f.makers
        if len(f.makers) > 1 and f.consumer in calls and not calls[f.consumer].samples_first
    }


def _touched(sites: Sequence[Site]) -> list[str]:
    return sorted({slot.module for site in sites for slot in site.slots})
