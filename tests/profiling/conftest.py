from __future__ import annotations

from collections.abc import Callable

import pytest
from exact_models import SAMPLES, exact_cnn, exact_mlp, whole_numbers
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile


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
