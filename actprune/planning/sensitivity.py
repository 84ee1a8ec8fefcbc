"""What each site's cuts do to the model's output, one site at a time: measured curves.

A site's units go in their order of removal at a few depths; the consumer is compensated in closed
form from the columns' sums, and the divergence of the outputs from the dense model's is measured on
samples of the select part, which the compensation did not see (ours; single-site measurements as a
guide for allocation are as old as Li et al. 2017, arXiv 1608.08710, section 3.2, there without a
refit). Divergences need no labels, and, unlike changes of a loss, never hide behind noise of either
sign: a network's training images serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.planning.allocate import Room
from actprune.planning.criteria import Evidence
from actprune.planning.curves import Curve, interpolated
from actprune.refit.design import columns_of, matrix
from actprune.refit.eliminate import RIDGE
from actprune.refit.moments import Moments
from actprune.refit.settings import Compensation
from actprune.running.evaluate import loss_for
from actprune.running.loss import Loss
from actprune.running.outputs import primary
from actprune.running.replay import Record, record, replayed
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, linear_or_conv, substituted
from actprune.sites.site import Slot

SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)  # of the units a site may lose that stay, where measured
SAMPLES = 384  # on which outputs are compared
HELD = 2**28  # bytes of trial weights in memory at a time; each batch is run once more for it


def measured_curves(
    model: nn.Module,
    rooms: Sequence[Room],
    evidence: Mapping[str, Evidence],
    batches: Sequence[Batch],
    settings: Compensation,
    *,
    seed: int,
    progress: Callable[[str], None] = lambda site: None,
) -> dict[str, Curve]:
    """Harm of keeping k units of each site alone: mean divergence of the output, in nats for
    classifiers and language models (see `choose_loss`), else relative to the output's variance.

    Args:
        batches: the samples of the fit and select parts.
        seed: of the profile.
    """
    few = _choosing(batches, seed)
    device = device_of(model)
    loss = loss_for(model, [_unlabelled(b) for b in few], None)
    seen: dict[str, dict[int, float]] = {room.site.name: {} for room in rooms}
    with undisturbed(model):
        for trials in _few_at_a_time(model, rooms, evidence, settings):
            for batch in few:
                known = record(model, batch.to(device))
                for trial in trials:
                    at = seen[trial.site]
                    at[trial.kept] = at.get(trial.kept, 0.0) + _divergence(
                        model, known, trial.maps, loss
                    )
                progress("curves")
    samples = sum(map(len, few))
    curves: dict[str, Curve] = {}
    for site in (room.site for room in rooms):
        means = {kept: total / samples for kept, total in seen[site.name].items()}
        curves[site.name] = interpolated(site.name, site.units, means)
    return curves


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class _Trial:
    """All but `kept` units of a site removed: the compensated weights of its consumers."""

    site: str
    kept: int
    maps: Mapping[str, Affine]

    @property
    def nbytes(self) -> int:
        return sum(a.weight.nbytes for a in self.maps.values())


def _few_at_a_time(
    model: nn.Module,
    rooms: Sequence[Room],
    evidence: Mapping[str, Evidence],
    settings: Compensation,
) -> Iterator[list[_Trial]]:
    """All trials of all sites, in lists whose weights take up to about `HELD` bytes."""
    found: list[_Trial] = []
    for room in rooms:
        for kept in _depths(room):
            maps = {
                slot.module: _alone(model, slot, room, kept, evidence[room.site.name], settings)
                for slot in room.site.consumers
            }
            found.append(_Trial(site=room.site.name, kept=kept, maps=maps))
            if sum(t.nbytes for t in found) > HELD:
                yield found
                found = []
    if found:
        yield found


def _choosing(batches: Sequence[Batch], seed: int) -> list[Batch]:
    """Up to `SAMPLES` samples of the select part; of any part where it is empty."""
    found: list[Batch] = []
    for part in (batch.select(in_parts(batch.ids, seed, Part.SELECT).nonzero().squeeze(1))
                 for batch in batches):  # fmt: skip
        left = SAMPLES - sum(map(len, found))
        if left > 0 and len(part):
            found.append(part.select(torch.arange(min(left, len(part)))))
    return found or [batches[0]]


def _unlabelled(batch: Batch) -> Batch:
    return Batch(args=batch.args, kwargs=batch.kwargs, labels=None, ids=batch.ids)


def _depths(room: Room) -> list[int]:
    """The counts to measure at, below the site's number of units."""
    least, units = room.least, room.site.units
    counts = {room.rounded(least + share * (units - least)) for share in SHARES}
    return sorted(k for k in counts | {least} if 0 < k < units)


def _alone(
    model: nn.Module,
    slot: Slot,
    room: Room,
    kept: int,
    evidence: Evidence,
    settings: Compensation,
) -> Affine:
    """The consumer `slot` with all but `kept` units of the room's site removed and compensated."""
    site, layer = room.site, linear_or_conv(model, slot.module)
    gone = torch.tensor(room.order[: site.units - kept], dtype=torch.int64)
    weight = matrix(layer, layer.weight).cpu().clone()
    bias = torch.zeros(len(weight), dtype=torch.float64)
    if layer.bias is not None:
        bias = layer.bias.detach().double().cpu()
    mine = columns_of(layer, slot.index(range(site.units)))
    part = weight[:, mine]
    removed = torch.zeros(len(mine), dtype=torch.bool)
    width = len(mine) // site.units
    removed[(gone[:, None] * width + torch.arange(width)).reshape(-1)] = True
    if settings.kind != "none":
        seen = evidence.columns()[slot.module].fit
        bias = bias + part[:, removed] @ seen.mean_x[removed]
        if settings.kind == "refit":
            move = part[:, removed] @ _predict(seen, removed)
            bias = bias - move @ seen.mean_x[~removed]
            part[:, ~removed] += move
    part[:, removed] = 0.0
    weight[:, mine] = part
    like = layer.weight
    changed = settings.kind != "none" or layer.bias is not None
    return Affine(
        weight=weight.reshape(like.shape).to(like), bias=bias.to(like) if changed else None
    )


def _predict(columns: Moments, removed: Tensor) -> Tensor:
    """Ridge coefficients of the removed columns on the kept ones, [R, K]."""
    cov = columns.cov_xx
    lam = RIDGE * cov.diagonal().mean().clamp(min=torch.finfo(cov.dtype).tiny ** 0.5)
    system = cov[~removed][:, ~removed]
    system = system + lam * torch.eye(len(system), dtype=cov.dtype)
    return torch.linalg.solve(system, cov[~removed][:, removed], left=True).T


def _divergence(model: nn.Module, known: Record, maps: Mapping[str, Affine], loss: Loss) -> float:
    """The loss of the model with `maps` against the dense model's outputs, summed over samples."""
    changed = [model.get_submodule(name) for name in maps]
    with substituted(model, maps), replayed(known, changed):
        out = primary(known.batch.run(model))
    return float(loss.per_sample(out, known.output, None).sum())
