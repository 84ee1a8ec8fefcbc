"""Cutting streams too, against cutting what lies inside blocks alone, at equal MACs.

    python -m benchmarks.coupled [--nets resnet mobile resnext] [--targets macs=70% macs=50%]

`resnet` (residual blocks around 1x1 shortcuts), `mobile` (inverted bottlenecks around depthwise
convolutions) and `resnext` (bottlenecks around convolutions in groups of 4 channels, which are cut
whole) are trained here on 8,000 MNIST images, once for each seed; `resnet20` is the CIFAR-10
network of `benchmarks.cifar`, whose shortcuts pad channels with zeros. All plans rank by the refit
residual, keep the same share of every site's units and refit, on 512 training images; none sees a
test image. Rows go to benchmarks/results/coupled.jsonl.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor, nn

import actprune
from actprune.data.source import Arrays
from actprune.zoo.training import train_classifier
from benchmarks import cifar
from benchmarks.harness import append, rows
from benchmarks.scaling.images import mnist
from benchmarks.score import score

TARGETS = ("macs=70%", "macs=50%", "macs=30%")
NETS = ("resnet", "mobile", "resnext")
TRAINING, CALIBRATION, TEST = 8_000, 512, 5_000
EPOCHS = 2


class Block(nn.Module):
    """Two 3x3 convolutions, or with `wide` a bottleneck around a convolution in groups of `each`
    channels, beside a shortcut; an inverted bottleneck, of one channel a group, adds linearly."""

    def __init__(self, inner: int, outer: int, stride: int, wide: int = 0, each: int = 1) -> None:
        super().__init__()
        self.linear = bool(wide) and each == 1
        act = nn.ReLU6 if self.linear else nn.ReLU
        if wide:
            layers = [
                *_normed(inner, wide, 1, 1),
                act(),
                *_normed(wide, wide, 3, stride, groups=wide // each),
                act(),
                *_normed(wide, outer, 1, 1),
            ]
        else:
            layers = [*_normed(inner, outer, 3, stride), act(), *_normed(outer, outer, 3, 1)]
        self.inside = nn.Sequential(*layers)
        same = stride == 1 and inner == outer
        self.shortcut = nn.Identity() if same else nn.Sequential(*_normed(inner, outer, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = self.inside(x) + self.shortcut(x)
        return y if self.linear else y.relu()


def _normed(inner: int, outer: int, size: int, stride: int, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outer)]


def network(kind: str) -> nn.Module:
    """Images [n, 1, 28, 28] to logits [n, 10], through two stages of 16 and 32 channels."""
    stem = [*_normed(1, 16, 3, 2), nn.ReLU()]
    shapes = ((16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1))
    wide, each = {"mobile": (3, 1), "resnext": (3, 4)}.get(kind, (0, 1))
    blocks = [Block(i, o, s, wide * i, each) for i, o, s in shapes]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def prepared(net: str, seed: int) -> tuple[nn.Module, Arrays, Arrays]:
    """The network, calibration images out of those it was trained on, and test images."""
    if net == "resnet20":
        return cifar.resnet20(), cifar.train(CALIBRATION, seed=seed), cifar.test(0, TEST)
    all_of_it = mnist()
    order = torch.randperm(len(all_of_it.x), generator=torch.Generator().manual_seed(seed))
    x, y = (t[order[:TRAINING]] for t in (all_of_it.x, all_of_it.y))
    x = x.view(-1, 1, 28, 28)
    model = train_classifier(lambda: network(net), x, y, seed=seed, epochs=EPOCHS)
    test = Arrays.of(all_of_it.other_x[:TEST].view(-1, 1, 28, 28), labels=all_of_it.other_y[:TEST])
    return model, Arrays.of(x[:CALIBRATION], labels=y[:CALIBRATION]), test


def main() -> None:
    """Run what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=(*NETS, "resnet20"))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    done = {(r["net"], r["target"], r["seed"]) for r in rows("coupled")}
    for net in asked.nets:
        for seed in asked.seeds:
            left = [t for t in asked.targets if (net, t, seed) not in done]
            if not left:
                continue
            model, images, test = prepared(net, seed)
            profile = actprune.profile(model, images, seed=seed, spec=net)
            dense = score(model, test)
            for target in left:
                append("coupled", measure(model, profile, target, images, test, net, seed, dense))


def measure(
    model: nn.Module, profile: actprune.Profile, target: str, images: Arrays, test: Arrays,
    net: str, seed: int, dense: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """One row: the same target without streams, and with them."""
    streams = [s.site.name for s in profile.sites if s.site.kind == "residual"]
    row: dict[str, Any] = {"net": net, "target": target, "seed": seed, "dense": dense}
    for what, ignore in (("inner", streams), ("all", [])):
        try:
            plan = actprune.plan(
                model, profile, target, ignore=ignore, batches=images, probes=False
            )
        except actprune.BudgetError as e:
            row[what] = {"reason": str(e)}
            continue
        small = actprune.prune(model, plan, batches=images)
        row[what] = {
            **score(small, test),
            "macs_kept": plan.after.macs / plan.before.macs,
            "params_kept": plan.after.params / plan.before.params,
        }
        print(f"{net} {target} seed {seed} {what}: {row[what]['accuracy']:.4f}", flush=True)
    return row


if __name__ == "__main__":
    main()
