"""Order preservation: which share of all pairs an activation function leaves in their order.

[LZ] Lin, Feng, Zhang & Zhao (arXiv 2501.02436, 2025) part neurons into those that preserve the
order of their inputs and those that do not, layer by layer; the definitions here are ours. For a
unit, o = pairs of rows whose output rises strictly with the pre-activation / pairs of rows with
different pre-activations. It preserves order where o >= 1 - `EPS`. Of a ReLU without ties,
o = 1 - n_off (n_off - 1) / (R (R - 1)).

A smooth function is bent by rounding alone where it is nearly flat, so there the output must rise
by more than `GAP` of the site's root mean square.

Shapes: S samples, U units, P positions, R rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from actprune.auditing.activation import Activation
from actprune.auditing.activations import at_activations
from actprune.auditing.choosing import ids_of, some
from actprune.auditing.pairs import comparable_pairs, kept_pairs, rank_histogram
from actprune.auditing.result import SiteOrder
from actprune.data.batch import Batch
from actprune.running.forward import run_checked
from actprune.running.state import device_of, undisturbed

EPS = 0.01
GAP = 1e-3
ROWS = 2048  # a unit, at most
GROUPS = 8  # disjoint, for the standard error
BINS = 10


def order_shares(pre_UR: Tensor, post_UR: Tensor, gap: float = 0.0) -> Tensor:
    """o of each unit, float64 [U], 0 to 1; NaN where the pre-activation never varies."""
    pairs_U = comparable_pairs(pre_UR).double()
    return kept_pairs(pre_UR, post_UR, gap).double() / pairs_U  # 0 / 0 is NaN


def order(
    model: nn.Module,
    batches: Sequence[Batch],
    activations: Mapping[str, Activation],
    *,
    seed: int,
) -> tuple[SiteOrder, ...]:
    """Measure each site's order share on at most `ROWS` rows drawn by the seed.

    The standard error is s / sqrt(G) of the mean shares of G disjoint groups of samples (documents
    stay whole), each an unbiased estimate from within its group; a site's share is measured on all
    rows together, so that the error is slightly too large.

    Args:
        activations: from `find_activations`.
    """
    chosen = some(batches, ROWS, seed)
    ids = ids_of(chosen)
    rng = np.random.default_rng(seed)
    pre: dict[str, list[Tensor]] = {name: [] for name in activations}
    post: dict[str, list[Tensor]] = {name: [] for name in activations}
    owner: dict[str, list[np.ndarray]] = {name: [] for name in activations}
    first = 0

    def see(a: Activation, z: Tensor, out: Tensor) -> None:
        z_SUP, a_SUP = a.by_unit(z, size), a.by_unit(out, size)
        positions = z_SUP.shape[2]
        each = min(positions, max(1, ROWS // len(ids)))
        # other positions in each sample, the same for all units
        drawn_SK = torch.from_numpy(rng.random((size, positions)).argsort(1)[:, :each].copy())
        index_SUK = drawn_SK[:, None].expand(-1, z_SUP.shape[1], -1).to(z.device)
        for rows, x_SUP in ((pre, z_SUP), (post, a_SUP)):
            x_SUK = x_SUP.gather(2, index_SUK)
            rows[a.site.name].append(_exact(x_SUK.transpose(0, 1).flatten(1)).cpu())
        owner[a.site.name].append(np.repeat(np.arange(first, first + size), each))

    device = device_of(model)
    with undisturbed(model), at_activations(model, activations.values(), see):
        for batch in chosen:
            size = len(batch)
            run_checked(model, batch.to(device))
            first += size
    group_of_id = _groups(ids, rng)
    return tuple(
        _site(
            activations[name],
            torch.cat(pre[name], 1),
            torch.cat(post[name], 1),
            samples=len(ids),
            group=group_of_id[np.concatenate(owner[name])],
        )
        for name in activations
        if pre[name]
    )


def _exact(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _groups(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The group of each sample, int64 [n]: as even as whole documents allow."""
    _, cluster = np.unique(ids, return_inverse=True)
    count = int(cluster.max()) + 1
    return (rng.permutation(count) % GROUPS)[cluster]


def _site(
    activation: Activation, pre_UR: Tensor, post_UR: Tensor, *, samples: int, group: np.ndarray
) -> SiteOrder:
    rms = float(post_UR.double().square().mean().sqrt())
    gap = 0.0 if activation.straight else GAP * rms
    share_U = order_shares(pre_UR, post_UR, gap)
    known_U = share_U.isfinite()
    on_U = (post_UR > 0).sum(1)
    rows = pre_UR.shape[1]
    rectified = activation.names == ("relu",)
    return SiteOrder(
        site=activation.site.name,
        activation=activation.name,
        compared=activation.compared,
        units=len(share_U),
        rows=rows,
        samples=samples,
        gap=gap,
        share=float(share_U[known_U].mean()) if known_U.any() else None,
        stderr=_error(pre_UR, post_UR, gap, group),
        preserving=int((share_U[known_U] >= 1 - EPS).sum()),
        eps=EPS,
        constant=int((~known_U).sum()),
        always_on=int((on_U == rows).sum()) if rectified else None,
        mixed=int(((on_U > 0) & (on_U < rows)).sum()) if rectified else None,
        always_off=int((on_U == 0).sum()) if rectified else None,
        unit_shares=tuple(None if math.isnan(x) else round(x, 6) for x in share_U.tolist()),
        ranks=tuple(map(tuple, rank_histogram(pre_UR, post_UR, BINS).tolist())),
    )


def _error(pre_UR: Tensor, post_UR: Tensor, gap: float, group: np.ndarray) -> float | None:
    means = []
    for g in range(GROUPS):
        member = torch.from_numpy(np.flatnonzero(group == g))
        if len(member) < 2:
            return None
        share_U = order_shares(pre_UR[:, member], post_UR[:, member], gap)
        known_U = share_U[share_U.isfinite()]
        if not len(known_U):
            return None
        means.append(float(known_U.mean()))
    return float(np.std(means, ddof=1) / np.sqrt(GROUPS))
