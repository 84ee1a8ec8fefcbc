"""Find every prunable site of a model, and say why each other layer is not one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.hooks import changing_outputs
from actprune.running.joins import tapping
from actprune.running.state import undisturbed
from actprune.sites.census import Census, take_census
from actprune.sites.coupling import Couplings, RefusedError
from actprune.sites.proof import flows_only_through
from actprune.sites.site import Site, Slot

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A layer whose units cannot be removed, and why."""

    layer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The sites of a model in the order in which their consumers run, and what else it holds."""

    sites: tuple[Site, ...]
    refusals: tuple[Refusal, ...]
    census: Census


def survey(model: nn.Module, batch: Batch) -> Survey:
    """Find the sites of `model` by tracing it on `batch` (a few samples are enough).

    Each site is proposed by torch-pruning's dependency graph and then proved by intervention.
    The model is left as it was.

    Raises:
        ActpruneError: if the model cannot run on the batch.
    """
    few = batch.select(torch.arange(min(2, len(batch))))
    with undisturbed(model, grad=True):
        calls = _call_order(model, few)
        layers = {n: m for n, m in model.named_modules() if isinstance(m, WEIGHTED)}
        try:
            couplings = Couplings.trace(model, few)
        except RefusedError as e:
            sites, refusals = [], [Refusal(layer=n, reason=str(e)) for n in layers]
        else:
            with torch.no_grad():
                sites, refusals = _sort(model, few, couplings, calls, layers)
    with undisturbed(model):
        names = sorted({slot.module for site in sites for slot in site.slots})
        census = take_census(model, few, names)
    order = {name: i for i, name in enumerate(calls)}
    sites.sort(key=lambda s: order[s.consumer.module])
    return Survey(sites=tuple(sites), refusals=tuple(refusals), census=census)


def _sort(
    model: nn.Module,
    batch: Batch,
    couplings: Couplings,
    calls: Counter[str],
    layers: Mapping[str, nn.Module],
) -> tuple[list[Site], list[Refusal]]:
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    sites: list[Site] = []
    refusals: list[Refusal] = []
    for name, module in layers.items():
        try:
            _check_layer(name, module, calls, owners)
            assert isinstance(module, (nn.Linear, nn.Conv2d))
            site = _site(name, module, couplings.slots(name, module))
            for slot in site.slots:
                _check_layer(slot.module, model.get_submodule(slot.module), calls, owners)
            if not flows_only_through(model, batch, site):
                raise RefusedError(
                    f"its units reach the output by another way than {site.consumer.module}"
                )
            sites.append(site.model_copy(update={"norms_after": _norms_after(model, batch, site)}))
        except RefusedError as e:
            refusals.append(Refusal(layer=name, reason=str(e)))
    return sites, refusals


def _check_layer(name: str, module: nn.Module, calls: Counter[str], owners: Counter[int]) -> None:
    if isinstance(module, (nn.Conv1d, nn.Conv3d)):
        raise RefusedError(f"{name} is a {type(module).__name__}; only Conv2d is supported so far")
    if calls[name] != 1:
        raise RefusedError(f"{name} runs {calls[name]} times in one forward pass")
    if parametrize.is_parametrized(module):
        raise RefusedError(f"the weight of {name} is parametrized; remove the parametrization")
    if any(owners[id(p)] > 1 for p in module.parameters(recurse=False)):
        raise RefusedError(f"{name} shares a parameter with another layer")
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise RefusedError(f"{name} pads by {module.padding_mode!r}; only 'zeros' is supported")


def _site(name: str, module: nn.Linear | nn.Conv2d, slots: tuple[Slot, ...]) -> Site:
    consumers = [s.module for s in slots if s.role == "consumer"]
    if not consumers:
        raise RefusedError("no layer reads its units: they are the model's output")
    if len(consumers) > 1:
        raise RefusedError(f"several layers read its units: {', '.join(consumers)}")
    units = module.weight.shape[0]
    if units < 2:
        raise RefusedError("it has a single unit")
    kind = "conv" if isinstance(module, nn.Conv2d) else "linear"
    return Site(name=name, kind=kind, units=units, slots=slots)


def _norms_after(model: nn.Module, batch: Batch, site: Site) -> tuple[str, ...]:
    names = {m: n for n, m in model.named_modules()}
    with tapping(model, site.consumer.module) as tap:
        batch.run(model)
    return tuple(names[m] for m in tap.norms)


def _call_order(model: nn.Module, batch: Batch) -> Counter[str]:
    """How often each leaf module runs, in the order of first runs."""
    calls: Counter[str] = Counter()
    leaves = [n for n, m in model.named_modules() if n and not any(m.children())]

    def count(name: str, _input: torch.Tensor, _output: torch.Tensor) -> None:
        calls[name] += 1

    with changing_outputs(model, leaves, count), torch.no_grad():
        try:
            batch.run(model)
        except (RuntimeError, TypeError, ValueError, IndexError) as e:
            shapes = [tuple(x.shape) for x in batch.args if isinstance(x, torch.Tensor)]
            shapes += [tuple(x.shape) for x in batch.kwargs.values() if isinstance(x, torch.Tensor)]
            raise ActpruneError(
                f"The model cannot run on the data: inputs of shape {shapes} "
                f"(first axis samples) gave {type(e).__name__}: {str(e).splitlines()[0]}. "
                f"Give inputs as the model's forward takes them."
            ) from e
    return calls
