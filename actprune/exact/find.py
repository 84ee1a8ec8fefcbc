"""What can go from a site without any change: units proved silent, and units that others say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actprune.exact.bounds import SiteBounds
from actprune.exact.dependent import Combination, dependent, proportional
from actprune.exact.merge import Merge
from actprune.exact.rounding import stored_roundoff
from actprune.sites.site import Site

BEFORE = ("norm",)  # operations that may come before the ReLU, once per normalization
AFTER = ("mean", "padded mean", "max", "reshape")  # and behind it: the same for every unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Units that a site can lose exactly. `proved`: never active. `merges`: said by kept units."""

    proved: tuple[int, ...]
    merges: tuple[Merge, ...]


def exact_units(
    model: nn.Module, site: Site, bounds: SiteBounds, stay: Tensor, avoid: Tensor
) -> Exact:
    """The units that `site` can lose without any change on the box of `bounds`.

    A unit whose row (weights and bias, the normalization folded in) is c > 0 times another's is c
    times it after any ReLU. A unit above zero on the whole box is its row applied to the input, so
    that dependent rows give dependent units, plus a constant from the biases; the consumer must
    then read the units through linear operations, and a constant only if it pads by no zeros.
    Serra, Kumar and Ramalingam 2020, arXiv 2001.00218, section 4; Serra et al. 2021, arXiv
    2102.07804; multiples of active-or-not units and the folding are ours.

    Args:
        stay: bool [units], those that must be kept.
        avoid: bool [units], those that may leave later: no other is merged into them.
    """
    never = bounds.never & ~stay
    left = ~bounds.never
    proved = tuple(never.nonzero().flatten().tolist())
    path = bounds.path
    producer = model.get_submodule(site.producer.module)
    grouped = getattr(producer, "groups", 1) != 1  # rows of two groups read other inputs
    alone = len(site.producers) == len(site.consumers) == 1
    if path is None or grouped or not alone or not _in_order(path, site):
        return Exact(proved=proved, merges=())
    rows, bias, size = effective_rows(model, site)
    known = ~bounds.fixed.isnan()
    inputs = rows.shape[1] // len(bounds.fixed)
    fixed = known.repeat_interleave(inputs)
    values = torch.where(known, bounds.fixed, 0.0).repeat_interleave(inputs)
    bias = bias + rows @ values  # a convolution's fixed inputs are zeros
    size = size + rows.abs() @ values.abs()
    rows = rows[:, ~fixed]
    u = stored_roundoff(producer.get_parameter("weight").dtype)
    sources = left & ~avoid
    merges: dict[int, Merge] = {}
    whole = torch.cat([rows, bias[:, None]], 1)
    candidates = left.nonzero().flatten()
    sizes = torch.cat([rows.abs(), size[:, None]], 1)
    for c in proportional(whole, sizes, candidates, u, sources):
        merges[c.unit] = _merge(c, 0.0)
    if "max" not in path:
        candidates = (left & bounds.always).nonzero().flatten()
    else:  # of the larger of two sums nothing is known, but of a constant it is
        constant = (rows == 0).all(1)
        candidates = (left & bounds.always & constant).nonzero().flatten()
    candidates = candidates[[int(i) not in merges for i in candidates]]
    for c in dependent(rows, rows.abs(), candidates, u, sources):
        value = float(bias[c.unit] - sum(
            a * float(bias[k]) for a, k in zip(c.coefficients, c.sources, strict=True)
        ))  # fmt: skip
        if value == 0 or (_constant_stays(model, site) and "padded mean" not in path):
            merges[c.unit] = _merge(c, value)
    return Exact(proved=proved, merges=_closed(merges, stay))


def _closed(merges: dict[int, Merge], stay: Tensor) -> tuple[Merge, ...]:
    """The merges of units that may go, into units that are not merged themselves."""
    going = {u: m for u, m in merges.items() if not stay[u]}

    def solved(m: Merge) -> Merge:
        while any(k in going for k in m.units):
            total: dict[int, float] = {}
            constant = m.constant
            for k, a in zip(m.units, m.coefficients, strict=True):
                inner = going.get(k) or Merge(unit=k, units=(k,), coefficients=(1.0,))
                constant += a * inner.constant
                for j, b in zip(inner.units, inner.coefficients, strict=True):
                    total[j] = total.get(j, 0.0) + a * b
            m = Merge(unit=m.unit, units=tuple(total), coefficients=tuple(total.values()),
                      constant=constant)  # fmt: skip
        return m

    return tuple(solved(going[u]) for u in sorted(going))


def _merge(c: Combination, constant: float) -> Merge:
    return Merge(unit=c.unit, units=c.sources, coefficients=c.coefficients, constant=constant)


def _in_order(path: tuple[str, ...], site: Site) -> bool:
    """Whether the path is: normalizations (those of the site), a ReLU or none, pooling."""
    norms = sum(s.role == "norm" for s in site.slots)
    relu = path[norms : norms + 1] == ("relu",)
    behind = path[norms + relu :]
    pooled = behind.index("reshape") if "reshape" in behind else len(behind)
    makers = (s for s in site.slots if s.role != "consumer")
    return (
        all(s.repeat == 1 and s.role != "grouped" for s in makers)
        and path[:norms] == BEFORE * norms
        and all(word in AFTER for word in behind)
        and all(word == "reshape" for word in behind[pooled:])
    )


def _constant_stays(model: nn.Module, site: Site) -> bool:
    """Whether a constant input of the consumer is the same as a bias: not under zero padding."""
    return not pads(model.get_submodule(site.consumer.module))


def pads(layer: nn.Module) -> bool:
    """Whether `layer` is a convolution that adds zeros around its input."""
    return isinstance(layer, nn.Conv2d) and any(layer._reversed_padding_repeated_twice)


def effective_rows(model: nn.Module, site: Site) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [units, M] and biases [units] that make the units before their ReLU, float64: the
    producer's, with the normalizations between folded in; and the sum of the sizes of the terms
    that a bias is made of."""
    producer = model.get_submodule(site.producer.module)
    slot = site.producer
    weight = producer.get_parameter("weight").detach().double().cpu().flatten(1)
    own = producer.bias
    bias = weight.new_zeros(len(weight)) if own is None else own.detach().double().cpu()  # pyright: ignore
    index = slot.index(range(site.units))
    weight, bias = weight[index], bias[index]
    size = bias.abs()
    for norm in (s for s in site.slots if s.role == "norm"):
        layer = model.get_submodule(norm.module)
        index = norm.index(range(site.units))
        at = {
            name: t.detach().double().cpu()[index]
            for name in ("weight", "bias", "running_mean", "running_var")
            if isinstance(t := getattr(layer, name, None), Tensor)
        }
        factor = (at["running_var"] + layer.eps).rsqrt() * at.get("weight", 1.0)  # pyright: ignore
        shift = at.get("bias", torch.zeros_like(bias))
        weight, bias = weight * factor[:, None], (bias - at["running_mean"]) * factor + shift
        size = (size + at["running_mean"].abs()) * factor.abs() + shift.abs()
    return weight, bias, size
