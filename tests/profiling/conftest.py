from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile

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


@pytest.fixture
def mlp() -> nn.Module:
    """Two sites, "0" rectified and "2" not, all of it exact."""
    return exact_mlp()


@pytest.fixture
def cnn() -> nn.Module:
    """Two sites, "0" read by a convolution and "2" flattened, all of it exact."""
    return exact_cnn()


@pytest.fixture
def vectors() -> Tensor:
    return whole_numbers(SAMPLES, 4, seed=100)


@pytest.fixture
def images() -> Tensor:
    return whole_numbers(SAMPLES, 1, 4, 4, seed=101)


@pytest.fixture
def profiled(mlp: nn.Module, vectors: Tensor) -> Callable[..., Profile]:
    """The profile of the samples start to stop of `vectors`, under the ids of the whole."""

    def make(start: int, stop: int, **options: object) -> Profile:
        part = Arrays.of(vectors).where(lambda ids: (ids >= start) & (ids < stop))
        options.setdefault("rule", "positive")
        return profile(mlp, part, **options)  # pyright: ignore[reportArgumentType]

    return make
