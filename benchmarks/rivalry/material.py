"""One network of the comparison with its images: the same for every method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from actprune.data.source import Arrays
from actprune.data.split import heldout
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.zoo import images
from benchmarks import cifar

NETS = ("resnet20", "resnet56", "digits-mlp", "digits-cnn", "mnist-cnn")
CALIBRATION = 2_048  # training images of CIFAR-10 that every method may read
CHECK = 128  # further training images, for the forecast that a plan makes; they decide nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What a method is given, and what its result is measured on."""

    net: str
    seed: int
    dense: nn.Module  # in evaluation mode
    calibration: Arrays
    check: Arrays  # training images that are not in `calibration`
    test: Arrays  # neither trained nor calibrated on


def published(net: str) -> bool:
    """Whether the network comes with its weights, so that a seed chooses images alone."""
    return net.startswith("resnet")


def normalized(net: str) -> bool:
    """Whether the network has batch normalizations."""
    return net != "digits-mlp"


def material(net: str, seed: int, test_images: int) -> Material:
    """Network and images of one seed.

    The seed chooses the CIFAR-10 calibration images; for a net of the zoo it is the training's
    seed, and splits the images that it was not trained on into calibration (two thirds) and test.

    Args:
        test_images: the first so many of CIFAR-10's; nets of the zoo are measured on all theirs.
    """
    if published(net):
        known = cifar.train(CALIBRATION + CHECK, seed=seed)
        return Material(
            net=net,
            seed=seed,
            dense=getattr(cifar, net)(),
            calibration=_part(known, torch.arange(len(known.ids)) < CALIBRATION),
            check=_part(known, torch.arange(len(known.ids)) >= CALIBRATION),
            test=cifar.test(0, test_images),
        )
    unseen = load_data(f"zoo:{net}")
    assert isinstance(unseen, Arrays)
    out = heldout(unseen.ids, seed)
    (x, y), _ = images.mnist() if net == "mnist-cnn" else images.digits()
    shape = unseen.inputs[0].shape[1:]
    return Material(
        net=net,
        seed=seed,
        dense=load_model(f"zoo:{net}@{seed}").model,
        calibration=_part(unseen, ~out),
        check=Arrays.of(x[:CHECK].reshape(-1, *shape), labels=y[:CHECK], spec=f"{net}-training"),
        test=_part(unseen, out),
    )


def _part(data: Arrays, mask: torch.Tensor) -> Arrays:
    """The masked samples, numbered anew: data of their own."""
    assert data.labels is not None
    return Arrays.of(data.inputs[0][mask], labels=data.labels[mask], spec=data.spec)
