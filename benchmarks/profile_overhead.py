"""What does watching cost? Paired rounds of a plain forward pass and other ways of watching it.

    python -m benchmarks.profile_overhead [--rounds 30] [--net resnet56]

Each round runs, in turn and on the same batch: the plain forward pass; actprune's counts and
moments, reduced by compiled C and by plain PyTorch; a naive hook that counts with `(a > 0).sum(0)`;
and a hook that keeps all activations. Rows (medians of the paired ratios) go to
benchmarks/results/profile_overhead.jsonl, with the memory that tensors take at the peak.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.ops.backend import Backend
from actprune.profiling.counting.fixing import fixed_rules
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.observe import observe
from actprune.running.hooks import watching_inputs
from actprune.running.state import device_of, undisturbed
from actprune.sites.find import survey
from benchmarks import cifar
from benchmarks.harness import append, begin, spread
from benchmarks.memory import peak_bytes

THREADS = 2
BATCH = 128
TOKENS = 512
WARM_UP = 2


def _images(name: str) -> tuple[nn.Module, Batch]:
    source = load_data(f"zoo:{name}")
    return load_model(f"zoo:{name}").model, next(iter(source.batches(BATCH)))


def _resnet56() -> tuple[nn.Module, Batch]:
    if not cifar.assets().is_dir():
        raise ActpruneError("the ResNet's weights are not there")
    return cifar.resnet56(), next(iter(cifar.train(BATCH).batches(BATCH)))


def _tokens(name: str) -> tuple[nn.Module, Batch]:
    """One window of random tokens: what they say does not change what a forward pass costs."""
    model = load_model(f"zoo:{name}").model
    vocabulary = model.get_input_embeddings().weight.shape[0]  # pyright: ignore
    generator = torch.Generator().manual_seed(0)
    tokens_ST = torch.randint(1000, vocabulary, (1, TOKENS), generator=generator)
    return model, Batch(
        args=(), kwargs={"input_ids": tokens_ST}, labels=None, ids=torch.zeros(1).long()
    )


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Batch]]] = {
    "digits-mlp": lambda: _images("digits-mlp"),
    "mnist-cnn": lambda: _images("mnist-cnn"),
    "resnet56": _resnet56,
    "minilm": lambda: _tokens("minilm"),
    "smollm2-135m": lambda: _tokens("smollm2-135m"),
}


def ways(model: nn.Module, batch: Batch) -> dict[str, Callable[[], None]]:
    """The plain forward pass first, then what is compared with it."""
    sites = survey(model, batch).sites
    rules = fixed_rules(model, [batch], sites, "auto", None)
    consumers = sorted({s.consumer.module for s in sites})

    def ours(backend: Backend) -> Callable[[], None]:
        ledger = Ledger(sites, rules, with_gram=False, device=device_of(model), backend=backend)

        numbers = itertools.count(0, len(batch))

        def run() -> None:
            ledger.open(replace(batch, ids=torch.arange(len(batch)) + next(numbers)))
            observe(model, batch, sites, ledger.see)
            ledger.close(0)

        return run

    def watching(see: Callable[[str, Tensor], None]) -> None:
        with watching_inputs(model, consumers, see):
            batch.run(model)

    def plain() -> None:
        batch.run(model)

    def naive() -> None:
        counts: dict[str, Tensor] = {}
        watching(lambda name, x: counts.__setitem__(name, (x > 0).sum(0)))

    def keeping() -> None:
        kept: dict[str, Tensor] = {}
        watching(lambda name, x: kept.__setitem__(name, x.clone()))

    return {
        "plain": plain,
        "actprune counts + moments": ours("native"),
        "actprune counts + moments (no compiler)": ours("eager"),
        "naive hook": naive,
        "keep all activations": keeping,
    }


def measure(net: str, model: nn.Module, batch: Batch, rounds: int) -> list[dict[str, Any]]:
    """Median ratios of paired rounds, after a warm-up."""
    compared = ways(model, batch)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    with undisturbed(model):
        for round_ in range(rounds + WARM_UP):
            for name, run in compared.items():
                start = time.perf_counter()
                run()
                if round_ >= WARM_UP:
                    seconds[name].append(time.perf_counter() - start)
        peaks = {name: peak_bytes(run) for name, run in compared.items()}
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    found = []
    for name, times in seconds.items():
        ratios = [t / p for t, p in zip(times, seconds["plain"], strict=True)]
        found.append(
            {
                "net": net,
                "way": name,
                "batch": len(batch),
                "rounds": rounds,
                "threads": THREADS,
                "device": "cpu",
                "median_ms": 1e3 * median(times),
                **spread(ratios),
                "peak_mb": 1e-6 * (weights + peaks[name]),
                "memory_above_plain": (peaks[name] - peaks["plain"]) / (weights + peaks["plain"]),
            }
        )
    return found


def main() -> None:
    """Measure the networks and print one line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--net", choices=[*NETWORKS], action="append")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    if asked.net is None:
        begin("profile_overhead")
    for net in asked.net or NETWORKS:
        try:
            model, batch = NETWORKS[net]()
        except ActpruneError as e:
            print(f"{net:12} left out: {e}")
            continue
        for row in measure(net, model, batch, asked.rounds):
            append("profile_overhead", row)
            print(
                f"{net:12} {row['way']:40} {row['median_ms']:8.2f} ms  x {row['ratio']:.3f} "
                f"[{row['ratio_p20']:.3f}, {row['ratio_p80']:.3f}]  "
                f"{row['memory_above_plain']:+.1%} memory"
            )


if __name__ == "__main__":
    main()
