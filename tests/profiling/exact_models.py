"""Models and data of small whole numbers, on which every sum is exact, in any order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SAMPLES = 150


def whole_numbers(*shape: int, seed: int, spread: int = 3) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(-spread, spread + 1, shape, generator=gen).float()


def with_whole_weights(model: nn.Module) -> nn.Module:
    """Small whole numbers as weights: every sum is exact, in any order and any batch size."""
    for i, p in enumerate(model.parameters()):
        p.data = whole_numbers(*p.shape, seed=i)
    return model.eval()


def exact_mlp() -> nn.Module:
    return with_whole_weights(
        nn.Sequential(
            nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Hardtanh(-4, 4), nn.Linear(5, 2)
        )
    )


def exact_cnn() -> nn.Module:
    return with_whole_weights(
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(3, 2, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8, 2),
        )
    )
