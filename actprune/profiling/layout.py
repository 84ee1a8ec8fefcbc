"""View a consumer's input as [samples, units, positions], without copying."""

from __future__ import annotations

from torch import Tensor

from actprune.sites.site import Site


def by_unit(site: Site, x: Tensor, *, conv_consumer: bool) -> Tensor:
    """The units of `site` in its consumer's input `x`.

    Convolution: [S, C, H, W] -> [S, U, H*W]. Linear: [S, F] or [S, T, F] -> [S, U, T * repeat];
    flattened channels give their pixels as positions.
    """
    slot = site.consumer
    width = site.units * slot.repeat
    if conv_consumer:
        return x.narrow(1, slot.offset, width).flatten(2)
    x_STF = x.narrow(-1, slot.offset, width).reshape(len(x), -1, width)
    if slot.repeat == 1:
        return x_STF.transpose(1, 2)  # [S, U, T]
    s, t, _ = x_STF.shape
    return x_STF.reshape(s, t, site.units, slot.repeat).transpose(1, 2).flatten(2)
