"""Refit per channel: predict each removed unit from the kept ones, position by position.

Coarser than the patch refit, but it needs only an N x N Gram matrix, which a profile can carry.
Shapes: N units at one site, K kept, R removed, D outputs, M weights a unit and output.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from actprune.refit.moments import Moments
from actprune.refit.ridge import choose_strength, ridge
from actprune.running.substitute import Affine
from actprune.sites.site import Site, Slot


def predict_removed(
    fit: Moments, select: Moments | None, kept: Tensor, removed: Tensor, strength: float | None
) -> tuple[Tensor, Tensor]:
    """Ridge coefficients B [R, K] and intercepts [R]: a_removed ~ B a_kept + intercept.

    Args:
        fit, select: moments of all N units (targets ignored); select only chooses the strength.
        strength: relative ridge strength; None chooses it on `select`.
    """
    parts = [_split(m, kept, removed) for m in (fit, select) if m is not None and m.rows]
    prior = torch.zeros(len(removed), len(kept), dtype=torch.float64)
    if strength is None:
        strength = choose_strength(parts[0], parts[1] if len(parts) > 1 else None, prior)
    everything = parts[0] + parts[1] if len(parts) > 1 else parts[0]
    return ridge(everything, prior, strength)


def absorb(
    layer: nn.Linear | nn.Conv2d, own: Affine, site: Site, slot: Slot, kept: Tensor,
    removed: Tensor, coefficients_RK: Tensor, intercept_R: Tensor,
) -> Affine:  # fmt: skip
    """Move the removed units' predicted share into the kept weights and the bias.

    W'_k = W_k + W_r B per tap, bias += sum over taps of W_r intercept: exact inside an image, an
    approximation where zero padding cuts taps off at its border.

    Args:
        own: the consumer's weights so far, with zeros at the removed units' columns.
        slot: where the units lie in the consumer.
    """
    start, stop = slot.offset, slot.offset + site.units * slot.repeat
    dense_DNM = (
        layer.weight.detach()
        .double()
        .cpu()[:, start:stop]
        .reshape(layer.weight.shape[0], site.units, -1)
    )
    weight = own.weight.double().cpu().clone()
    part_DNM = weight[:, start:stop].reshape(dense_DNM.shape).clone()
    gone_DRM = dense_DNM[:, removed]
    part_DNM[:, kept] += torch.einsum("drm,rk->dkm", gone_DRM, coefficients_RK)
    weight[:, start:stop] = part_DNM.reshape(weight[:, start:stop].shape)
    bias = gone_DRM.sum(-1) @ intercept_R
    if own.bias is not None:
        bias = bias + own.bias.double().cpu()
    return Affine(weight=weight.to(layer.weight), bias=bias.to(layer.weight))


def _split(moments: Moments, kept: Tensor, removed: Tensor) -> Moments:
    """Moments of the regression of the removed units on the kept ones."""
    gram = moments.xx_PP
    return replace(
        moments,
        x_P=moments.x_P[kept],
        xx_PP=gram[kept][:, kept],
        z_D=moments.x_P[removed],
        xz_PD=gram[kept][:, removed],
        zz_D=gram.diagonal()[removed],
    )
