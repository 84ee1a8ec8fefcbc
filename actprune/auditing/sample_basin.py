"""The basin around each sample: how much noise on the input until the answer changes.

[LZ] Lin, Feng, Zhang & Zhao (arXiv 2501.02436, 2025) look at the attraction basins of samples; the
definition here is ours. A ray is x + eps ||x|| u with u uniform on the unit sphere. Its radius is
the first eps at which the answer differs: eps is doubled from `SMALLEST` to `LIMIT`, and the first
doubling that changes the answer is halved `HALVINGS` times, to 1 / 2^(HALVINGS + 1) of the radius.
A change that comes and goes between two doublings passes unseen. r50 is the median radius over all
rays of the samples that the model handles: correctly labelled, or all where there are no labels.

Shapes: S samples, K directions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from actprune.auditing.answers import check_answers, handled
from actprune.auditing.choosing import some
from actprune.auditing.result import Compared, SampleBasin
from actprune.data.batch import Batch
from actprune.data.split import draw
from actprune.errors import ActpruneError
from actprune.running.forward import run_checked
from actprune.running.outputs import primary
from actprune.running.state import device_of, undisturbed

SMALLEST, LIMIT = 2.0**-10, 8.0  # of the input's norm
HALVINGS = 6
RESAMPLES = 2_000
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_STREAM = 16  # of `draw`, for the directions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rays:
    """Radii of the handled samples along their directions; the same id has the same directions."""

    ids: np.ndarray  # int64 [S]
    radii: np.ndarray  # float64 [S, K], inf where the answer stays up to `LIMIT`
    of: int  # samples looked at


def sample_rays(
    model: nn.Module, batches: Sequence[Batch], *, samples: int, directions: int, seed: int
) -> Rays:
    """The radii of at most `samples` samples, drawn by the seed, along `directions` rays each.

    Raises:
        ActpruneError: if the model's input is not one tensor of numbers (tokens have no norm), its
            output no single answer a sample, or no sample is handled.
    """
    chosen = some(batches, samples, seed)
    device = device_of(model)
    ids, radii, of = [], [], 0
    with undisturbed(model):
        for batch in chosen:
            moved = batch.to(device)
            input_of(moved)
            out = primary(run_checked(model, moved))
            check_answers(out, moved.labels)
            if out.ndim != 2:
                raise ActpruneError("the model gives several answers a sample, one a position")
            answer, right = handled(out, moved.labels)
            norm = input_of(moved).flatten(1).double().norm(dim=1)
            keep = torch.nonzero(right & (norm > 0)).squeeze(1)
            of += len(batch)
            if len(keep):
                few = moved.select(keep.cpu())
                ids.append(few.ids.numpy())
                radii.append(_radii(model, few, answer[keep], norm[keep], directions, seed))
    if not ids:
        raise ActpruneError("no sample is classified correctly, so none has a basin")
    return Rays(ids=np.concatenate(ids), radii=np.concatenate(radii), of=of)


def input_of(batch: Batch) -> Tensor:
    """The batch's one input of numbers, [S, ...].

    Raises:
        ActpruneError: if there is none, or several.
    """
    found = [
        x
        for x in (*batch.args, *batch.kwargs.values())
        if isinstance(x, Tensor) and x.is_floating_point()
    ]
    if not found:
        raise ActpruneError("the inputs are tokens or indices, which have no norm to perturb by")
    if len(found) > 1:
        raise ActpruneError(f"{len(found)} inputs hold numbers, and one is needed to perturb")
    return found[0]


def _with_input(batch: Batch, x: Tensor) -> Batch:
    old = input_of(batch)
    return dataclasses.replace(
        batch,
        args=tuple(x if a is old else a for a in batch.args),
        kwargs={k: x if v is old else v for k, v in batch.kwargs.items()},
    )


def direction(ids: Tensor, k: int, shape: Sequence[int], seed: int) -> Tensor:
    """Unit vectors, uniform on the sphere, one for each id: float32 [S, *shape]."""
    seeds = draw(ids, seed, _STREAM + k).astype(np.int64).tolist()
    u = torch.stack(
        [torch.randn(*shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )
    return u / u.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape))


def _radii(
    model: nn.Module, batch: Batch, answer: Tensor, norm: Tensor, directions: int, seed: int
) -> np.ndarray:
    x = input_of(batch)
    found = []
    for k in range(directions):
        u = direction(batch.ids, k, x.shape[1:], seed).to(x.device)

        def changed(eps: Tensor, rows: Tensor, u: Tensor = u) -> Tensor:
            """Whether the answers of these rows differ at their eps: bool [rows]."""
            size = (eps * norm[rows]).reshape(-1, *[1] * (x.ndim - 1))
            noisy = x[rows].double() + size * u[rows].double()
            few = _with_input(batch.select(rows.cpu()), noisy.to(x.dtype))
            return primary(few.run(model)).argmax(-1) != answer[rows]

        low, high = torch.zeros_like(norm), torch.full_like(norm, torch.inf)
        eps = SMALLEST
        while eps <= LIMIT and (rows := torch.nonzero(high.isinf()).squeeze(1)).numel():
            differs = changed(torch.full_like(norm[rows], eps), rows)
            high[rows[differs]], low[rows[~differs]] = eps, eps
            eps *= 2
        rows = torch.nonzero(high.isfinite()).squeeze(1)
        for _ in range(HALVINGS if len(rows) else 0):
            middle = (low[rows] + high[rows]) / 2
            differs = changed(middle, rows)
            high[rows[differs]], low[rows[~differs]] = middle[differs], middle[~differs]
        found.append(torch.where(high.isfinite(), (low + high) / 2, high).cpu().numpy())
    return np.stack(found, 1)


def sample_basin(rays: Rays, *, level: float, seed: int) -> SampleBasin:
    """r50 with a percentile interval from a bootstrap over samples, each with all its rays."""
    low, high = _interval(resampled_medians([rays.radii], seed)[0], level)
    return SampleBasin(
        r50=_known(np.median(rays.radii)),
        low=_known(low),
        high=_known(high),
        level=level,
        samples=len(rays.radii),
        of=rays.of,
        directions=rays.radii.shape[1],
        never=float(np.isinf(rays.radii).mean()),
        limit=LIMIT,
        quantiles={
            f"{q:g}": _known(np.quantile(rays.radii, q, method="inverted_cdf")) for q in QUANTILES
        },
    )


def compare(rays: Rays, against: Rays, *, level: float, seed: int) -> Compared | None:
    """The ratio of the two r50 on the samples that both handle, resampled in pairs; None without
    such a sample."""
    _, i, j = np.intersect1d(rays.ids, against.ids, return_indices=True)
    if not len(i):
        return None
    ours, theirs = rays.radii[i], against.radii[j]
    mine, other = float(np.median(ours)), float(np.median(theirs))
    a, b = resampled_medians([ours, theirs], seed)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isinf(b), np.nan, a / b)
    bounded = bool(np.isfinite(ratios).all())
    low, high = _interval(ratios, level) if bounded else (math.inf, math.inf)
    return Compared(
        samples=len(i),
        r50=_known(mine),
        r50_against=_known(other),
        ratio=mine / other if math.isfinite(mine) and math.isfinite(other) else None,
        low=_known(low),
        high=_known(high),
        level=level,
    )


def resampled_medians(radii: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Medians of the rays of resampled samples, the same samples in each array: [RESAMPLES]."""
    rng = np.random.default_rng(seed)
    n = len(radii[0])
    rows = [rng.integers(0, n, n) for _ in range(RESAMPLES)]
    return [np.array([np.median(r[i]) for i in rows]) for r in radii]


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Percentiles that are among the values, since infinite ones have nothing between them."""
    tail = (1 - level) / 2
    low = np.quantile(values, tail, method="lower")
    return float(low), float(np.quantile(values, 1 - tail, method="higher"))


def _known(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None
