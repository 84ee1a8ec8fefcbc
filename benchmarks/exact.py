"""What can be cut without any change? Proved, merged and certified units of trained networks.

    python -m benchmarks.exact [--seeds 3]

Networks of the zoo as they are, the same shapes trained so that units die, and, where
its weights are at hand, ResNet-20. Each with the box of all images, [0, 1], and with the box of the
calibration data's extremes. Rows go to benchmarks/results/exact.jsonl.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import actprune
from actprune.data.source import Arrays
from actprune.data.split import heldout
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.zoo import images
from actprune.zoo.digits_mlp import DigitsMLP
from actprune.zoo.mnist_cnn import MnistCNN
from actprune.zoo.training import isolated
from benchmarks import cifar
from benchmarks.harness import append, begin

BATCH = 64


def trained(
    build: Callable[[], nn.Module], x: Tensor, y: Tensor, *, seed: int, epochs: int,
    weights: float = 0.0, active: float = 0.0,
) -> nn.Module:  # fmt: skip
    """Adam at 2e-3 on the cross-entropy plus penalties.

    Args:
        weights: times the sum of |w| over all layers' weights.
        active: times the mean over samples of the sum of all ReLU outputs.
    """
    with isolated(seed):
        model = build().train()
        seen: list[Tensor] = []
        hidden = [m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "head"]
        for layer in hidden:
            layer.register_forward_hook(lambda _m, _x, out: seen.append(out.relu().sum(1).mean()))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(epochs):
            for ids in torch.randperm(len(x)).split(BATCH):
                seen.clear()
                loss = nn.functional.cross_entropy(model(x[ids]), y[ids])
                if weights:
                    layers = (p for p in model.parameters() if p.ndim > 1)
                    loss = loss + weights * sum(p.abs().sum() for p in layers)
                if active:
                    loss = loss + active * torch.stack(seen).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        for layer in hidden:
            layer._forward_hooks.clear()
        return model.eval()


def _digits(**options: Any) -> Callable[[int], nn.Module]:
    return lambda seed: trained(DigitsMLP, *images.digits()[0], seed=seed, epochs=30, **options)


def _mnist(**options: Any) -> Callable[[int], nn.Module]:
    return lambda seed: trained(MnistCNN, *images.mnist()[0], seed=seed, epochs=5, **options)


def _zoo(name: str) -> Callable[[int], nn.Module]:
    return lambda seed: load_model(f"zoo:{name}@{seed}").model


NETS: dict[str, tuple[str, Callable[[int], nn.Module]]] = {
    "digits-mlp": ("digits-mlp", _zoo("digits-mlp")),
    "digits-mlp, L1 on weights": ("digits-mlp", _digits(weights=1e-3)),
    "digits-mlp, L1 on activations": ("digits-mlp", _digits(active=1e-3)),
    "mnist-cnn": ("mnist-cnn", _zoo("mnist-cnn")),
    "mnist-cnn, L1 on weights": ("mnist-cnn", _mnist(weights=1e-3)),
}
BOXES = ("0:1", "data")


def measure(name: str, net: nn.Module, data: Arrays, fresh: Any, box: str) -> dict[str, Any]:
    """One lossless cut: what went and why, and what the held-out images say."""
    profile = actprune.profile(net, data, spec=name)
    start = time.perf_counter()
    plan = actprune.plan(net, profile, "lossless", box=box, batches=data, probes=False)
    seconds = time.perf_counter() - start
    small = actprune.prune(net, plan)
    verdict = actprune.verify(net, small, plan, fresh)
    assert verdict.exact is not None
    return {
        "net": name,
        "box": box,
        "units": sum(p.site.units for p in plan.sites),
        **verdict.exact.model_dump(exclude={"box"}),
        "heldout": verdict.heldout_samples,
        "params_kept": plan.after.params / plan.before.params,
        "macs_kept": plan.after.macs / plan.before.macs,
        "accuracy_before": verdict.before.metrics["accuracy"],
        "accuracy_after": verdict.after.metrics["accuracy"],
        "verdict": verdict.outcome,
        "plan_seconds": seconds,
    }


def main() -> None:
    """Measure everything anew, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    begin("exact")
    for name, (spec, make) in NETS.items():
        for seed in range(asked.seeds):
            net, data = make(seed), load_data(f"zoo:{spec}")
            rest = data.where(lambda ids, seed=seed: ~heldout(ids, seed))
            fresh = data.where(lambda ids, seed=seed: heldout(ids, seed))
            for box in BOXES:
                _keep({**measure(name, net, rest, fresh, box), "seed": seed})  # pyright: ignore
    if cifar.assets().is_dir():
        net = cifar.resnet20()
        row = measure("ResNet-20", net, cifar.train(1024), cifar.test(0, 500), "data")
        _keep({**row, "seed": 0})


def _keep(row: dict[str, Any]) -> None:
    append("exact", row)
    print(
        f"{row['net']} {row['box']} seed {row['seed']}: {row['units']} units, "
        f"{row['proved']} proved, {row['merged']} merged, {row['certified']} certified; "
        f"difference {row['largest_difference']:.2g} of {row['allowed'] or row['reason']}, "
        f"changed {row['inputs_changed']:.4f} <= {row['bound']:.4f}, params "
        f"{100 * row['params_kept']:.1f} %, accuracy {row['accuracy_before']:.4f} -> "
        f"{row['accuracy_after']:.4f}, {row['verdict']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
