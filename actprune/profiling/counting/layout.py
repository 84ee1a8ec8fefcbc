"""View a consumer's input as [samples, units, positions], without copying."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.sites.site import Site, Slot


def by_unit(
    site: Site,
    x: Tensor,
    *,
    conv_consumer: bool,
    samples: int | None = None,
    slot: Slot | None = None,
) -> Tensor:
    """The units of `site` in its consumer's input `x`; `slot`: that consumer, if not the first.

    Convolution: [S, C, H, W] -> [S, U, repeat * H*W]; units of several channels give each channel's
    pixels as positions. Linear: [S, F] or [S, T, F] -> [S, U, T * repeat]; flattened channels give
    their pixels as positions. A flat site's [S * T, F] -> [S, U, T] needs
    `samples`, S.

    Raises:
        ActpruneError: if the rows of a flat site are not as many for each of the samples.
    """
    slot = slot or site.consumer
    width = site.units * slot.repeat
    if site.flat:
        assert samples is not None
        if len(x) % samples:
            raise ActpruneError(
                f"{slot.module} reads {len(x)} rows of {samples} samples, not as many of each; "
                f"give samples of one length, padded."
            )
        x = x.unflatten(0, (samples, -1))
    if conv_consumer:
        return x.narrow(1, slot.offset, width).unflatten(1, (site.units, slot.repeat)).flatten(2)
    x_STF = x.narrow(-1, slot.offset, width).reshape(len(x), -1, width)
    if slot.repeat == 1:
        return x_STF.transpose(1, 2)  # [S, U, T]
    s, t, _ = x_STF.shape
    return x_STF.reshape(s, t, site.units, slot.repeat).transpose(1, 2).flatten(2)


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """What several consumers read of one site, [S, U, P each], as [S, U, all P].

    Where they read equally many positions, the values of one position lie together, so that
    positions stay in order, as the documents of a window do.
    """
    if len({x.shape for x in parts}) == 1:
        return torch.stack(list(parts), dim=3).flatten(2)
    return torch.cat(list(parts), dim=2)
