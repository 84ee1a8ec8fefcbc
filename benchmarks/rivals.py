"""Rivals, called as their users call them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
import torch_pruning as tp
from torch import Tensor, nn

from actprune.data.batch import Batch

WEIGHTED = (nn.Conv2d, nn.Linear)
LARGEST_SHARE = 0.9  # of a layer that torch-pruning's global pruning may take
Importance: TypeAlias = Literal["magnitude", "taylor", "activation"]
Metric: TypeAlias = Literal["magnitude", "taylor"]


def torch_pruner(
    model: nn.Module,
    example: Batch,
    layers: Sequence[str],
    importance: Importance,
    calibration: Iterable[Batch],
    *,
    everywhere: bool = False,
) -> Callable[[float], nn.Module]:
    """torch-pruning on the outputs of `layers` alone: from the share removed to a pruned copy.

    `everywhere`: the share is one of all these channels together, which compete (global pruning).
    """
    score: Any = {
        "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2),
        "taylor": lambda: tp.importance.GroupTaylorImportance(),
        "activation": lambda: tp.importance.ActivationImportance(),
    }[importance]()
    batches = list(calibration)
    gradients = mean_gradients(model, batches) if importance == "taylor" else {}
    seen = _activations(model, score, batches) if importance == "activation" else {}

    def prune(share_removed: float) -> nn.Module:
        small = copy.deepcopy(model).eval()
        for name, p in small.named_parameters():
            p.requires_grad_(True)  # frozen parameters would not be pruned, without a word
            p.grad = gradients[name].clone() if name in gradients else None
        for name, value in seen.items():
            vars(small.get_submodule(name))["_importance"] = value
        chosen = [small.get_submodule(name) for name in layers]
        ignored: list[nn.Module] = [
            m for m in small.modules() if isinstance(m, WEIGHTED) and m not in chosen
        ]
        shares: dict[Any, float] = {} if everywhere else dict.fromkeys(chosen, share_removed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner = tp.pruner.MetaPruner(
                small,
                example.args[0],
                importance=score,
                global_pruning=everywhere,
                # else a layer that would be emptied is left whole, without a word
                max_pruning_ratio=LARGEST_SHARE if everywhere else 1.0,
                pruning_ratio=share_removed if everywhere else 0.0,
                pruning_ratio_dict=shares,
                ignored_layers=ignored,
            )
            pruner.step()
        for name in seen:
            del vars(small.get_submodule(name))["_importance"]
        small.zero_grad(set_to_none=True)
        return small

    return prune


def mean_gradients(model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, Tensor]:
    """Gradient of the mean cross-entropy over all samples by parameter, in evaluation mode."""
    work = copy.deepcopy(model).eval()
    n = 0
    for batch in batches:
        assert batch.labels is not None
        out = batch.run(work)
        nn.functional.cross_entropy(out, batch.labels, reduction="sum").backward()
        n += len(batch)
    return {name: p.grad / n for name, p in work.named_parameters() if p.grad is not None}


def _activations(model: nn.Module, score: Any, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
    """torch-pruning's activation statistics: of all samples at once, since it keeps the last
    batch alone."""
    work = copy.deepcopy(model).eval()
    with torch.no_grad(), score.compute_importance(work):
        work(torch.cat([b.args[0] for b in batches]))
    return {n: vars(m)["_importance"] for n, m in work.named_modules() if "_importance" in vars(m)}


def kirigami_in_order(
    model: nn.Module,
    example: Batch,
    layers: Sequence[str],
    metric: Metric,
    calibration: Iterable[Batch],
    params_kept: float,
) -> tuple[Callable[[int], nn.Module], int]:
    """torch-kirigami on the outputs of `layers` alone, which compete within a budget of parameters.

    Its greedy order over all these channels together is fixed, so that what a larger budget
    removes is the start of what a smaller one removes; any such start is cut by its `plan_remove`,
    which needs no new search.

    Args:
        params_kept: the share of the model's parameters that the whole order leaves.

    Returns:
        From how many of the order are removed to a pruned copy, and how many there are.
    """
    from torch_kirigami.pruning import ParameterBudget, Pruner

    pruner, space, strategy = _kirigami(model, example, layers, metric, calibration)
    budget = ParameterBudget.from_ratio(pruner.model, round(1 - params_kept, 6))
    order = pruner.plan(space, budget=budget, strategy=strategy).selected
    removes = {c.key: c.remove for c in space.candidates}

    def prune(removed: int) -> nn.Module:
        plan = pruner.plan_remove([cut for key in order[:removed] for cut in removes[key]])
        return Pruner(copy.deepcopy(model).eval()).apply(plan)[0]  # plans fit any copy

    return prune, len(order)


def kirigami_by_ratio(
    model: nn.Module,
    example: Batch,
    layers: Sequence[str],
    metric: Metric,
    calibration: Iterable[Batch],
) -> Callable[[float], nn.Module]:
    """torch-kirigami on the outputs of `layers` alone: from the share removed of each to a pruned
    copy."""
    from torch_kirigami.pruning import ChannelRatio, Pruner

    pruner, space, strategy = _kirigami(model, example, layers, metric, calibration)

    def prune(share_removed: float) -> nn.Module:
        plan = pruner.plan(space, budget=ChannelRatio(share_removed), strategy=strategy)
        return Pruner(copy.deepcopy(model).eval()).apply(plan)[0]

    return prune


def _kirigami(
    model: nn.Module,
    example: Batch,
    layers: Sequence[str],
    metric: Metric,
    calibration: Iterable[Batch],
) -> tuple[Any, Any, Any]:
    """A pruner of a copy of `model`, the channels it may remove, and its greedy strategy."""
    from torch_kirigami import DependencyGraph
    from torch_kirigami.pruning import Greedy, GroupMagnitude, Pruner, WeightTaylor

    planned = copy.deepcopy(model).eval()
    gradients = mean_gradients(model, calibration) if metric == "taylor" else {}
    for name, p in planned.named_parameters():
        p.grad = gradients[name].clone() if name in gradients else None
    pruner = Pruner(planned, graph=DependencyGraph.build(planned, args=(example.args[0],)))
    score = WeightTaylor() if metric == "taylor" else GroupMagnitude(p=2)
    return pruner, pruner.discover_candidates(targets=list(layers)), Greedy(score)


def reestimate_batchnorm(model: nn.Module, batches: Sequence[Batch]) -> nn.Module:
    """A copy whose batch normalization statistics are the plain averages over `batches`."""
    fresh = copy.deepcopy(model)
    for module in fresh.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # cumulative average
    fresh.train()
    with torch.no_grad():
        for batch in batches:
            batch.run(fresh)
    return fresh.eval()
