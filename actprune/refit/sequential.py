"""Compensate a cut layer by layer, each seeing what the pruned layers before it produce."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.refit.consumer import refit_channels, refit_patches, shift_mean
from actprune.refit.masks import removed_entries, without_compensation
from actprune.refit.settings import Compensation
from actprune.refit.stream import Stream
from actprune.refit.targets import DenseTargets, find_joins
from actprune.running.state import device_of, undisturbed
from actprune.running.substitute import Affine, linear_or_conv
from actprune.sites.cut import Cut
from actprune.sites.site import Site


def compensate(
    model: nn.Module,
    sites: Sequence[Site],
    cut: Cut,
    settings: Compensation,
    batches: Sequence[Batch],
    *,
    seed: int,
    progress: Callable[[str], None] = lambda consumer: None,
) -> dict[str, Affine]:
    """New weights of every consumer that loses inputs, in the dense model's shapes.

    Removed columns are zero, so `substituted(model, result)` is the pruned model without surgery.
    With `sequential` a consumer is fitted on the inputs the pruned model gives it; its target is
    the dense model's output, corrected for what the residual stream it is added into has already
    lost (ours): z + (y_dense - y_pruned) / scale, y being the sum and scale the factor of the batch
    normalization between. The ridge strength is chosen on the samples of the select part.

    Args:
        batches: the samples to fit on, on any device.
        seed: of the profile, which decides each sample's part.

    Raises:
        ActpruneError: if there are no batches for a compensation that needs them.
    """
    maps = without_compensation(model, sites, cut)
    if settings.kind == "none" or not maps:
        return maps
    batches = [b for b in batches if len(b)]
    if not batches:
        raise ActpruneError(f"Compensation {settings.kind!r} needs calibration data, got none.")
    device = device_of(model)
    batches = [b.to(device) for b in batches]
    gone = removed_entries(sites, cut)
    with undisturbed(model):
        joins = dict.fromkeys(gone, False)
        if settings.kind == "refit" and settings.sequential:
            joins = find_joins(model, batches[0], list(gone))
        dense = DenseTargets(model, batches, list(gone), joins)
        done: dict[str, Affine] = {}
        for name in gone:
            layer = linear_or_conv(model, name)
            upstream = done if settings.sequential else {}
            stream = Stream(model, name, upstream, maps[name], joins[name])
            if settings.kind == "mean":
                done[name] = shift_mean(stream, layer, gone[name], batches)
            elif settings.granularity == "channel":
                here = [s for s in sites if s.consumer.module == name]
                done[name] = refit_channels(stream, layer, here, cut, batches, settings, seed)
            else:
                done[name] = refit_patches(
                    stream, layer, gone[name], batches, dense, settings, seed
                )
            progress(name)
    return done
