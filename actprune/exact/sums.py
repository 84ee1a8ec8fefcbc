"""Bounds of sums of products: linear layers, convolutions, normalizations and pooling."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from actprune.exact.elementwise import RULES as ELEMENTWISE
from actprune.exact.elementwise import nothing
from actprune.exact.interval import Bounds, Interval, Rule
from actprune.exact.rounding import DOUBLE, margin, unit_roundoff

A = torch.ops.aten


def affine(
    x: Interval, run: Callable[[Tensor, Tensor], Tensor], w: Tensor, bias: Tensor, terms: int,
    word: str | None = None,
) -> Bounds:  # fmt: skip
    """Bounds of W x + bias, x = centre +- radius: W centre + bias +- |W| radius, widened by what
    rounding can do (`margin`).

    What has no upper bound pulls a sum without one up where its weight is positive and down where
    it is negative, and leaves the other side alone: rounding takes back less than its term gives.

    Args:
        run: `run(v, w)` multiplies v by the weights w, in float64.
        bias: float64, of a shape that broadcasts over the output.
        terms: products in each sum.
    """
    down, up = x.low.isinf(), x.high.isinf()
    low = torch.where(down, torch.where(up, 0.0, x.high), x.low)
    high = torch.where(up, low, x.high)
    centre = (low + high) / 2
    # the centre is rounded: the larger distance from it, and the rounding of that, cover both ends
    radius = torch.maximum(high - centre, centre - low)
    radius = radius + 4 * DOUBLE * (radius + centre.abs())
    radius = torch.where(low == high, 0.0, radius)
    centre = torch.where(low == high, low, centre)
    middle, size = run(centre, w) + bias, run(centre.abs() + radius, w.abs()) + bias.abs()
    wide = run(radius, w.abs()) + margin(terms + 2, unit_roundoff(x), size)
    low, high = middle - wide, middle + wide
    if bool((down | up).any()):
        rises, falls = w.clamp(min=0), (-w).clamp(min=0)
        up, down = up.double(), down.double()
        high = torch.where(run(up, rises) + run(down, falls) > 0, torch.inf, high)
        low = torch.where(run(down, rises) + run(up, falls) > 0, -torch.inf, low)
    return Bounds(low, high, word)


def mm(x: Any, w: Any) -> Bounds:
    return addmm(None, x, w)


def addmm(bias: Any, x: Any, w: Any, *, beta: float = 1, alpha: float = 1) -> Bounds:
    if any(isinstance(t, Interval) for t in (bias, w)) or (beta, alpha) != (1, 1):
        return nothing()
    w = w.double()
    b = torch.zeros(w.shape[1:], dtype=torch.float64, device=w.device)
    b = b if bias is None else bias.double()
    return affine(x, torch.matmul, w, b, len(w))


def convolution(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Bounds:  # fmt: skip
    def run(v: Tensor, weight: Tensor) -> Tensor:
        return A.convolution(
            v, weight, None, stride, padding, dilation, transposed, output_padding, groups
        )

    if isinstance(w, Interval) or isinstance(bias, Interval):
        return nothing()
    w = w.double()
    b = w.new_zeros(()) if bias is None else bias.double().reshape(-1, *(1,) * (w.ndim - 2))
    terms = prod(w.shape[1:]) if not transposed else prod(w.shape[2:]) * len(w)
    return affine(x, run, w, b, terms)


def batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, _momentum: float,
    eps: float,
) -> Bounds:  # fmt: skip
    """(x - mean) / sqrt(var + eps) * weight + bias: at most eight roundings of |x factor| + |mean
    factor| + |bias|, in whatever order it is computed."""
    own = (weight, bias, mean, var)
    if training or mean is None or var is None or any(isinstance(t, Interval) for t in own):
        return nothing()
    shape = (-1, *(1,) * (x.ndim - 2))
    factor = (var.double() + eps).rsqrt()
    factor = factor if weight is None else factor * weight.double()
    shift = torch.zeros_like(factor) if bias is None else bias.double()
    moved = (mean.double() * factor).abs() + shift.abs()
    total = shift - mean.double() * factor
    factor, total, moved = (t.reshape(shape) for t in (factor, total, moved))
    out = affine(x, torch.mul, factor, total, 8, "norm")
    extra = margin(8, unit_roundoff(x), moved)
    return Bounds(out.low - extra, out.high + extra, "norm")


def mean(x: Interval, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Bounds:
    return _pooled(x, lambda v: v.mean(dim, keepdim=keepdim), "mean", dtype)


def total(x: Interval, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Bounds:
    return _pooled(x, lambda v: v.sum(dim, keepdim=keepdim), None, dtype)


def average(x: Interval, *args: Any, **kwargs: Any) -> Bounds:
    padding = args[2] if len(args) > 2 else kwargs.get("padding", 0)
    padded = any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
    word = "padded mean" if padded else "mean"
    return _pooled(x, lambda v: A.avg_pool2d.default(v, *args, **kwargs), word, None)


def adaptive_average(x: Interval, size: Any) -> Bounds:
    return _pooled(x, lambda v: A._adaptive_avg_pool2d.default(v, size), "mean", None)


def _pooled(x: Interval, f: Callable[[Tensor], Tensor], word: str | None, dtype: Any) -> Bounds:
    """A sum with weights that are not negative; as many terms as there are numbers at most."""
    if dtype not in (None, x.dtype):
        return nothing()
    low, high = f(x.low), f(x.high)
    size = f(torch.maximum(x.low.abs(), x.high.abs()))
    terms = -(-x.numel() // max(1, len(x)))
    wide = margin(terms + 2, unit_roundoff(x), size)
    return Bounds(low - wide, high + wide, word)


def max_pool(x: Interval, *args: Any, **kwargs: Any) -> Bounds:
    low, high = (F.max_pool2d(b, *args, **kwargs) for b in (x.low, x.high))
    return Bounds(low, high, "max")


RULES: dict[Any, Rule] = {
    **ELEMENTWISE,
    A.mm.default: mm,
    A.addmm.default: addmm,
    A.convolution.default: convolution,
    A.native_batch_norm.default: batch_norm,
    A.cudnn_batch_norm.default: batch_norm,
    A._native_batch_norm_legit_no_training.default: lambda x, w, b, m, v, momentum, eps: batch_norm(
        x, w, b, m, v, False, momentum, eps
    ),
    A.mean.default: mean,
    A.mean.dim: mean,
    A.sum.default: total,
    A.sum.dim_IntList: total,
    A.avg_pool2d.default: average,
    A._adaptive_avg_pool2d.default: adaptive_average,
    A.max_pool2d_with_indices.default: max_pool,
}

# operations that only move numbers, and what they do to a path: None ends it, "" leaves it
STRUCTURAL: dict[Any, str | None] = {
    A.view.default: "reshape",
    A._unsafe_view.default: "reshape",
    A.squeeze.dims: "reshape",
    A.squeeze.dim: "reshape",
    A.squeeze.default: "reshape",
    A.unsqueeze.default: None,
    A.cat.default: "",
    A.clone.default: "",
    A.detach.default: "",
    A.alias.default: "",
    A.lift_fresh.default: "",
    A.t.default: None,
    A.transpose.int: None,
    A.permute.default: None,
    A.slice.Tensor: None,
    A.select.int: None,
    A.split.Tensor: None,
    A.split_with_sizes.default: None,
    A.expand.default: None,
    A.constant_pad_nd.default: None,
}
