"""What a model costs, counted on the model itself."""

from __future__ import annotations

from torch import nn

from actprune.data.batch import Batch
from actprune.running.state import undisturbed
from actprune.sites.census import Cost, static_cost, take_census


def cost_of(model: nn.Module, example: Batch) -> Cost:
    """Parameters, bytes, and multiply-accumulates a sample, counted on a forward pass."""
    with undisturbed(model):
        macs = take_census(model, example, []).macs
    fixed = static_cost(model)
    return Cost(params=fixed.params, macs=macs, bytes=fixed.bytes)
