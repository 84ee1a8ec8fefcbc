"""A two-convolution network for scikit-learn's digits."""

from __future__ import annotations

from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.zoo import images, training
from actprune.zoo.entry import Entry


class DigitsCNN(nn.Module):
    """float [n, 1, 8, 8] -> logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64 * 4 * 4, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.pool(x).flatten(1)
        return self.head(self.fc1(x).relu())


def train(seed: int) -> nn.Module:
    (x, y), _ = images.digits()
    return training.train_classifier(DigitsCNN, x.view(-1, 1, 8, 8), y, seed=seed, epochs=12)


def data() -> Arrays:
    x, y = images.digits()[1]
    return Arrays.of(x.view(-1, 1, 8, 8), labels=y, spec="zoo:digits-cnn")


ENTRY = Entry(
    name="digits-cnn",
    summary="2 conv-BN-ReLU blocks and 2 linear layers on 898 of scikit-learn's digits; "
    "the other 899 are data",
    build=DigitsCNN,
    train=train,
    data=data,
    modules=(__name__, images.__name__, training.__name__),
)
