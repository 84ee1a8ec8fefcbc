"""Bounds of operations that treat every number by itself."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from actprune.exact.interval import Bounds, Interval, Rule
from actprune.exact.rounding import DOUBLE, TINY, unit_roundoff

FUNCTION = 16  # units of rounding granted to one evaluation of exp, erf, tanh and the like

A = torch.ops.aten


def relu(x: Interval) -> Bounds:
    return Bounds(x.low.clamp(min=0), x.high.clamp(min=0), "relu")


def leaky_relu(x: Interval, slope: float = 0.01) -> Bounds:
    if slope < 0:
        return nothing()
    low, high = (F.leaky_relu(b, slope) for b in (x.low, x.high))
    return widened(low, high, 2, x, "relu")


def clamp(x: Interval, low: Any = None, high: Any = None) -> Bounds:
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return nothing()
    return Bounds(x.low.clamp(low, high), x.high.clamp(low, high))


def add(x: Any, y: Any, *, alpha: float = 1) -> Bounds:
    low_y, high_y = ends(y)
    low_y, high_y = (low_y * alpha, high_y * alpha) if alpha >= 0 else (
        high_y * alpha, low_y * alpha)  # fmt: skip
    low_x, high_x = ends(x)
    size = magnitude(low_x, high_x) + magnitude(low_y, high_y)
    return spread(low_x + low_y, high_x + high_y, size, 3, x, y)


def subtract(x: Any, y: Any, *, alpha: float = 1) -> Bounds:
    return add(x, y, alpha=-alpha)


def multiply(x: Any, y: Any) -> Bounds:
    (a, b), (c, d) = ends(x), ends(y)
    corners = torch.stack(torch.broadcast_tensors(a * c, a * d, b * c, b * d))
    corners = torch.where(corners.isnan(), 0.0, corners)  # 0 x infinite
    low, high = corners.amin(0), corners.amax(0)
    return spread(low, high, magnitude(low, high), 2, x, y)


def divide(x: Any, y: Any) -> Bounds:
    c, _ = ends(y)
    if isinstance(y, Interval) or bool((c == 0).any()):
        return nothing()
    a, b = ends(x)
    corners = torch.stack(torch.broadcast_tensors(a / c, b / c))
    low, high = corners.amin(0), corners.amax(0)
    return spread(low, high, magnitude(low, high), 2, x, y)


def negative(x: Interval) -> Bounds:
    return Bounds(-x.high, -x.low)


def rising(f: Callable[..., Tensor], least: float = -inf, most: float = inf) -> Rule:
    """A function that never falls, with values in [least, most]."""

    def rule(x: Interval, *args: Any, **kwargs: Any) -> Bounds:
        low, high = (f(b, *args, **kwargs) for b in (x.low, x.high))
        out = widened(low, high, FUNCTION, x, None, extra=1.0)
        return Bounds(out.low.clamp(min=least), out.high.clamp(max=most))

    return rule


def dipping(f: Callable[..., Tensor], at: float, depth: float) -> Rule:
    """A function that falls up to `at`, where it is above -`depth`, and rises beyond; 0 far left.

    `at` may be off by a little: within .01 of it the least value serves.
    """

    def rule(x: Interval, *args: Any, **kwargs: Any) -> Bounds:
        left, right = (torch.where(b == -inf, 0.0, f(b, *args, **kwargs)) for b in (x.low, x.high))
        inside = (x.low <= at + 0.01) & (x.high >= at - 0.01)
        low = torch.where(inside, -depth, torch.minimum(left, right))
        high = torch.maximum(left, right)
        size = torch.maximum(magnitude(left, right), torch.ones_like(left))
        return spread(low, high, size, FUNCTION, x)

    return rule


def convert(x: Interval, *, dtype: torch.dtype | None = None, **_: Any) -> Bounds:
    """Another precision: one rounding to it."""
    if dtype is None or dtype == x.dtype:
        return Bounds(x.low, x.high)
    if not (dtype.is_floating_point and x.dtype.is_floating_point):
        return nothing()
    u = torch.finfo(dtype).eps / 2
    wide = 2 * (u + DOUBLE) * torch.maximum(x.low.abs(), x.high.abs())
    return Bounds(x.low - wide, x.high + wide)


def nothing() -> Bounds:
    """No bounds, for a result of any shape."""
    low = torch.tensor(-inf, dtype=torch.float64)
    return Bounds(low, -low)


def ends(x: Any) -> tuple[Tensor, Tensor]:
    """low, high of an operand: an interval, a plain tensor or a number."""
    if isinstance(x, Interval):
        return x.low, x.high
    plain = torch.as_tensor(x, dtype=torch.float64) if not isinstance(x, Tensor) else x.double()
    return plain, plain


def magnitude(low: Tensor, high: Tensor) -> Tensor:
    return torch.maximum(low.abs(), high.abs())


def spread(low: Tensor, high: Tensor, size: Tensor, units: int, *operands: Any) -> Bounds:
    """[low, high] with `units` roundings of `size` on both sides; none where `size` is zero."""
    u = max(unit_roundoff(x) for x in operands if isinstance(x, Interval))
    wide = torch.where(size > 0, size * (units * (u + 2 * DOUBLE) * (1 + 1e-6)) + TINY, 0.0)
    return Bounds(low - wide, high + wide)


def widened(
    low: Tensor, high: Tensor, units: int, x: Interval, word: str | None, extra: float = 0.0
) -> Bounds:
    """As `spread`, each end by its own size (and `extra`, for functions near 1)."""
    u = (units * (unit_roundoff(x) + 2 * DOUBLE)) * (1 + 1e-6)
    return Bounds(low - u * (low.abs() + extra), high + u * (high.abs() + extra), word)


RULES: dict[Any, Rule] = {
    A.relu.default: relu,
    A.leaky_relu.default: leaky_relu,
    A.hardtanh.default: lambda x, low=-1.0, high=1.0: clamp(x, low, high),
    A.clamp.default: clamp,
    A.clamp_min.default: lambda x, low: clamp(x, low),
    A.clamp_max.default: lambda x, high: clamp(x, None, high),
    A.gelu.default: dipping(F.gelu, -0.75179, 0.1702),
    A.silu.default: dipping(F.silu, -1.27846, 0.27847),
    A.hardswish.default: dipping(F.hardswish, -1.5, 0.3751),
    A.sigmoid.default: rising(torch.sigmoid, 0.0, 1.0),
    A.hardsigmoid.default: rising(F.hardsigmoid, 0.0, 1.0),
    A.tanh.default: rising(torch.tanh, -1.0, 1.0),
    A.add.Tensor: add,
    A.sub.Tensor: subtract,
    A.mul.Tensor: multiply,
    A.div.Tensor: divide,
    A.neg.default: negative,
    A._to_copy.default: convert,
}
