"""How linear a network is: its nonlinearities replaced by their best affine maps, layer by layer.

[LZ] Lin, Feng, Zhang & Zhao (arXiv 2501.02436, 2025) replace a layer's nonlinearity by a linear
one and tabulate the loss. Ours: one slope and one intercept per unit, by least squares, fitted on
one half of the samples and put in place on the other half, both ways round, so that no sample
meets a map that was fitted to it.

Shapes: S samples, U units, P positions, F = 2 halves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from actprune.auditing.activation import Activation
from actprune.auditing.activations import at_activations
from actprune.auditing.choosing import half_of, ids_of, mean_and_error
from actprune.auditing.result import Substitution
from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.running.forward import run_checked
from actprune.running.loss import Loss
from actprune.running.outputs import primary
from actprune.running.scores import Scores
from actprune.running.state import device_of, undisturbed

ALL = "all"  # sites at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AffineMaps:
    """Least squares a ~ slope z + intercept of each unit, from each half of the samples."""

    slope_FU: Tensor  # float64; 0 where the pre-activation does not vary
    intercept_FU: Tensor
    explained: float | None  # of the sum over units of the output's variance; None if that is 0


def substitution(
    model: nn.Module,
    batches: Sequence[Batch],
    activations: Mapping[str, Activation],
    loss: Loss,
    *,
    seed: int,
    progress: Callable[[str], None] = lambda stage: None,
) -> tuple[Substitution, ...]:
    """The loss change of each site's substitution, and of all at once.

    All maps are fitted on the untouched network. The standard error is over samples (see
    `mean_and_error`) and holds for the two fits at hand.

    Raises:
        ActpruneError: if one half has no sample.
    """
    if len(np.unique(np.concatenate([half_of(b, seed).numpy() for b in batches]))) < 2:
        raise ActpruneError("substitution needs samples in two halves; give more data")
    maps = fit_maps(model, batches, activations, seed=seed)
    ids = ids_of(batches)
    trials = [(name, [name]) for name in maps]
    if len(maps) > 1:
        trials.append((ALL, list(maps)))
    found = []
    for name, names in trials:
        progress(f"substitution: {name}")
        chosen = {n: activations[n] for n in names}
        change, metrics = _change(model, batches, chosen, maps, loss, seed)
        mean, stderr = mean_and_error(change, ids)
        found.append(
            Substitution(
                site=name,
                activation=activations[name].name if name in maps else "",
                explained=maps[name].explained if name in maps else None,
                loss_delta=mean,
                stderr=stderr,
                metrics=metrics,
            )
        )
    return tuple(found)


def fit_maps(
    model: nn.Module,
    batches: Sequence[Batch],
    activations: Mapping[str, Activation],
    *,
    seed: int,
) -> dict[str, AffineMaps]:
    """Fit every site's affine maps in one pass over the samples."""
    sums: dict[str, Tensor] = {}  # n, z, a, zz, za, aa: float64 [F, 6, U]

    def see(a: Activation, z: Tensor, out: Tensor) -> None:
        z_SUP, a_SUP = (a.by_unit(x, size).double() for x in (z, out))
        moments = (torch.ones_like(z_SUP), z_SUP, a_SUP, z_SUP**2, z_SUP * a_SUP, a_SUP**2)
        moments_S6U = torch.stack([m.sum(2) for m in moments], 1).cpu()
        into = sums.setdefault(a.site.name, torch.zeros((2, *moments_S6U.shape[1:])).double())
        into.index_add_(0, half, moments_S6U)

    device = device_of(model)
    with undisturbed(model), at_activations(model, activations.values(), see):
        for batch in batches:
            size, half = len(batch), half_of(batch, seed)
            run_checked(model, batch.to(device))
    return {name: _solve(sums[name]) for name in activations if name in sums}


def _solve(sums_F6U: Tensor) -> AffineMaps:
    n, z, a, zz, za, aa = sums_F6U.unbind(1)  # [F, U] each
    n = n.clamp(min=1.0)
    spread = (zz / n - (z / n) ** 2).clamp(min=0.0)
    joint = za / n - z * a / n**2
    # below the rounding of the sums there is nothing to fit
    varies = spread > 1e-12 * zz / n
    slope = torch.where(varies, joint / torch.where(varies, spread, 1.0), 0.0)
    total = (aa / n - (a / n) ** 2).clamp(min=0.0).sum()
    explained = (slope * joint).sum()
    return AffineMaps(
        slope_FU=slope,
        intercept_FU=(a - slope * z) / n,
        explained=float((explained / total).clamp(0.0, 1.0)) if total > 0 else None,
    )


def _change(
    model: nn.Module,
    batches: Sequence[Batch],
    activations: Mapping[str, Activation],
    maps: Mapping[str, AffineMaps],
    loss: Loss,
    seed: int,
) -> tuple[np.ndarray, dict[str, float]]:
    """Per-sample loss change, float64 [n], and mean metrics, with maps in place."""

    def replace(a: Activation, z: Tensor, out: Tensor) -> Tensor:
        fitted = maps[a.site.name]
        slope_SU, intercept_SU = (
            x.to(z.device)[other] for x in (fitted.slope_FU, fitted.intercept_FU)
        )
        z_SUP = a.by_unit(z, size).double()
        return a.as_before(z_SUP * slope_SU[..., None] + intercept_SU[..., None], out)

    device = device_of(model)
    whole, changed = Scores(loss), Scores(loss)
    with undisturbed(model):
        for batch in batches:
            moved = batch.to(device)
            size, other = len(batch), (1 - half_of(batch, seed)).to(device)
            before = primary(moved.run(model))
            with at_activations(model, activations.values(), replace):
                after = primary(moved.run(model))
            whole.add(before, before, moved.labels)
            changed.add(after, before, moved.labels)
    return changed.losses - whole.losses, changed.mean_metrics
