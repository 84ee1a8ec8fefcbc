"""Sites that the couplings of a traced model promise, proved by intervention.

A site is proposed from the first layer to run of those that make its units, and tried once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set

from torch import Tensor, nn
from torch.nn.utils import parametrize

from actprune.data.batch import Batch
from actprune.running.hooks import watching_inputs
from actprune.running.joins import tapping
from actprune.running.offloaded import identities
from actprune.sites.calls import Calls
from actprune.sites.coupling import Coupled, Couplings, RefusedError
from actprune.sites.proof import fits, flows_only_through
from actprune.sites.site import Kind, Site, Slot

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


def cuttable_sites(
    model: nn.Module,
    batch: Batch,
    couplings: Couplings,
    calls: Mapping[str, Calls],
    layers: Mapping[str, nn.Module],
) -> tuple[list[Site], dict[str, str]]:
    """The sites proved by intervention, in the order in which their first producers run, and the
    reason against each other layer; whether a trial cut agrees is not asked here."""
    shared = sharing(model)
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
            sites.append(proved(model, batch, site, calls, shared))
            made.update(against)
        except RefusedError as e:
            reasons |= dict.fromkeys(against, str(e))
    return sites, reasons


def proved(
    model: nn.Module, batch: Batch, site: Site, calls: Mapping[str, Calls], shared: Set[str]
) -> Site:
    """The proposed site with how its consumers read it, once an intervention has shown that its
    units reach the output through their slots alone.

    Args:
        shared: the modules that share parameters, see `sharing`.

    Raises:
        RefusedError: with the reason why they cannot be removed as units.
    """
    for slot in site.slots:
        _check_layer(slot.module, model.get_submodule(slot.module), calls, shared)
    if not fits(model, site):
        raise RefusedError(f"its units are rearranged on the way to {site.readers}")
    for slot in site.consumers:
        if not calls[slot.module].samples_first:
            raise RefusedError(f"the first axis of what {slot.module} reads is not the samples")
    if not flows_only_through(model, batch, site):
        raise RefusedError(f"its units reach the output by another way than {site.readers}")
    return _as_read(model, batch, site)


def sharing(model: nn.Module) -> set[str]:
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
    if coupled.units < 2:
        alone = len(first.weight) < 2
        raise RefusedError(
            "it has a single unit"
            if alone
            else f"all its {len(first.weight)} outputs hang together through the groups of "
            + " and ".join(s.module for s in by_role["grouped"])
        )
    producers = sorted(by_role["producer"], key=lambda s: (s.module != name, runs(s.module)))
    consumers = sorted(by_role["consumer"], key=lambda s: runs(s.module))
    kind: Kind = "conv" if isinstance(first, nn.Conv2d) else "linear"
    if len(producers) > 1:
        kind = "gated" if coupled.product and len(producers) == 2 else "residual"
    between = [s for s in coupled.slots if s.role in ("norm", "grouped")]
    return Site(
        name=name,
        kind=kind,
        units=coupled.units,
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
    if len(site.consumers) == 1:
        return {site.consumer.module: 0}
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
