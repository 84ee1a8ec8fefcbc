"""Does the forecast hold? Networks x cuts x seeds x folds: forecasts, intervals, measured.

    python -m benchmarks.forecast [--nets mnist-mlp resnet56 ...]

A seed decides the training run or the calibration images, a fold the samples that are forecast and
measured on (see `benchmarks.forecasting.cases`). Rows go to benchmarks/results/forecast.jsonl as
they come; what is there already is not run again. The figure is drawn anew from all rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from torch import nn

import actprune
from actprune.planning.local import local_forecast
from actprune.planning.probed import probed_forecast
from actprune.planning.result import Plan
from actprune.pruning.prune import compensated
from actprune.running.evaluate import loss_for
from benchmarks.forecasting.cases import CASES, Fold, Study, Way
from benchmarks.forecasting.figure import write
from benchmarks.harness import append, rows


def measure(study: Study, profile: Any, cut: str, way: Way, probes: bool) -> Iterator[dict]:
    """One row a fold. The plan is made once, with the first fold's check samples; for the others
    the same cut is forecast again, as `plan` would."""
    criterion, compensate = way
    plan = actprune.plan(
        study.model,
        profile,
        cut,
        criterion=criterion,
        compensation=actprune.Compensation(kind=compensate),  # pyright: ignore[reportArgumentType]
        batches=study.calibration,
        check=study.folds[0].check,
        probes=probes,
    )
    small = actprune.prune(study.model, plan, batches=study.calibration)
    for number, fold in enumerate(study.folds):
        now = plan if number == 0 else _again(study, plan, fold)
        yield {"fold": number, **_verified(study.model, small, now, fold)}


def _again(study: Study, plan: Plan, fold: Fold) -> Plan:
    """`plan` with its forecasts made on another fold's check samples."""
    assert fold.check is not None
    maps = compensated(study.model, plan, None, batches=study.calibration)
    check = list(fold.check.batches())
    loss = loss_for(study.model, check, None)
    found = {
        name: make(study.model, maps, check, loss, level=0.9)
        for name, make in (("forecast", probed_forecast), ("local", local_forecast))
    }
    reason = "made on the first fold only"
    return plan.model_copy(update={**found, "counts_only": None, "counts_only_reason": reason})


def _verified(model: nn.Module, small: nn.Module, plan: Plan, fold: Fold) -> dict[str, Any]:
    verdict = actprune.verify(model, small, plan, fold.heldout)
    assert plan.forecast is not None
    assert plan.local is not None
    return {
        "forecast": plan.forecast.model_dump(),
        "local": plan.local.model_dump(),
        "counts_only": plan.counts_only.model_dump() if plan.counts_only else None,
        "counts_only_reason": plan.counts_only_reason,
        "measured": verdict.measured.model_dump(),
        "verdict": verdict.outcome,
        "accuracy_before": verdict.before.metrics["accuracy"],
        "accuracy_after": verdict.after.metrics["accuracy"],
        "units_kept": sum(len(p.kept) for p in plan.sites) / sum(p.site.units for p in plan.sites),
        "macs_kept": plan.after.macs / plan.before.macs,
    }


def main() -> None:
    """Run what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=list(CASES), choices=list(CASES))
    keys = ("net", "cut", "criterion", "compensate", "seed")
    done = {tuple(row[k] for k in keys) for row in rows("forecast")}
    for net in parser.parse_args().nets:
        case = CASES[net]
        for seed in case.seeds:
            todo = [
                (cut, way)
                for way, cuts in case.cuts.items()
                for cut in cuts
                if (net, cut, *way, seed) not in done
            ]
            if not todo:
                continue
            study = case.study(seed)
            profile = actprune.profile(
                study.model, study.calibration, leave_out=study.leave_out, seed=seed, spec=net
            )
            for cut, way in todo:
                named = dict(zip(keys, (net, cut, *way, seed), strict=True))
                found = list(measure(study, profile, cut, way, way in case.counts_only))
                for row in found:  # all folds or none, so that nothing is missed when resumed
                    append("forecast", {**named, "chosen_on": seed in case.chosen_on, **row})
                    f, m = row["forecast"], row["measured"]
                    print(
                        f"{net} {cut} {'/'.join(way)} seed {seed} fold {row['fold']}: "
                        f"forecast {f['loss_delta']:+.4f} [{f['low']:+.4f}, {f['high']:+.4f}], "
                        f"local {row['local']['loss_delta']:+.4f}, "
                        f"measured {m['loss_delta']:+.4f} [{m['low']:+.4f}, {m['high']:+.4f}], "
                        f"accuracy {row['accuracy_before']:.4f} -> {row['accuracy_after']:.4f}, "
                        f"{row['verdict']}",
                        flush=True,
                    )
    write(rows("forecast"))


if __name__ == "__main__":
    main()
