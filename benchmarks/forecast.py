"""Does the forecast hold? Small nets x cuts x seeds: forecast, interval, measured.

    python benchmarks/forecast.py [--seeds 10] [--nets digits-mlp digits-cnn mnist-cnn]

A seed decides the training run, the parts of the calibration data and the held-out third. Rows go
to benchmarks/results/forecast.jsonl as they come; what is there already is not run again.
"""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor

import actprune
from actprune.data.split import heldout
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from benchmarks.harness import append, rows

CUTS = {
    "digits-mlp": ("units=50%", "units=30%", "units=20%", "units=10%", "units=5%"),
    "digits-cnn": ("macs=70%", "macs=50%", "macs=30%"),
    "mnist-cnn": ("macs=70%", "macs=50%", "macs=30%"),
}
OURS = ("residual", "refit")
WAYS = {
    "digits-mlp": (OURS, ("rare", "refit"), ("magnitude", "none")),
    "digits-cnn": (OURS, ("rare", "refit"), ("magnitude", "none")),
    "mnist-cnn": (OURS,),  # its training and its plans take the longest
}


def measure(net: str, cut: str, criterion: str, compensate: str, seed: int) -> dict[str, Any]:
    """One plan, forecast and measured."""
    model, data = load_model(f"zoo:{net}@{seed}").model, load_data(f"zoo:{net}")
    profile = actprune.profile(model, data, leave_out=True, seed=seed, spec=f"zoo:{net}@{seed}")
    plan = actprune.plan(
        model,
        profile,
        cut,
        criterion=criterion,
        compensation=actprune.Compensation(kind=compensate),  # pyright: ignore[reportArgumentType]
        batches=data,
        probes=(criterion, compensate) == OURS,
    )
    small = actprune.prune(model, plan, batches=data)

    def third(ids: Tensor) -> Tensor:
        return heldout(ids, seed)

    verdict = actprune.verify(model, small, plan, data.where(third), seed=seed)
    assert plan.forecast is not None
    return {
        "net": net,
        "cut": cut,
        "criterion": criterion,
        "compensate": compensate,
        "seed": seed,
        "forecast": plan.forecast.model_dump(),
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
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--nets", nargs="+", default=list(CUTS), choices=list(CUTS))
    asked = parser.parse_args()
    keys = ("net", "cut", "criterion", "compensate", "seed")
    done = {tuple(row[k] for k in keys) for row in rows("forecast")}
    for seed in range(asked.seeds):
        for net in asked.nets:
            for cut in CUTS[net]:
                for criterion, compensate in WAYS[net]:
                    if (net, cut, criterion, compensate, seed) in done:
                        continue
                    row = measure(net, cut, criterion, compensate, seed)
                    append("forecast", row)
                    f, m = row["forecast"], row["measured"]
                    print(
                        f"{net} {cut} {criterion}/{compensate} seed {seed}: "
                        f"forecast {f['loss_delta']:+.4f} [{f['low']:+.4f}, {f['high']:+.4f}], "
                        f"measured {m['loss_delta']:+.4f} [{m['low']:+.4f}, {m['high']:+.4f}], "
                        f"accuracy {row['accuracy_before']:.4f} -> {row['accuracy_after']:.4f}, "
                        f"{row['verdict']}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
