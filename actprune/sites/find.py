"""Find every site of a model, and say why each other layer is not one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from actprune.data.batch import Batch
from actprune.running.hooks import watching_inputs
from actprune.running.joins import tapping
from actprune.running.offloaded import identities
from actprune.running.state import undisturbed
from actprune.running.wrapped import unwrapped
from actprune.sites.calls import Calls, observe_calls
from actprune.sites.census import Census, take_census
from actprune.sites.coupling import Coupled, Couplings, RefusedError
from actprune.sites.feeds import Feed, find_feeds
from actprune.sites.proof import fits, flows_only_through
from actprune.sites.quantized import quantized_layers
from actprune.sites.site import Kind, Site, Slot
from actprune.sites.trial import objection
from actprune.sites.watched import watched_sites

FEW = 2  # samples that a model is traced on,
SHORT = 32  # and tokens of each, where they are windows of packed text
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


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
    over, sites that can only be watched are proposed by autograd's graph and proved by intervention
    as well (watched.py). Each convolution and linear layer is then the name of a site or has a
    refusal. The model is left as it was.

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
                sites, reasons = _sort(model, few, couplings, calls, layers)
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
        for site in sites:
            reason = objection(model, few, site, census)
            if reason is not None:
                reasons |= _against(site, reason)
        sites = [s for s in sites if s.name not in reasons]
        touched = set(_touched(sites))
        taken = touched | _sharing(model)
        if few is not whole:
            census = take_census(model, whole, sorted(touched))
        feeds = [f for f in feeds if taken.isdisjoint((*f.makers, f.consumer))]
        watched = watched_sites(model, few, feeds, calls)
    for site in sites:
        reasons |= _coupled(site)
    for site in watched:
        obstacle = _obstacle(model, site, reasons)
        sites.append(site.model_copy(update={"obstacle": obstacle}))
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


def _coupled(site: Site) -> dict[str, str]:
    """What is said of the layers that share a site's units and do not give it its name."""
    together = f"it makes the units of site {site.name} together with that layer"
    within = f"its channels are cut with the units of site {site.name}"
    found = {p.module: together for p in site.producers if p.module != site.name}
    return {s.module: within for s in site.slots if s.role == "grouped"} | found


def _obstacle(model: nn.Module, site: Site, reasons: Mapping[str, str]) -> str:
    """Why a site that can be watched cannot be cut."""
    if site.kind == "gated":
        makers = " and ".join(dict.fromkeys(s.module for s in site.producers))
        return f"each of its units is made by two outputs, a gate and a value, of {makers}"
    if site.name in reasons:
        return reasons[site.name]
    kind = type(model.get_submodule(site.name)).__name__
    return f"{site.name} is a {kind}; only Linear is supported so far"


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


def _sort(
    model: nn.Module,
    batch: Batch,
    couplings: Couplings,
    calls: Mapping[str, Calls],
    layers: Mapping[str, nn.Module],
) -> tuple[list[Site], dict[str, str]]:
    """The sites proved by intervention, and the reason against each other layer."""
    shared = _sharing(model)
    sites: list[Site] = []
    reasons: dict[str, str] = {}
    made: set[str] = set()  # producers of sites found so far
    for name in sorted(layers, key=_order(calls)):
        module = layers[name]
        if name in made or name in reasons:
            continue
        against = [name]
        try:
            _check_layer(name, module, calls, shared)
            assert isinstance(module, (nn.Linear, nn.Conv2d))
            site = _site(model, name, couplings.of(name, module), calls)
            # a stream is walked once, not again from each of its producers
            against = [p.module for p in site.producers if _whole(model, site, p)]
            for slot in site.slots:
                _check_layer(slot.module, model.get_submodule(slot.module), calls, shared)
            if not fits(model, site):
                raise RefusedError(f"its units are rearranged on the way to {site.readers}")
            for slot in site.consumers:
                if not calls[slot.module].samples_first:
                    raise RefusedError(
                        f"the first axis of what {slot.module} reads is not the samples"
                    )
            if not flows_only_through(model, batch, site):
                raise RefusedError(f"its units reach the output by another way than {site.readers}")
            sites.append(_as_read(model, batch, site))
            made.update(against)
        except RefusedError as e:
            reasons |= dict.fromkeys(against, str(e))
    return sites, reasons


def _sharing(model: nn.Module) -> set[str]:
    """The modules that share a parameter of their own with another one."""
    identity = identities(model)
    owners = Counter(identity.values())
    return {name.rpartition(".")[0] for name, x in identity.items() if owners[x] > 1}


def _check_layer(
    name: str, module: nn.Module, calls: Mapping[str, Calls], shared: Set[str]
) -> None:
    if isinstance(module, WEIGHTED) and not isinstance(module, (nn.Linear, nn.Conv2d)):
        raise RefusedError(f"{name} is a {type(module).__name__}; only Conv2d is supported so far")
    if parametrize.is_parametrized(module):
        raise RefusedError(f"the weight of {name} is parametrized; remove the parametrization")
    if isinstance(module, WEIGHTED):
        if not isinstance(module._parameters.get("weight"), nn.Parameter):
            raise RefusedError(f"the weight of {name} is computed from other tensors, not its own")
        if type(module).forward not in (nn.Linear.forward, nn.Conv2d.forward):
            raise RefusedError(f"{name} ({type(module).__name__}) has a forward of its own")
    runs = calls[name].count if name in calls else 0
    if runs != 1:
        raise RefusedError(f"{name} runs {runs} times in one forward pass")
    if calls[name].by_keyword:
        raise RefusedError(f"{name} is given its input by keyword; pass it as the first argument")
    if name in shared:
        raise RefusedError(f"{name} shares a parameter with another layer")
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise RefusedError(f"{name} pads by {module.padding_mode!r}; only 'zeros' is supported")


def _order(calls: Mapping[str, Calls]) -> Callable[[str], int]:
    """When a layer runs first; after all others where it does not."""
    at = {name: i for i, name in enumerate(calls)}
    return lambda name: at.get(name, len(at))


def _site(model: nn.Module, name: str, coupled: Coupled, calls: Mapping[str, Calls]) -> Site:
    """The site that the outputs of `name` would be; its other producers, and its consumers, in the
    order in which they run."""
    runs = _order(calls)
    by_role = {
        role: [s for s in coupled.slots if s.role == role]
        for role in ("producer", "norm", "grouped", "consumer")
    }
    if not by_role["consumer"]:
        raise RefusedError("no layer reads its units: they are the model's output")
    first = model.get_submodule(name)
    assert isinstance(first, (nn.Linear, nn.Conv2d))
    units = len(first.weight)
    if units < 2:
        raise RefusedError("it has a single unit")
    producers = sorted(by_role["producer"], key=lambda s: (s.module != name, runs(s.module)))
    consumers = sorted(by_role["consumer"], key=lambda s: runs(s.module))
    kind: Kind = "conv" if isinstance(first, nn.Conv2d) else "linear"
    if len(producers) > 1:
        kind = "gated" if coupled.product and len(producers) == 2 else "residual"
    if kind == "gated" and not any(
        isinstance(model.get_submodule(p.module), nn.Conv2d) for p in producers
    ):
        raise RefusedError(
            "each of its units is made by two outputs, a gate and a value, of "
            + " and ".join(p.module for p in producers)
        )
    between = [s for s in coupled.slots if s.role in ("norm", "grouped")]
    return Site(
        name=name,
        kind=kind,
        units=units,
        slots=(*producers, *between, *consumers),
    )


def _whole(model: nn.Module, site: Site, producer: Slot) -> bool:
    """Whether the units of `site` are all that the producer makes."""
    weight = model.get_submodule(producer.module).get_parameter("weight")
    return len(weight) == site.units * producer.repeat


def _as_read(model: nn.Module, batch: Batch, site: Site) -> Site:
    """The site with what is behind each consumer, and which tensors they read."""
    tensors = _tensors_read(model, batch, site)
    consumers = [
        slot.model_copy(
            update={
                "norms_after": _norms_after(model, batch, slot),
                "tensor": tensors[slot.module],
            }
        )
        for slot in site.consumers
    ]
    others = [s for s in site.slots if s.role != "consumer"]
    return site.model_copy(update={"slots": (*others, *consumers)})


def _tensors_read(model: nn.Module, batch: Batch, site: Site) -> dict[str, int]:
    """Per consumer the number of the tensor it reads: the same for those that read the same values
    at the same place, unchanged in between."""
    seen: list[tuple[Tensor, int]] = []  # held, so that no memory is used twice
    numbers: dict[str, int] = {}

    def see(name: str, x: Tensor) -> None:
        place = (x.data_ptr(), x.shape, x.stride(), x.dtype, x.device, x._version)
        known = [
            i
            for i, (y, version) in enumerate(seen)
            if (y.data_ptr(), y.shape, y.stride(), y.dtype, y.device, version) == place
        ]
        if not known:
            seen.append((x, x._version))
        numbers[name] = known[0] if known else len(seen) - 1

    with watching_inputs(model, [s.module for s in site.consumers], see):
        batch.run(model)
    return numbers


def _norms_after(model: nn.Module, batch: Batch, consumer: Slot) -> tuple[str, ...]:
    names = {m: n for n, m in model.named_modules()}
    with tapping(model, consumer.module) as tap:
        batch.run(model)
    return tuple(names[m] for m in tap.norms)
