"""Measure the pruned model on held-out data and hold it against the forecast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Source, as_source
from actprune.errors import ActpruneError
from actprune.planning.metric_change import metric_change
from actprune.planning.result import Plan, PlannedSite
from actprune.profiling.counting.observe import observe
from actprune.running.evaluate import loss_for
from actprune.running.hashing import model_hash
from actprune.running.loss import Loss
from actprune.running.outputs import primary
from actprune.running.scores import Scores
from actprune.running.state import device_of, undisturbed
from actprune.running.wrapped import unwrapped
from actprune.sites.census import static_cost
from actprune.theory.liveness import split_certificate
from actprune.verifying.bootstrap import bootstrap_mean
from actprune.verifying.exactness import certified_sites, check_exactness
from actprune.verifying.latency import latency
from actprune.verifying.outcome import judge
from actprune.verifying.recovery import bare, recovery
from actprune.verifying.result import Baseline, Certificate, Measured, Side, Verdict

CERTIFICATE_LEVEL = 0.95  # one-sided
LATENCY_BATCH = 64


def verify(
    dense: nn.Module,
    small: nn.Module,
    plan: Plan,
    heldout: Source | Iterable[Any],
    *,
    loss: str | None = None,
    level: float = 0.9,
    seed: int = 0,
    baselines: Mapping[tuple[str, str], nn.Module] | None = None,
    healed: nn.Module | None = None,
    progress: Callable[[int], None] = lambda samples: None,
) -> Verdict:
    """Measure both models on `heldout` and judge the plan.

    The forecast is of the cut and its compensation, so the verdict is of `small` as `prune` returns
    it. A model that was healed afterwards is measured beside it, never judged: its figures are in
    `recovery`, with the shares that compensation and healing won back.

    Args:
        dense, small: the model before and after, in its wrapper or not (see `unwrapped`).
        plan: what was planned, with its forecast.
        heldout: samples that no fit, choice or forecast has read.
        loss: a name in `LOSSES` or `difference`; the plan's when left out.
        level: of the measured change's two-sided bootstrap interval.
        seed: of the bootstrap.
        baselines: further pruned models to score, by (criterion, compensation).
        healed: what `heal` made of `small`.

    Raises:
        ActpruneError: if the dense model is not the planned one or the data are empty.
    """
    start = time.perf_counter()
    dense, small = unwrapped(dense), unwrapped(small)
    if model_hash(dense) != plan.model.hash:
        raise ActpruneError("The plan is for another model than the dense one given to verify.")
    source = as_source(heldout)
    batches = [b for b in source.batches() if len(b)]
    if not batches:
        raise ActpruneError(f"{source.spec}: no held-out sample; give data to verify on.")
    chosen = loss_for(dense, batches, loss or plan.loss)
    others = {name: unwrapped(model) for name, model in (baselines or {}).items()}
    models = [dense, small, *others.values()]
    if healed is not None:
        models += [bare(dense, small, plan), unwrapped(healed)]
    losses, scores, affected = _score(models, dense, plan, batches, chosen, progress)
    metrics = [{k: float(v.mean()) for k, v in m.items()} for m in scores]
    falls = {k: metric_change(k, scores[1][k] - scores[0][k], level=level) for k in chosen.metrics}
    change = losses[1] - losses[0]
    low, high = bootstrap_mean(change, level=level, seed=seed)
    measured = Measured(
        loss_delta=float(change.mean()), low=low, high=high, level=level, samples=len(change)
    )
    watched = certified_sites(plan)
    certificate = Certificate(
        units=sum(map(len, watched.values())),
        inputs_affected=float(affected.mean()),
        upper=split_certificate(int(affected.sum()), len(affected), CERTIFICATE_LEVEL),
        level=CERTIFICATE_LEVEL,
    )
    exact = check_exactness(dense, small, plan, batches, certificate)
    outcome, reason = judge(plan, measured, float(losses[0].mean()), chosen.kind, exact, falls)
    back = None
    if healed is not None:
        reason += "; all of it before healing"
        ways = (losses[0], losses[-2], losses[1], losses[-1])
        back = recovery(*ways, (metrics[-2], metrics[1], metrics[-1]), level=level, seed=seed)
    timed = batches[0].select(torch.arange(min(LATENCY_BATCH, len(batches[0]))))
    speed = latency(dense, small, timed)

    def side(i: int, model: nn.Module, macs: float, ms: float) -> Side:
        cost = static_cost(model)
        return Side(
            loss=float(losses[i].mean()),
            metrics=metrics[i],
            params=cost.params,
            macs=macs,
            bytes=cost.bytes,
            latency_ms=ms,
        )

    return Verdict(
        outcome=outcome,
        reason=reason,
        loss_kind=chosen.kind,
        labelled=chosen.labelled,
        measured=measured,
        before=side(0, dense, plan.before.macs, speed.before_ms),
        after=side(1, small, plan.after.macs, speed.after_ms),
        certificate=certificate,
        exact=exact,
        baselines=tuple(
            Baseline(
                criterion=criterion,
                compensate=compensation,
                loss=float(losses[i].mean()),
                metrics=metrics[i],
            )
            for i, (criterion, compensation) in enumerate(others, start=2)
        ),
        recovery=back,
        heldout=source.spec,
        heldout_samples=len(change),
        latency_batch=speed.batch,
        latency_threads=speed.threads,
        latency=speed,
        device=str(device_of(dense)),
        seconds=time.perf_counter() - start,
    )


def _score(
    models: Sequence[nn.Module],
    dense: nn.Module,
    plan: Plan,
    batches: Sequence[Batch],
    loss: Loss,
    progress: Callable[[int], None],
) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]], np.ndarray]:
    """Per-sample losses and metrics of every model, and which samples a removed unit moves."""
    scores = [Scores(loss) for _ in models]
    affected: list[np.ndarray] = []
    device = device_of(dense)
    for batch in batches:
        moved = batch.to(device)
        with undisturbed(dense):
            moves, output = moves_removed_units(dense, plan.sites, moved, certified_sites(plan))
            affected.append(moves.numpy())
            reference = primary(output)
        for model, scored in zip(models, scores, strict=True):
            with undisturbed(model):
                out = reference if model is dense else primary(moved.run(model))
                scored.add(out, reference, moved.labels)
        progress(len(batch))
    return [s.losses for s in scores], [s.metrics for s in scores], np.concatenate(affected)


def moves_removed_units(
    model: nn.Module,
    sites: Sequence[PlannedSite],
    batch: Batch,
    units: Mapping[str, Sequence[int]] | None = None,
) -> tuple[Tensor, Any]:
    """bool [S], whether a sample fires one of `units`, or moves one off its constant; and the raw
    output of the dense `model`, which is run once.

    Args:
        units: removed units by site name; None for all of them.
    """
    if units is None:
        units = {p.site.name: p.removed for p in sites}
    cut = {p.site.name: p for p in sites if units.get(p.site.name)}
    moved = torch.zeros(len(batch), dtype=torch.bool)

    def see(name: str, a_SUP: Tensor) -> None:
        planned = cut[name]
        watched = list(units[name])
        a_SRP = a_SUP[:, watched]
        size_SRP = a_SRP.abs() if planned.rule.kind == "magnitude" else a_SRP
        off_SRP = size_SRP > planned.rule.threshold
        at = dict(zip(planned.removed, planned.constants, strict=True))
        fixed = [i for i, u in enumerate(watched) if at[u] is not None]
        if fixed:
            values = [c for u in watched if (c := at[u]) is not None]
            constants = torch.tensor(values, dtype=torch.float64, device=a_SRP.device)
            off_SRP[:, fixed] = a_SRP[:, fixed].double() != constants[:, None]
        moved.logical_or_(off_SRP.flatten(1).any(1).cpu())

    output = observe(model, batch, [p.site for p in cut.values()], see)
    return moved, output
