"""Compensate a cut layer by layer, each seeing what the pruned layers before it produce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

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
from actprune.refit.stream import Stream
from actprune.refit.targets import DenseTargets
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
    straight behind takes it up (`Affine.norm`). Layers downstream get no bias that they had not.

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
        rows = _Rows(model, gone, batches, seed)
        dense = DenseTargets(model, batches, _joining(places, settings), rows.take)
        done: dict[str, Affine] = {}
        for place in _joining(places, settings):
            name, layer = place.name, linear_or_conv(model, place.name)
            own = plain.get(name) or Affine(weight=layer.weight.detach(), bias=_detached(layer))
            upstream = done if settings.sequential else {}
            stream = Stream(model, name, upstream, own, joins=place.joins)
            if settings.kind == "mean":
                fitted = shift_mean(stream, layer, gone[name], batches)
            elif settings.granularity == "channel":
                fitted = refit_channels(stream, layer, sites, cut, batches, settings, seed)
            else:
                fitted = refit_patches(
                    stream, layer, gone.get(name, NOTHING), batches, dense.take(name),
                    lambda out, i, name=name: rows.take(name, out, i),
                    lambda i, name=name: rows.drawn(name, i),
                    settings, seed,
                    intercept=place.intercept,
                )  # fmt: skip
            done[name] = replace(fitted, norm=place.norm)
            progress(name)
    return done


def _joining(places: Sequence[Place], settings: Compensation) -> list[Place]:
    """The places; joins matter to a sequential refit alone."""
    if settings.kind == "refit" and settings.sequential:
        return list(places)
    return [replace(p, joins=False) for p in places]


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
