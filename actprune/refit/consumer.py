"""New weights for one layer: the mean into its bias, or a ridge regression of its output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.profiling.counting.layout import by_unit
from actprune.refit.channel import absorb, predict_removed
from actprune.refit.design import columns_of, entries, groups, inputs, matrix
from actprune.refit.moments import Folds
from actprune.refit.ridge import choose_strength, ridge
from actprune.refit.settings import Compensation
from actprune.refit.stream import Stream
from actprune.running.substitute import Affine
from actprune.sites.cut import Cut
from actprune.sites.site import Site


def shift_mean(
    stream: Stream, layer: nn.Linear | nn.Conv2d, gone: Tensor, batches: Sequence[Batch]
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


def refit_patches(
    layer: nn.Linear | nn.Conv2d,
    gone: Tensor,
    batches: Sequence[Batch],
    reads: Iterable[tuple[Tensor, Tensor]],
    drawn: Callable[[int], Tensor | None],
    settings: Compensation,
    seed: int,
    *,
    intercept: bool,
) -> Affine:
    """Ridge regression of the output that is due on the kept entries' patches; of a grouped
    convolution one for each group, whose outputs hang on its own entries alone.

    Args:
        gone: entries of the input that are removed, int64, perhaps none; none of a grouped one.
        reads: the layer's input and the rows [R, D] due of each batch, asked for in turn.
        drawn: the positions of each sample in use in the batch of that index; None for all.
        intercept: whether the layer may get another bias.
    """
    inside = torch.ones(entries(layer), dtype=torch.bool)
    inside[gone] = False
    kept = inside.nonzero().squeeze(1)
    columns = columns_of(layer, kept).to(layer.weight.device)
    count = groups(layer)
    read = (torch.arange(count)[:, None] * entries(layer) + kept).reshape(-1)
    folds = [Folds() for _ in range(count)]
    for i, (batch, (x, z_RD)) in enumerate(zip(batches, reads, strict=True)):
        x_RP = inputs(layer, x, read, at=drawn(i), samples=len(batch))
        selecting_S = in_parts(batch.ids, seed, Part.SELECT)
        selecting_R = selecting_S.repeat_interleave(len(x_RP) // len(batch)).to(x_RP.device)
        for chosen in (False, True):
            here = selecting_R == chosen
            if here.any():
                parts = (x_RP[here].chunk(count, 1), z_RD[here].chunk(count, 1))
                for sums, x_part, z_part in zip(folds, *parts, strict=True):
                    sums.add(x_part, z_part, selecting=chosen)
    weights, biases = [], []
    priors = matrix(layer, layer.weight)[:, columns].chunk(count)
    for sums, prior in zip(folds, priors, strict=True):
        sums = sums if intercept else sums.through_origin()
        strength = settings.ridge or choose_strength(sums.fit, sums.select, prior)
        weight, bias = ridge(sums.pool(), prior, strength)
        weights.append(weight)
        biases.append(bias)
    full = torch.zeros_like(matrix(layer, layer.weight))
    full[:, columns] = torch.cat(weights)
    return _affine(layer, full, torch.cat(biases) if intercept else None)


def refit_channels(
    stream: Stream,
    layer: nn.Linear | nn.Conv2d,
    sites: Sequence[Site],
    cut: Cut,
    batches: Sequence[Batch],
    settings: Compensation,
    seed: int,
) -> Affine:
    """Ridge regression of the removed units on the kept ones, position by position."""
    affine = stream.own
    nothing = torch.zeros(0)
    conv = isinstance(layer, nn.Conv2d)
    for site, slot in ((s, c) for s in sites for c in s.consumers if c.module == stream.name):
        removed = torch.tensor(cut.removes(site), dtype=torch.int64)
        if not len(removed):
            continue
        folds = Folds()
        for batch in batches:
            a_SUP = by_unit(site, stream.input(batch), conv_consumer=conv, slot=slot)
            selecting = in_parts(batch.ids, seed, Part.SELECT)
            for chosen in (False, True):
                index = (selecting == chosen).nonzero()
                if len(index):
                    rows = a_SUP[index.squeeze(1).to(a_SUP.device)]
                    rows = rows.transpose(1, 2).reshape(-1, site.units).cpu()
                    folds.add(rows, nothing.expand(len(rows), 0), selecting=chosen)
        kept = torch.tensor(cut.keeps(site), dtype=torch.int64)
        coefficients, intercept = predict_removed(
            folds.fit, folds.select, kept, removed, settings.ridge
        )
        affine = absorb(layer, affine, site, slot, kept, removed, coefficients, intercept)
    return affine


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    if layer.bias is None:
        return torch.zeros(layer.weight.shape[0], dtype=torch.float64, device=layer.weight.device)
    return layer.bias.detach().double()


def _affine(layer: nn.Linear | nn.Conv2d, weight_DP: Tensor, bias_D: Tensor | None) -> Affine:
    like = layer.weight
    return Affine(
        weight=weight_DP.reshape(like.shape).to(like.dtype),
        bias=None if bias_D is None else bias_D.to(like.dtype),
    )
