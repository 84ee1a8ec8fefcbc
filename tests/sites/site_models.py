"""Small models whose sites are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Model(nn.Module):
    """Named layers, and a forward pass given as a function of the model and its inputs."""

    def __init__(self, run: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = run

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
VECTORS = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(4, 7, 10, generator=torch.Generator().manual_seed(2))


def conv(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3))


def normed_cnn() -> nn.Module:
    return nn.Sequential(
        conv(3, 4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 5), nn.AdaptiveAvgPool2d(1)
    )


def flattened_cnn() -> nn.Module:
    """Two convolutions with normalizations and pooling, flattened into two linear layers."""
    return nn.Sequential(
        conv(3, 6),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(6, 4, bias=False),
        nn.BatchNorm2d(4, affine=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 9, bias=False),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Linear(9, 3, bias=False),
    )


def residual() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.stem(x))
        out = m.norm2(m.conv2(F.relu(m.norm1(m.conv1(y)))))
        out += y
        return m.head(F.relu(out).mean((2, 3)))

    return Model(
        run,
        stem=conv(3, 8),
        conv1=conv(8, 5, bias=False),
        norm1=nn.BatchNorm2d(5),
        conv2=conv(5, 8, bias=False),
        norm2=nn.BatchNorm2d(8),
        head=nn.Linear(8, 4),
    )


def concatenated() -> nn.Module:
    return Model(
        lambda m, x: m.c(torch.cat([F.relu(m.a(x)), F.relu(m.b(x))], 1)).mean((2, 3)),
        a=conv(3, 4),
        b=conv(3, 5),
        c=nn.Conv2d(9, 4, 1, bias=False),
    )


def encoder() -> nn.Module:
    return nn.Sequential(nn.TransformerEncoderLayer(10, 2, 16, batch_first=True), nn.Linear(10, 3))
