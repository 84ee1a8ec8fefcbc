"""A wide perceptron for scikit-learn's digits."""

from __future__ import annotations

from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.zoo import images, training
from actprune.zoo.entry import Entry


class DigitsMLP(nn.Module):
    """float [n, 64] -> logits [n, 10], through two hidden layers of 512 ReLU units."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 512)
        self.fc2 = nn.Linear(512, 512)
        self.head = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc2(self.fc1(x).relu()).relu())


def train(seed: int) -> nn.Module:
    (x, y), _ = images.digits()
    return training.train_classifier(DigitsMLP, x, y, seed=seed, epochs=25)


def data() -> Arrays:
    x, y = images.digits()[1]
    return Arrays.of(x, labels=y, spec="zoo:digits-mlp")


ENTRY = Entry(
    name="digits-mlp",
    summary="64-512-512-10 ReLU perceptron on 898 of scikit-learn's digits; the other 899 are data",
    build=DigitsMLP,
    train=train,
    data=data,
    modules=(__name__, images.__name__, training.__name__),
)
