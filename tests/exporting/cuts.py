"""Networks of every kind, cut in half and saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import actprune
from actprune.data.source import Arrays
from actprune.loading.model import build_model
from actprune.loading.resolve import resolve
from actprune.zoo import ZOO

HERE = Path(__file__).parent
CIFAR = str(HERE.parents[1] / "benchmarks" / "cifar.py")
ASSETS = resolve(f"{CIFAR}:assets").value() / "cifar10"
MISSING = [n for n in ("resnet20-12fca82f.th", "test.npz", "train_10k.npz")
           if not (ASSETS / n).is_file()]  # fmt: skip
NAMES = ("zoo:digits-mlp", "zoo:digits-cnn", "zoo:mnist-cnn", f"{CIFAR}:resnet20_net",
         f"{HERE / 'plain_convs.py'}:make", f"{HERE / 'grouped_blocks.py'}:make")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """A pruned network, where it was saved, and samples to run it on."""

    spec: str
    dense: nn.Module
    small: nn.Module
    folder: Path
    x: Tensor  # the first 40 samples

    @property
    def factory(self) -> Callable[[], nn.Module] | None:
        """What `actprune.load` needs besides the folder."""
        return None if self.spec.startswith("zoo:") else lambda: build_model(self.spec)

    def logits(self) -> Tensor:
        """The pruned network's own, in this process."""
        return outputs(self.small, self.x)


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Logits in evaluation mode."""
    return model(x)


def model_and_data(spec: str) -> tuple[nn.Module, Arrays]:
    if spec.startswith(CIFAR):
        return resolve(f"{CIFAR}:resnet20").value(), resolve(f"{CIFAR}:train").value(96)
    torch.manual_seed(0)
    model = build_model(spec)
    if spec.startswith("zoo:"):
        data = ZOO[spec.removeprefix("zoo:")].data()
        assert isinstance(data, Arrays)
        data = data.where(lambda ids: ids < 96)
    else:
        data = Arrays.of(torch.randn(96, 3, 17, 13), spec="drawn")
    model.train()  # untrained: let batch normalization at least know the data
    for _ in range(3):
        outputs(model, data.inputs[0])
    return model.eval(), data


def half(spec: str, folder: Path) -> Cut:
    """Half of the hidden units gone, their means in the biases, saved in `folder`."""
    dense, data = model_and_data(spec)
    seen = actprune.profile(dense, data, spec=spec)
    plan = actprune.plan(
        dense, seen, "units=50%", criterion="rare", compensation=actprune.Compensation(kind="mean")
    )
    small = actprune.prune(dense, plan, batches=data)
    actprune.save_pruned(small, dense, plan, folder)
    return Cut(spec=spec, dense=dense, small=small, folder=folder, x=data.inputs[0][:40])
