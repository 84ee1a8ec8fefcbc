"""Compensate a cut layer by layer, each seeing what the pruned layers before it produce."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.errors import ActpruneError
from actprune.profiling.layout import by_unit
from actprune.refit.channel import absorb, predict_removed
from actprune.refit.design import columns_of, entries, inputs, matrix, outputs
from actprune.refit.moments import Moments, total
from actprune.refit.ridge import choose_strength, ridge
from actprune.refit.settings import Compensation
from actprune.refit.targets import DenseTargets, find_joins
from actprune.running.joins import tapping
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, linear_or_conv, substituted
from actprune.sites.cut import Cut
from actprune.sites.site import Site


def removed_entries(sites: Sequence[Site], cut: Cut) -> dict[str, Tensor]:
    """Per consumer that loses inputs, in running order: the entries removed, int64 ascending."""
    gone: dict[str, list[Tensor]] = {}
    for site in sites:
        units = cut.removes(site)
        if units:
            gone.setdefault(site.consumer.module, []).append(site.consumer.index(units))
    return {name: torch.cat(parts).sort().values for name, parts in gone.items()}


def without_compensation(model: nn.Module, sites: Sequence[Site], cut: Cut) -> dict[str, Affine]:
    """Each consumer with zeros in the columns of the removed units."""
    maps = {}
    for name, gone in removed_entries(sites, cut).items():
        layer = linear_or_conv(model, name)
        weight = layer.weight.detach().index_fill(1, gone.to(layer.weight.device), 0.0)
        maps[name] = Affine(weight=weight, bias=None if layer.bias is None else layer.bias.detach())
    return maps


def compensate(
    model: nn.Module,
    sites: Sequence[Site],
    cut: Cut,
    settings: Compensation,
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None] = lambda consumer: None,
) -> dict[str, Affine]:
    """New weights of every consumer that loses inputs, in the dense model's shapes.

    Removed columns are zero, so `substituted(model, result)` is the pruned model without surgery.
    With `sequential` a consumer is fitted on the inputs the pruned model gives it; its target is
    the dense model's output, corrected for what the residual stream it is added into has already
    lost (ours): z + (y_dense - y_pruned) / scale, y being the sum and scale the factor of the batch
    normalization between. The ridge strength is chosen on the samples of the select part.

    Args:
        batches: the samples to fit on, on any device.
        seed: of the profile, which decides each sample's part.

    Raises:
        ActpruneError: if there are no batches for a compensation that needs them.
    """
    maps = without_compensation(model, sites, cut)
    if settings.kind == "none" or not maps:
        return maps
    if not batches:
        raise ActpruneError(f"Compensation {settings.kind!r} needs calibration data, got none.")
    device = device_of(model)
    batches = [b.to(device) for b in batches]
    gone = removed_entries(sites, cut)
    with undisturbed(model):
        joins = dict.fromkeys(gone, False)
        if settings.kind == "refit" and settings.sequential:
            joins = find_joins(model, batches[0], list(gone))
        dense = DenseTargets(model, batches, list(gone), joins)
        done: dict[str, Affine] = {}
        for name in gone:
            layer = linear_or_conv(model, name)
            upstream = done if settings.sequential else {}
            stream = _Stream(model, name, upstream, maps[name], joins[name])
            if settings.kind == "mean":
                done[name] = _mean(stream, layer, gone[name], batches)
            elif settings.granularity == "channel":
                here = [s for s in sites if s.consumer.module == name]
                done[name] = _per_channel(stream, layer, here, cut, batches, settings, seed)
            else:
                done[name] = _refit(stream, layer, gone[name], batches, dense, settings, seed)
            progress(name)
    return done


class _Stream:
    """One consumer inside the model as pruned so far."""

    def __init__(
        self,
        model: nn.Module,
        name: str,
        upstream: Mapping[str, Affine],
        own: Affine,
        joins: bool,
    ) -> None:
        self._model, self._name, self._joins = model, name, joins
        self._maps = {**upstream, name: own}
        self.own = own

    def read(self, batch: Batch, dense: Tensor) -> tuple[Tensor, Tensor]:
        """The consumer's input, and the output it ought to have, given the dense target."""
        stop = "total" if self._joins else "output"
        with (
            substituted(self._model, self._maps),
            tapping(self._model, self._name, stop_at=stop) as tap,
        ):
            batch.run(self._model)
        assert tap.input is not None
        assert tap.output is not None
        if not self._joins:
            return tap.input, dense
        assert tap.total is not None
        lost = dense - tap.total
        if tap.scale is not None:
            shape = [1] * lost.ndim
            shape[1] = -1
            # a channel that the normalization multiplies by nothing cannot be corrected
            factor = tap.scale.reshape(shape)
            lost = torch.where(factor.abs() > 1e-6, lost / factor, 0.0)
        return tap.input, tap.output + lost

    def input(self, batch: Batch) -> Tensor:
        """The consumer's input alone."""
        with (
            substituted(self._model, self._maps),
            tapping(self._model, self._name, stop_at="output") as tap,
        ):
            batch.run(self._model)
        assert tap.input is not None
        return tap.input


def _mean(
    stream: _Stream, layer: nn.Linear | nn.Conv2d, gone: Tensor, batches: Sequence[Batch]
) -> Affine:
    """bias += W_r mean x_r, the mean over all patches, borders included [FLAP, 2312.11983]."""
    sums, rows = torch.zeros(0), 0
    for batch in batches:
        x_RP = inputs(layer, stream.input(batch), gone).double()
        sums = x_RP.sum(0) + (sums if rows else 0)
        rows += len(x_RP)
    columns = columns_of(layer, gone).to(sums.device)
    shift = matrix(layer, layer.weight)[:, columns] @ (sums / rows)
    return _affine(layer, matrix(layer, stream.own.weight), _bias(layer) + shift)


def _refit(
    stream: _Stream,
    layer: nn.Linear | nn.Conv2d,
    gone: Tensor,
    batches: Sequence[Batch],
    dense: DenseTargets,
    settings: Compensation,
    seed: int,
) -> Affine:
    inside = torch.ones(entries(layer), dtype=torch.bool)
    inside[gone] = False
    kept = inside.nonzero().squeeze(1)
    columns = columns_of(layer, kept).to(layer.weight.device)
    folds: dict[bool, list[Moments]] = {False: [], True: []}  # by "belongs to the select part"
    targets = dense.take(stream._name)
    for batch, target in zip(batches, targets, strict=True):
        x, z = stream.read(batch, target)
        selecting = in_parts(batch.ids, seed, Part.SELECT)
        for chosen in (False, True):
            index = (selecting == chosen).nonzero().squeeze(1).to(x.device)
            if len(index):
                part = Moments.of(inputs(layer, x[index], kept), outputs(z[index], layer))
                folds[chosen] = [total([*folds[chosen], part])]
    everything = total([*folds[False], *folds[True]])
    prior = matrix(layer, layer.weight)[:, columns]
    if settings.ridge is not None:
        strength = settings.ridge
    elif folds[False] and folds[True]:
        strength = choose_strength(folds[False][0], folds[True][0], prior)
    else:
        strength = choose_strength(everything, None, prior)
    weight, bias = ridge(everything, prior, strength)
    full = torch.zeros_like(matrix(layer, layer.weight))
    full[:, columns] = weight
    return _affine(layer, full, bias)


def _per_channel(
    stream: _Stream,
    layer: nn.Linear | nn.Conv2d,
    sites: Sequence[Site],
    cut: Cut,
    batches: Sequence[Batch],
    settings: Compensation,
    seed: int,
) -> Affine:
    affine = stream.own
    nothing = torch.zeros(0)
    for site in sites:
        removed = torch.tensor(cut.removes(site), dtype=torch.int64)
        if not len(removed):
            continue
        folds: list[Moments | None] = [None, None]  # the select part last
        for batch in batches:
            a_SUP = by_unit(site, stream.input(batch), conv_consumer=isinstance(layer, nn.Conv2d))
            selecting = in_parts(batch.ids, seed, Part.SELECT)
            for i, index in enumerate(((~selecting).nonzero(), selecting.nonzero())):
                if len(index):
                    rows = a_SUP[index.squeeze(1).to(a_SUP.device)]
                    rows = rows.transpose(1, 2).reshape(-1, site.units).cpu()
                    part = Moments.of(rows, nothing.expand(len(rows), 0))
                    folds[i] = part + folds[i] if folds[i] else part  # pyright: ignore
        fit, select = folds if folds[0] else (folds[1], None)
        assert fit is not None
        kept = torch.tensor(cut.keeps(site), dtype=torch.int64)
        coefficients, intercept = predict_removed(fit, select, kept, removed, settings.ridge)
        affine = absorb(layer, affine, site, kept, removed, coefficients, intercept)
    return affine


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    if layer.bias is None:
        return torch.zeros(layer.weight.shape[0], dtype=torch.float64, device=layer.weight.device)
    return layer.bias.detach().double()


def _affine(layer: nn.Linear | nn.Conv2d, weight_DP: Tensor, bias_D: Tensor) -> Affine:
    like = layer.weight
    return Affine(weight=weight_DP.reshape(like.shape).to(like.dtype), bias=bias_D.to(like.dtype))
