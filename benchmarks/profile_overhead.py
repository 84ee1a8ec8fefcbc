"""What does watching cost? Paired rounds of a plain forward pass and three ways of watching it.

    python -m benchmarks.profile_overhead [--rounds 30]

Each round runs, in turn and on the same batch: the plain forward pass; actprune's counts and
moments; a naive hook that counts with `(a > 0).sum(0)`; and a hook that keeps all activations.
Rows (medians of the paired ratios) go to benchmarks/results/profile_overhead.jsonl.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import block_of
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.profiling.accumulate import Ledger
from actprune.profiling.collect import observe
from actprune.profiling.rules import Rule
from actprune.running.hooks import watching_inputs
from actprune.running.state import undisturbed
from actprune.sites.find import survey
from benchmarks import cifar
from benchmarks.harness import append, begin

THREADS = 2
BATCH = 128


def networks() -> dict[str, tuple[nn.Module, Batch]]:
    """Models with one batch each; the ResNet only where its weights are."""
    found = {
        name: (load_model(f"zoo:{name}").model, next(iter(load_data(f"zoo:{name}").batches(BATCH))))
        for name in ("digits-mlp", "mnist-cnn")
    }
    if cifar.assets().is_dir():
        found["resnet56"] = (cifar.resnet56(), next(iter(cifar.train(BATCH).batches(BATCH))))
    return found


def ways(model: nn.Module, batch: Batch) -> dict[str, Callable[[], None]]:
    """The plain forward pass first, then what is compared with it."""
    sites = survey(model, batch).sites
    rules = {s.name: Rule(kind="positive", threshold=0.0) for s in sites}
    ledger = Ledger(sites, rules, with_gram=False, device=torch.device("cpu"))
    blocks = block_of(batch.ids, 0)
    consumers = [s.consumer.module for s in sites]

    def plain() -> None:
        batch.run(model)

    def ours() -> None:
        ledger.open(blocks)
        observe(model, batch, sites, ledger.see)
        ledger.close(batch.ids, 0)

    def naive() -> None:
        counts: dict[str, Tensor] = {}

        def count(name: str, x: Tensor) -> None:
            counts[name] = (x > 0).sum(0)

        with watching_inputs(model, consumers, count):
            batch.run(model)

    def keeping() -> None:
        kept: dict[str, Tensor] = {}

        def keep(name: str, x: Tensor) -> None:
            kept[name] = x.clone()

        with watching_inputs(model, consumers, keep):
            batch.run(model)

    return {
        "plain": plain,
        "actprune counts + moments (eager)": ours,
        "naive hook": naive,
        "keep all activations": keeping,
    }


def measure(net: str, model: nn.Module, batch: Batch, rounds: int) -> list[dict[str, Any]]:
    """Median ratios of paired rounds, after two rounds of warm-up."""
    compared = ways(model, batch)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    with undisturbed(model):
        for round_ in range(rounds + 2):
            for name, run in compared.items():
                start = time.perf_counter()
                run()
                if round_ >= 2:
                    seconds[name].append(time.perf_counter() - start)
    found = []
    for name, times in seconds.items():
        ratios = [t / p for t, p in zip(times, seconds["plain"], strict=True)]
        low, *_, high = quantiles(ratios, n=5)
        found.append(
            {
                "net": net,
                "way": name,
                "batch": len(batch),
                "rounds": rounds,
                "device": "cpu",
                "median_ms": 1e3 * median(times),
                "ratio": median(ratios),
                "ratio_p20": low,
                "ratio_p80": high,
            }
        )
    return found


def main() -> None:
    """Measure every network and print one line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(THREADS)
    begin("profile_overhead")
    for net, (model, batch) in networks().items():
        for row in measure(net, model, batch, rounds):
            append("profile_overhead", row)
            print(
                f"{net:12} {row['way']:36} {row['median_ms']:8.2f} ms  x {row['ratio']:.3f} "
                f"[{row['ratio_p20']:.3f}, {row['ratio_p80']:.3f}]"
            )


if __name__ == "__main__":
    main()
