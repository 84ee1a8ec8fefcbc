"""A network of grouped and depthwise convolutions, with shortcuts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupedBlocks(nn.Module):
    """float [n, 3, 17, 13] -> [n, 7]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.a, self.n = nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.b = nn.Conv2d(24, 24, 3, padding=2, dilation=2, groups=6, bias=False)
        self.m, self.c = nn.BatchNorm2d(24), nn.Conv2d(24, 8, 1)
        self.d, self.e = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 5, 2, 2, groups=8)
        self.f, self.g = nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 10, 1)
        self.head = nn.Linear(10, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.c(self.m(self.b(self.n(self.a(x)).relu())).relu())).relu()
        x = self.f(self.e(self.d(x).relu()).relu()).relu()
        return self.head(self.g(x).relu().mean((2, 3)))


def make() -> GroupedBlocks:
    """Always the same weights."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        return GroupedBlocks().eval()
