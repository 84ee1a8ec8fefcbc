"""Small models whose units several layers make, carry or read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from random_weights import seeded
from torch import Tensor, nn

from actprune.data.source import Arrays


def conv(inner: int, outer: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, size, padding=size // 2, bias=False, **options)


class Mobile(nn.Module):
    """Depthwise convolutions: in a plain block with a stride, and, dilated and with a bias, in an
    inverted bottleneck that adds to its input; one activation module serves all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.n0 = conv(2, 6), nn.BatchNorm2d(6)
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False)
        self.n1, self.point, self.n2 = nn.BatchNorm2d(6), conv(6, 8, 1), nn.BatchNorm2d(8)
        self.up, self.n3 = conv(8, 10, 1), nn.BatchNorm2d(10)
        self.deep = nn.Conv2d(10, 10, 3, padding=2, dilation=2, groups=10)
        self.n4, self.project, self.n5 = nn.BatchNorm2d(10), conv(10, 8, 1), nn.BatchNorm2d(8)
        self.act, self.head = nn.ReLU6(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.n1(self.down(self.act(self.n0(self.stem(x))))))
        x = self.n2(self.point(x))
        y = self.act(self.n4(self.deep(self.act(self.n3(self.up(x))))))
        x = x + self.n5(self.project(y))
        return self.head(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """ResNeXt's block: 1x1, a 3x3 convolution in groups of `each` channels, 1x1, and a shortcut."""

    def __init__(
        self, inner: int, wide: int, outer: int, each: int, *, normed: bool = True,
        stride: int = 1, dilation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        groups, bias = wide // each, not normed
        self.a = nn.Conv2d(inner, wide, 1, bias=bias)
        self.b = nn.Conv2d(wide, wide, 3, stride, dilation, dilation, groups, bias)
        self.c = nn.Conv2d(wide, outer, 1, bias=bias)
        self.n0, self.n1, self.n2 = (
            nn.BatchNorm2d(n) if normed else nn.Identity() for n in (wide, wide, outer)
        )
        same = inner == outer and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inner, outer, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.n1(self.b(self.n0(self.a(x)).relu())).relu()
        return (self.n2(self.c(y)) + self.shortcut(x)).relu()


class ResNeXt(nn.Module):
    """Bottlenecks of 2 and of 4 channels a group, with normalizations and with biases instead."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.n0 = conv(2, 6), nn.BatchNorm2d(6)
        self.blocks = nn.Sequential(
            Bottleneck(6, 12, 8, 2, stride=2), Bottleneck(8, 16, 8, 4, normed=False),
            Bottleneck(8, 16, 8, 4, dilation=2),
        )  # fmt: skip
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.n0(self.stem(x)).relu()).mean((2, 3)))


class Groups(nn.Module):
    """A concatenation in groups of 2 channels that make 3, then of 6 that make 4, then flattened;
    one of the two producers is also read in groups of 2 that make one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(2, 12), nn.Conv2d(2, 8, 1)
        self.first = nn.Conv2d(20, 30, 3, padding=1, groups=10)
        self.n, self.second = nn.BatchNorm2d(30), conv(30, 20, groups=5)
        self.other, self.point = nn.Conv2d(12, 6, 3, 2, 1, groups=6), conv(6, 4, 1)
        self.head, self.side = nn.Linear(20 * 36, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x).relu()
        y = self.n(self.first(torch.cat([a, self.b(x).relu()], 1))).relu()
        z = self.point(self.other(a).relu()).relu().mean((2, 3))
        return self.head(self.second(y).relu().flatten(1)) + self.side(z)


class Readers(nn.Module):
    """Units read by two convolutions from one tensor, and by a third after a change in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 8, 3, padding=1), conv(8, 5), conv(8, 5, 1)
        self.d, self.head = nn.Conv2d(8, 5, 1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.a(x), 0.1)
        y = self.b(h) * self.c(h).sigmoid()
        return self.head((y + self.d(h.relu_())).mean((2, 3)))


class Concatenated(nn.Module):
    """Two producers side by side, read by two layers, each behind a normalization of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(2, 4, 1)
        self.n, self.c = nn.BatchNorm2d(9), conv(9, 6, stride=2)
        self.m, self.head = nn.BatchNorm2d(9), nn.Linear(9 + 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.a(x), self.b(x)], 1)
        y = self.c(self.n(h).relu()).relu().mean((2, 3))
        return self.head(torch.cat([self.m(h).relu().mean((2, 3)), y], 1))


class Dense(nn.Module):
    """A DenseNet's block: every layer reads all before it."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.stem = conv(2, 6)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * i) for i in range(layers))
        self.convs = nn.ModuleList(conv(6 + 4 * i, 4) for i in range(layers))
        self.last, self.head = nn.BatchNorm2d(6 + 4 * layers), nn.Linear(6 + 4 * layers, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.stem(x)]
        for norm, layer in zip(self.norms, self.convs, strict=True):
            parts.append(layer(norm(torch.cat(parts, 1)).relu()))
        return self.head(self.last(torch.cat(parts, 1)).relu().mean((2, 3)))


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut, with a 1x1 convolution where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inner, outer, stride=stride), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = conv(outer, outer), nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inner != outer:
            self.downsample = nn.Sequential(
                conv(inner, outer, 1, stride=stride), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += shortcut
        return self.relu(out)


class ResNet(nn.Module):
    """ResNet-18's pattern with two stages: `layer2` begins with a 1x1 shortcut of stride 2."""

    def __init__(self, inner: int = 6, outer: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(2, inner), nn.BatchNorm2d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Block(inner, inner, 1), Block(inner, inner, 1))
        self.layer2 = nn.Sequential(Block(inner, outer, 2), Block(outer, outer, 1))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(outer, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Padded(nn.Module):
    """Two stages whose shortcut pads channels with zeros: 1 before, 3 after."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.n0 = conv(2, 5), nn.BatchNorm2d(5)
        self.a, self.n1 = conv(5, 5), nn.BatchNorm2d(5)
        self.b, self.n2 = conv(5, 5), nn.BatchNorm2d(5)
        self.c, self.n3 = conv(5, 9, stride=2), nn.BatchNorm2d(9)
        self.d, self.n4 = conv(9, 9), nn.BatchNorm2d(9)
        self.head = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.n0(self.stem(x)).relu()
        x = (x + self.n2(self.b(self.n1(self.a(x)).relu()))).relu()
        y = self.n4(self.d(self.n3(self.c(x)).relu()))
        x = (y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 3))).relu()
        return self.head(x.mean((2, 3)))


class Perceptrons(nn.Module):
    """A stream of vectors, read by layers and by the head."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(72, 10), nn.Linear(10, 3)
        self.ups = nn.ModuleList(nn.Linear(10, 12) for _ in range(2))
        self.downs = nn.ModuleList(nn.Linear(12, 10, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x.flatten(1))
        for up, down in zip(self.ups, self.downs, strict=True):
            x = x + down(up(x).relu())
        return self.head(x)


class Squeezed(nn.Module):
    """Channels weighed by what a small network makes of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n = conv(2, 8), nn.BatchNorm2d(8)
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.b, self.head = conv(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.n(self.a(x)).relu()
        h = h * self.up(self.down(h.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head(self.b(h).relu().mean((2, 3)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "depthwise": Mobile,
    "resnext": ResNeXt,
    "groups of several widths": Groups,
    "several readers": Readers,
    "concatenation": Concatenated,
    "dense block": Dense,
    "resnet": ResNet,
    "padded shortcut": Padded,
    "perceptrons": Perceptrons,
    "squeeze": Squeezed,
}


def build(name: str) -> nn.Module:
    """The net called so, in float64; nothing is equal by chance."""
    return seeded(NETS[name])


def images(n: int = 150) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 2, 6, 6, generator=generator, dtype=torch.float64)


def data() -> Arrays:
    generator = torch.Generator().manual_seed(1)
    return Arrays.of(images(), labels=torch.randint(0, 3, (150,), generator=generator))
