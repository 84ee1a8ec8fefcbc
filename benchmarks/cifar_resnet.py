"""ResNet-20 and ResNet-56 on CIFAR-10, one shot: no gradient step, 2,048 training images.

    python -m benchmarks.cifar_resnet [--nets resnet20 resnet56] [--targets units=50% macs=50%]

Every choice and every refit uses training images; the forecast one random half of the test images,
the verdict the other; accuracy is also given on all 10,000. torch-pruning's magnitude pruning of
the same share of the same channels, as it comes and with batch normalization re-estimated on the
same training images, stands beside it. Rows go to benchmarks/results/cifar_resnet.jsonl.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import nn

import actprune
from actprune.data.source import Arrays
from actprune.planning.alike import alike
from actprune.running.evaluate import loss_for
from actprune.running.outputs import primary
from actprune.running.state import undisturbed
from benchmarks import cifar
from benchmarks.costs import cost_of
from benchmarks.harness import append, rows
from benchmarks.rivals import reestimate_batchnorm, torch_pruning_magnitude

TARGETS = ("units=70%", "units=50%", "units=30%")
RIVAL = ("torch-pruning GroupMagnitude", "torch-pruning GroupMagnitude + BN re-estimated")
PLAIN = actprune.Compensation(kind="none")


def score(model: nn.Module, data: Arrays) -> dict[str, float]:
    """Mean cross-entropy (nats) and accuracy (0 to 1) over `data`."""
    batches = list(data.batches(500))
    loss = loss_for(model, batches, "cross_entropy")
    nats = right = 0.0
    with undisturbed(model):
        for batch in batches:
            out = primary(batch.run(model))
            nats += float(loss.per_sample(out, out, batch.labels).sum())
            right += float(loss.metrics["accuracy"](out, out, batch.labels).sum())
    n = len(data.ids)
    return {"loss": nats / n, "accuracy": right / n}


def measure(net: str, target: str, seed: int) -> list[dict[str, Any]]:
    """Ours, two of our own baselines and the rival, at one target."""
    dense = getattr(cifar, net)()
    train, everything = cifar.train(2_048, seed=seed), cifar.test()
    check, heldout = cifar.test_halves(seed)
    start = time.perf_counter()
    profile = actprune.profile(dense, train, seed=seed, spec=net)
    profiled = time.perf_counter()
    # channels inside blocks, as the rival is given them; streams are for benchmarks.coupled
    streams = [s.site.name for s in profile.sites if s.site.kind == "residual"]
    plan = actprune.plan(
        dense, profile, target, ignore=streams, batches=train, check=check, probes=True
    )
    planned = time.perf_counter()
    small = actprune.prune(dense, plan, batches=train)
    pruned = time.perf_counter()
    verdict = actprune.verify(dense, small, plan, heldout, seed=seed)
    assert plan.forecast is not None
    common = {"net": net, "target": target, "seed": seed, "images": len(train.ids)}
    common["dense"] = score(dense, everything)
    ours = {
        **common,
        "method": "actprune residual + refit",
        "full_test": score(small, everything),
        "macs_kept": plan.after.macs / plan.before.macs,
        "params_kept": plan.after.params / plan.before.params,
        "forecast": plan.forecast.model_dump(),
        "counts_only": plan.counts_only.model_dump() if plan.counts_only else None,
        "counts_only_reason": plan.counts_only_reason,
        "measured": verdict.measured.model_dump(),
        "verdict": verdict.outcome,
        "accuracy_verdict_images": verdict.after.metrics["accuracy"],
        "latency_ms": [verdict.before.latency_ms, verdict.after.latency_ms],
        "seconds": {
            "profile": profiled - start,
            "plan": planned - profiled,
            "prune": pruned - planned,
        },
    }
    found = [ours]
    for criterion in ("rare", "magnitude"):
        other = alike(dense, profile, plan, criterion=criterion, compensation=PLAIN, batches=train)
        model = actprune.prune(dense, other, batches=train)
        found.append(_row(common, f"actprune {criterion}, no compensation", model, everything))
    if target.startswith("units="):
        layers = [p.site.name for p in plan.sites]
        share = 1 - float(target[6:-1]) / 100
        example = next(iter(train.batches(1)))
        begun = time.perf_counter()
        rival = torch_pruning_magnitude(dense, example, layers, share)
        cut = time.perf_counter()
        again = reestimate_batchnorm(rival, list(train.batches()))
        done = time.perf_counter()
        for name, model, seconds in zip(RIVAL, (rival, again), (cut, done), strict=True):
            row = _row(common, name, model, everything)
            found.append({**row, "seconds": {"prune": seconds - begun}})
    return found


def _row(common: dict[str, Any], method: str, model: nn.Module, data: Arrays) -> dict[str, Any]:
    example = next(iter(data.batches(1)))
    after, before = cost_of(model, example), cost_of(getattr(cifar, common["net"])(), example)
    return {
        **common,
        "method": method,
        "full_test": score(model, data),
        "macs_kept": after.macs / before.macs,
        "params_kept": after.params / before.params,
    }


def main() -> None:
    """Run what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    asked = parser.parse_args()
    torch.set_num_threads(2)
    done = {(r["net"], r["target"], r["seed"]) for r in rows("cifar_resnet")}
    for net in asked.nets:
        for target in asked.targets:
            for seed in asked.seeds:
                if (net, target, seed) in done:
                    continue
                for row in measure(net, target, seed):
                    append("cifar_resnet", row)
                    before, after = row["dense"]["accuracy"], row["full_test"]["accuracy"]
                    print(
                        f"{net} {target} seed {seed} {row['method']}: accuracy {after:.4f} "
                        f"(dense {before:.4f}), MACs kept {row['macs_kept']:.3f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
