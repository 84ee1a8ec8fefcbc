"""Measure on a model what only a running model shows; two models side by side on the same data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from actprune.auditing.activations import find_activations
from actprune.auditing.firing import spikes
from actprune.auditing.order import order
from actprune.auditing.result import MEASURES, AuditResult, ModelAudit
from actprune.auditing.sample_basin import Rays, compare, sample_basin, sample_rays
from actprune.auditing.substitution import substitution
from actprune.auditing.weight_basin import weight_basin
from actprune.data.batch import Batch
from actprune.data.source import Source, as_source
from actprune.errors import ActpruneError
from actprune.running.evaluate import loss_for
from actprune.running.hashing import model_hash
from actprune.running.loss import LOSSES, Loss
from actprune.running.scores import scored
from actprune.running.state import device_of, undisturbed
from actprune.running.wrapped import at_hand
from actprune.sites.census import static_cost
from actprune.sites.find import survey
from actprune.sites.patterns import named_sites
from actprune.sites.site import Site

RISE = 0.5  # nats, or shares of the output's variance; of a mean squared error, of its own value
NO_ORDER = "no order of the samples was stated, and spikes mean nothing without one"


def audit(
    model: nn.Module,
    batches: Source | Iterable[Any],
    *,
    against: nn.Module | None = None,
    measures: Sequence[str] = MEASURES,
    only: Sequence[str] = (),
    samples: int | None = None,
    batch_size: int | None = None,
    basin_samples: int = 256,
    directions: int = 8,
    loss: str | None = None,
    rise: float | None = None,
    data_order: str | None = None,
    window: int | None = None,
    level: float = 0.9,
    seed: int = 0,
    specs: tuple[str, str] = ("", ""),
    progress: Callable[[str], None] = lambda stage: None,
) -> AuditResult:
    """Measure `model`, and `against` beside it: order, linearity, basins and spikes.

    The models run in evaluation mode and are left as they were; no parameter is ever written. The
    unperturbed model is the reference of each loss without labels.

    Args:
        model, against: for instance after and before pruning, in their wrappers or not.
        batches: a Source, or any iterable of batches: tensor, tuple `(inputs..., labels)` or dict.
        measures: some of `MEASURES`. One that makes no sense for the model or the data is left out,
            with a reason.
        only: the sites to look at, by name or pattern; basins are the whole network's.
        samples: read only the first so many, at least 1.
        batch_size: samples a forward pass, where the source can choose.
        basin_samples: drawn for the basins, at most.
        directions: noise drawn a sample (sample basin), and for all weights (weight basin).
        loss: a name in `LOSSES` or `difference`; what suits the data if left out.
        rise: of the mean loss that ends the weight basin; `RISE` if left out.
        data_order: the order of the samples in your words ("shuffled", "by class"), for spikes.
        window: samples a window of spikes.
        level: of two-sided intervals, 0 to 1.
        seed: of all draws; the same for both models.
        specs: how to name the two models in reports.
        progress: called with a few words at each step.

    Raises:
        ActpruneError: if an argument is out of range, the data are empty or do not fit, or none of
            the measures can be made.
    """
    for name, number, least in (
        ("samples", samples, 1),
        ("batch_size", batch_size, 1),
        ("basin_samples", basin_samples, 1),
        ("directions", directions, 1),
        ("window", window, 1),
    ):
        if number is not None and number < least:
            raise ActpruneError(f"{name} must be at least {least}, got {number}.")
    if not 0 < level < 1:
        raise ActpruneError(f"level must lie between 0 and 1, got {level:g}.")
    if rise is not None and not rise > 0:
        raise ActpruneError(f"rise must be above 0, got {rise:g}.")
    for name in measures:
        if name not in MEASURES:
            raise ActpruneError(f"Measures are {', '.join(MEASURES)}, got {name!r}.")
    source = as_source(batches)
    read = _read(source, samples, batch_size)
    asked = _Asked(
        measures=tuple(m for m in MEASURES if m in measures),
        only=tuple(only),
        basin_samples=basin_samples,
        directions=directions,
        loss=loss,
        rise=rise,
        data_order=data_order,
        window=window,
        level=level,
        seed=seed,
    )
    found, rays = _audited(model, read, asked, specs[0], progress)
    other, other_rays = None, None
    if against is not None:

        def told(stage: str) -> None:
            progress(f"against: {stage}")

        other, other_rays = _audited(against, read, asked, specs[1], told)
    compared = None
    if rays is not None and other_rays is not None:
        compared = compare(rays, other_rays, level=level, seed=seed)
    return AuditResult(
        model=found,
        against=other,
        compared=compared,
        data=source.spec,
        samples=sum(len(b) for b in read),
        data_order=data_order,
        seed=seed,
        level=level,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The arguments of `audit` that hold for both models."""

    measures: tuple[str, ...]
    only: tuple[str, ...]
    basin_samples: int
    directions: int
    loss: str | None
    rise: float | None
    data_order: str | None
    window: int | None
    level: float
    seed: int


def _audited(
    model: nn.Module,
    batches: Sequence[Batch],
    asked: _Asked,
    spec: str,
    progress: Callable[[str], None],
) -> tuple[ModelAudit, Rays | None]:
    """All measures of one model, and the rays of its sample basin."""
    start = time.perf_counter()
    model = at_hand(model)
    progress("looking for sites")
    first = batches[0].to(device_of(model))
    sites = named_sites(survey(model, first).sites, asked.only)
    few = first.select(torch.arange(min(2, len(first))))
    with undisturbed(model):
        activations, unseen = find_activations(model, few, sites)
    progress("loss")
    loss = loss_for(model, batches, asked.loss)
    value, metrics = _score(model, batches, loss)
    rays: Rays | None = None

    def measured(measure: str) -> Any:
        nonlocal rays
        if measure in ("order", "substitution"):
            if not activations:
                raise ActpruneError(_none_found(sites, unseen))
            if measure == "order":
                return order(model, batches, activations, seed=asked.seed)
            return substitution(
                model, batches, activations, loss, seed=asked.seed, progress=progress
            )
        if measure == "sample_basin":
            rays = sample_rays(
                model,
                batches,
                samples=asked.basin_samples,
                directions=asked.directions,
                seed=asked.seed,
            )
            return sample_basin(rays, level=asked.level, seed=asked.seed)
        if measure == "weight_basin":
            return weight_basin(
                model,
                batches,
                loss,
                rise=asked.rise or _rise(loss, value),
                samples=asked.basin_samples,
                directions=asked.directions,
                level=asked.level,
                seed=asked.seed,
                progress=progress,
            )
        if asked.data_order is None:
            raise ActpruneError(NO_ORDER)
        return spikes(model, batches, sites, data_order=asked.data_order, window=asked.window)

    made: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for measure in asked.measures:
        progress(measure.replace("_", " "))
        try:
            made[measure] = measured(measure)
        except ActpruneError as e:  # it makes no sense for this model or these data
            reasons[measure] = str(e).rstrip(".")
    if not made:
        why = "; ".join(f"{measure}: {reason}" for measure, reason in reasons.items())
        raise ActpruneError(f"None of the measures asked for can be made: {why}.")
    if {"order", "substitution"} & made.keys():
        reasons |= unseen
    found = ModelAudit(
        spec=spec or type(model).__name__,
        hash=model_hash(model),
        params=static_cost(model).params,
        loss_kind=_kind(loss),
        loss=value,
        metrics=metrics,
        reasons=reasons,
        seconds=time.perf_counter() - start,
        **made,
    )
    return found, rays


def _read(source: Source, samples: int | None, batch_size: int | None) -> list[Batch]:
    """The first `samples` samples, in memory, since they are run many times."""
    read: list[Batch] = []
    left = samples
    for batch in source.batches(batch_size):
        few = batch if left is None else batch.select(torch.arange(min(left, len(batch))))
        if len(few):
            read.append(few)
        if left is not None:
            left -= len(few)
            if left <= 0:
                break
    if not read:
        raise ActpruneError(f"{source.spec}: the data are empty; give at least one sample.")
    return read


def _score(
    model: nn.Module, batches: Sequence[Batch], loss: Loss
) -> tuple[float, dict[str, float]]:
    """Mean loss and metrics over the samples."""
    scores = scored(model, batches, loss)
    return float(scores.losses.mean()), scores.mean_metrics


def _rise(loss: Loss, value: float) -> float:
    """What the loss must rise by where the user does not say."""
    if loss is not LOSSES["mse"]:
        return RISE
    if not value > 0:
        raise ActpruneError("the mean squared error is 0, so say by how much it must rise")
    return RISE * value


def _kind(loss: Loss) -> str:
    """The loss in words; without labels it is held against the model's own unchanged outputs."""
    return loss.kind.replace("dense || pruned", "before || after the change").replace(
        "the dense output", "the unchanged output"
    )


def _none_found(sites: Sequence[Site], unseen: Mapping[str, str]) -> str:
    if not sites:
        return "the model has no site"
    return "; ".join(unseen.values())
