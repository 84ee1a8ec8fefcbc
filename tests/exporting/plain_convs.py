"""A network as a user writes it: strides, dilation, uneven borders, layers without a bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainConvs(nn.Module):
    """float [n, 3, 17, 13] -> [n, 7]."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, (3, 5), stride=2, padding=(1, 2), bias=False)
        self.b = nn.Conv2d(12, 16, 3, dilation=2, padding=2, padding_mode="reflect")
        self.n = nn.BatchNorm2d(16)
        self.c = nn.Conv2d(16, 10, 1)
        self.d, self.e = nn.Linear(10 * 9, 20), nn.Linear(20, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = nn.functional.silu(self.n(self.b(x)))
        x = nn.functional.adaptive_avg_pool2d(self.c(x).relu(), 3)
        return self.e(nn.functional.gelu(self.d(x.flatten(1))))


def make() -> PlainConvs:
    """Always the same weights."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        return PlainConvs().eval()
