"""Models in which nothing is equal by chance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """The model in float64, with random weights and normalizations, always the same."""
    torch.manual_seed(0)
    model = make().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for t in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(t, std=0.5)  # pyright: ignore
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # pyright: ignore
    return model
