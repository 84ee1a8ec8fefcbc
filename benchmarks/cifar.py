"""CIFAR-10 ResNets of 20 and 56 layers with published weights, and images to measure them on.

Weights and images are not part of the repository; they lie in the folder ACTPRUNE_ASSETS, by
default `shared/assets` beside it. As models and data of the command line:
`benchmarks/cifar.py:resnet20`, `benchmarks/cifar.py:train`, `benchmarks/cifar.py:test`; with
`--weights`, `benchmarks/cifar.py:resnet20_net`.

He, Zhang, Ren & Sun (2016), CVPR, section 4.2; weights by Y. Idelbayev, BSD-2-Clause.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.loading.weights import load_weights

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # of channels scaled to 0..1
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class CifarBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut without weights (option A of the paper)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.stride = stride
        self.padding = outer - inner  # channels of zeros, half before and half after

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride > 1:
            shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.padding:
            before = self.padding // 2
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, before, self.padding - before))
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + shortcut).relu()


class CifarResNet(nn.Module):
    """float [n, 3, 32, 32] -> logits [n, 10], through three stages of 16, 32 and 64 channels."""

    def __init__(self, blocks: int) -> None:
        """`blocks` >= 1 a stage, for 6 x blocks + 2 layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(inner: int, outer: int, blocks: int, stride: int) -> nn.Sequential:
    first = CifarBlock(inner, outer, stride)
    return nn.Sequential(first, *(CifarBlock(outer, outer, 1) for _ in range(blocks - 1)))


def resnet20() -> CifarResNet:
    """ResNet-20 with its weights: 91.73 % of the test images right."""
    return _with_weights(resnet20_net(), "resnet20-12fca82f.th")


def resnet20_net() -> CifarResNet:
    """ResNet-20, untrained, to load other weights into."""
    return CifarResNet(3).eval()


def resnet56() -> CifarResNet:
    """ResNet-56 with its weights: 93.39 % of the test images right."""
    return _with_weights(resnet56_net(), "resnet56-4bfd9763.th")


def resnet56_net() -> CifarResNet:
    """ResNet-56, untrained, to load other weights into."""
    return CifarResNet(9).eval()


def train(n: int = 2048, seed: int = 0) -> Arrays:
    """`n` of 10,000 training images, a seeded choice in a seeded order; 1 <= n <= 10,000.

    Choices with the same seed are nested: the smaller one is the start of the larger.
    """
    images, labels = _arrays("train_10k.npz")
    if not 1 <= n <= len(images):
        raise ActpruneError(f"train: n must satisfy 1 <= n <= {len(images)}, got {n}.")
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    name = f"cifar10-train[{n}]" + (f"@{seed}" if seed else "")
    return _normalized(images[chosen.numpy()], labels[chosen.numpy()], name)


def test(start: int = 0, stop: int = 10_000) -> Arrays:  # noqa: PT028  # no pytest test
    """Test images `start` to `stop` (excluded), 0 <= start < stop <= 10,000, in their own order."""
    images, labels = _arrays("test.npz")
    if not 0 <= start < stop <= len(images):
        raise ActpruneError(
            f"test: must satisfy 0 <= start < stop <= {len(images)}, got {start} and {stop}."
        )
    return _normalized(images[start:stop], labels[start:stop], f"cifar10-test[{start}:{stop}]")


def test_halves(seed: int) -> tuple[Arrays, Arrays]:
    """The test images in two random halves. Halves by the file's order are not alike: the
    published ResNet-20 gets 93.2 % of the first 5,000 right and 90.3 % of the others."""
    images, labels = _arrays("test.npz")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).numpy()
    first, second = (
        _normalized(images[part], labels[part], f"cifar10-test[half {i}]@{seed}")
        for i, part in enumerate((order[:5_000], order[5_000:]))
    )
    return first, second


def assets() -> Path:
    """The folder of weights and images, which need not exist."""
    default = Path(__file__).resolve().parents[2] / "shared" / "assets"
    return Path(os.environ.get("ACTPRUNE_ASSETS") or default)


def _asset(name: str) -> Path:
    path = assets() / "cifar10" / name
    if not path.is_file():
        raise ActpruneError(f"{path}: no such file; set ACTPRUNE_ASSETS to the folder of assets.")
    return path


def _with_weights(model: CifarResNet, name: str) -> CifarResNet:
    load_weights(model, _asset(name))
    return model


def _arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(_asset(name), allow_pickle=False) as content:
        return content["images"], content["labels"].astype(np.int64)


def _normalized(images: np.ndarray, labels: np.ndarray, spec: str) -> Arrays:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)  # [n, 3, 32, 32]
    x = x.sub_(MEAN).div_(STD).contiguous()
    return Arrays.of(x, labels=torch.from_numpy(labels), spec=spec)
