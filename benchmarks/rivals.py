"""Rivals, called as their users call them, on the inner channels of residual blocks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import torch
import torch_pruning as tp
from torch import nn

from actprune.data.batch import Batch


def torch_pruning_magnitude(
    model: nn.Module, example: Batch, layers: Sequence[str], share_removed: float
) -> nn.Module:
    """torch-pruning's GroupMagnitude on the outputs of `layers` alone, the same share of each."""
    small = copy.deepcopy(model).eval()
    chosen = [small.get_submodule(name) for name in layers]
    weighted = (nn.Conv2d, nn.Linear)
    ignored: list[nn.Module] = [
        m for m in small.modules() if isinstance(m, weighted) and m not in chosen
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = tp.pruner.MetaPruner(
            small,
            example.args[0],
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=0.0,
            pruning_ratio_dict=dict.fromkeys(chosen, share_removed),
            ignored_layers=ignored,
        )
        pruner.step()
    return small


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
