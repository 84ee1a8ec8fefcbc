"""Compensate a cut layer by layer, each seeing what the pruned layers before it produce."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.refit.consumer import refit_channels, refit_patches, shift_mean
from actprune.refit.design import columns_of, outputs, positions
from actprune.refit.exactly import compensate_exactly
from actprune.refit.masks import removed_entries, without_compensation
from actprune.refit.places import Place, find_places
from actprune.refit.rows import draw_positions
from actprune.refit.settings import Compensation
from actprune.refit.stream import Stream, due
from actprune.refit.targets import BUDGET, DenseTargets
from actprune.refit.wave import MOST, Seen, keeps_order, riding
from actprune.running.offloaded import is_offloaded
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, linear_or_conv
from actprune.sites.cut import Cut
from actprune.sites.site import Site

NOTHING = torch.zeros(0, dtype=torch.int64)


def compensate(
    model: nn.Module,
    sites: Sequence[Site],
    cut: Cut,
    settings: Compensation,
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None] = lambda layer: None,
) -> dict[str, Affine]:
    """New weights of every consumer that loses inputs, in the dense model's shapes, in running
    order; with `downstream` also of the layers behind, whose inputs the cut has changed.

    Removed columns are zero, so `substituted(model, result)` is the pruned model without surgery.
    With `sequential` a layer is fitted on the inputs the pruned model gives it; its target is the
    dense model's output, corrected for what the residual stream it is added into has already lost
    (ours): z + (y_dense - y_pruned) / scale, y being the sum and scale the factor of the batch
    normalization between. The ridge strength is chosen on the samples of the select part.

    A consumer's bias may change, and one that had none gets one, unless a batch normalization
    straight behind takes it up (`Affine.norm`). Layers downstream get no bias that they had not;
    grouped ones among them are fitted group by group.

    Args:
        batches: the samples to fit on, on any device.
        seed: of the profile, which decides each sample's part.

    Raises:
        ActpruneError: if there are no batches for a compensation that needs them.
    """
    if settings.kind == "exact":
        return compensate_exactly(model, sites, cut, settings)
    plain = without_compensation(model, sites, cut)
    if settings.kind == "none" or not plain:
        return plain
    batches = [b for b in batches if len(b)]
    if not batches:
        raise ActpruneError(f"Compensation {settings.kind!r} needs calibration data, got none.")
    device = device_of(model)
    batches = [b.to(device) for b in batches]
    gone = removed_entries(sites, cut)
    with undisturbed(model):
        places = find_places(model, batches[0], gone, downstream=settings.refits_downstream)
        task = _Task(
            model=model, plain=plain, gone=gone, batches=batches, settings=settings, seed=seed,
            rows=_Rows(model, gone, batches, seed), progress=progress,
        )  # fmt: skip
        if settings.kind == "refit" and settings.granularity == "patch" and settings.sequential:
            fits = len(batches) <= MOST and not is_offloaded(model) and _size(model) <= BUDGET
            if fits and keeps_order(model, batches[0].select(torch.arange(1)), places):
                return _on_a_wave(task, places)
            return _one_by_one(task, places, sites, cut)
        # joins matter to a sequential refit alone
        return _one_by_one(task, [replace(p, joins=False) for p in places], sites, cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What `compensate` was asked for."""

    model: nn.Module
    plain: Mapping[str, Affine]
    gone: Mapping[str, Tensor]
    batches: Sequence[Batch]
    settings: Compensation
    seed: int
    rows: _Rows
    progress: Callable[[str], None]

    def refit(self, place: Place, reads: Iterable[tuple[Tensor, Tensor]]) -> Affine:
        """Fit the layer of `place` to the rows due that come with its inputs."""
        fitted = refit_patches(
            linear_or_conv(self.model, place.name), self.gone.get(place.name, NOTHING),
            self.batches, reads, lambda i: self.rows.drawn(place.name, i),
            self.settings, self.seed, intercept=place.intercept,
        )  # fmt: skip
        self.progress(place.name)
        return replace(fitted, norm=place.norm)


def _on_a_wave(task: _Task, places: Sequence[Place]) -> dict[str, Affine]:
    """Sequential patch refits in one pass over the pruned stream, beside one over the dense one,
    which is a copy's, since the model's own layers compute with other weights meanwhile."""
    model, batches = task.model, task.batches
    with (
        riding(copy.deepcopy(model), batches, places, {}) as dense,
        riding(model, batches, places, task.plain) as wave,
    ):
        for place in places:
            reads = _arrivals(task, place, dense.advance(place.name), wave.advance(place.name))
            wave.weights[place.name] = task.refit(place, reads)
        return dict(wave.weights)


def _size(model: nn.Module) -> int:
    """Bytes of the model's parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def _arrivals(
    task: _Task, place: Place, dense: Iterable[Seen], pruned: Iterable[Seen]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each batch's input to the layer, and the rows that its output ought to have."""
    for i, (was, now) in enumerate(zip(dense, pruned, strict=True)):

        def rows(out: Tensor, i: int = i) -> Tensor:
            return task.rows.take(place.name, out, i)

        target = was.output if was.total is None else was.total
        yield now.input, due(rows, rows(target), now.output, now.total, now.scale)


def _one_by_one(
    task: _Task, places: Sequence[Place], sites: Sequence[Site], cut: Cut
) -> dict[str, Affine]:
    """Each layer with passes of its own."""
    model, settings, batches = task.model, task.settings, task.batches
    dense = DenseTargets(model, batches, places, task.rows.take)
    done: dict[str, Affine] = {}
    for place in places:
        name, layer = place.name, linear_or_conv(model, place.name)
        own = task.plain.get(name) or Affine(weight=layer.weight.detach(), bias=_detached(layer))
        upstream = done if settings.sequential else {}
        stream = Stream(model, name, upstream, own, joins=place.joins)
        if settings.kind == "mean":
            fitted = shift_mean(stream, layer, task.gone[name], batches)
            task.progress(name)
        elif settings.granularity == "channel":
            fitted = refit_channels(stream, layer, sites, cut, batches, settings, task.seed)
            task.progress(name)
        else:
            fitted = task.refit(place, _readings(task, stream, dense.take(name)))
        done[name] = replace(fitted, norm=place.norm)
    return done


def _readings(
    task: _Task, stream: Stream, targets: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    for i, (batch, target) in enumerate(zip(task.batches, targets, strict=True)):
        yield stream.read(batch, target, lambda out, i=i: task.rows.take(stream.name, out, i))


def _detached(layer: nn.Linear | nn.Conv2d) -> Tensor | None:
    return None if layer.bias is None else layer.bias.detach()


class _Rows:
    """Which rows of each layer and batch are used."""

    def __init__(
        self, model: nn.Module, gone: dict[str, Tensor], batches: Sequence[Batch], seed: int
    ) -> None:
        self._model, self._gone, self._batches, self._seed = model, gone, batches, seed
        self._samples = sum(map(len, batches))
        self._of_each: dict[str, int] = {}

    def take(self, name: str, out: Tensor, batch: int) -> Tensor:
        """The rows [R, D] in use of an output of the layer."""
        layer = linear_or_conv(self._model, name)
        samples = len(self._batches[batch])
        self._of_each[name] = positions(out, layer, samples)
        return outputs(out, layer, at=self.drawn(name, batch), samples=samples)

    def drawn(self, name: str, batch: int) -> Tensor | None:
        """The positions in use, of a layer of which an output has been seen."""
        layer = linear_or_conv(self._model, name)
        kept = layer.weight.shape[1] - len(self._gone.get(name, NOTHING))
        columns = kept * len(columns_of(layer, torch.zeros(1, dtype=torch.int64)))
        return draw_positions(
            self._of_each[name], self._samples, columns,
            seed=self._seed, layer=name, batch=batch,
        )  # fmt: skip
