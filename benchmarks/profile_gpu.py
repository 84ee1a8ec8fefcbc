"""The profiler on a GPU: how fast its kernel reads, and what watching a 7B-shaped stack costs.

    python -m benchmarks.profile_gpu [--rounds 30] [--layers 32]

1. Bandwidth: the fused statistics over at least 1 GiB of activations against a copy of the same
   tensor, in turn, in float32 and bfloat16, laid out as convolutions and as tokens leave them.
2. Overhead: a LLaMA-7B-shaped stack with random weights in bfloat16, 4,096 tokens a batch: the
   plain forward pass, counts + moments, and the same with the histogram, in paired rounds.

Rows go to benchmarks/results/profile_gpu.jsonl. Without CUDA it says so and ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.ops.stats import unit_stats
from actprune.profiling.counting.fixing import fixed_rules
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.observe import observe
from actprune.running.state import undisturbed
from actprune.sites.find import survey
from benchmarks.harness import append, begin, spread

GIB = 2**30
TOKENS = 4096
WARM_UP = 3
LAYOUTS = {"channels first": (256, 512, 4096), "tokens": (1, 11008, 65536)}  # S, U, P


def main() -> None:
    """Measure both and print one line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--layers", type=int, default=32)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("not run: no CUDA device")
        return
    begin("profile_gpu")
    for layout, shape in LAYOUTS.items():
        for dtype in (torch.float32, torch.bfloat16):
            _report(bandwidth(layout, shape, dtype, asked.rounds))
    for row in overhead(asked.layers, asked.rounds):
        _report(row)


def bandwidth(
    layout: str, shape: tuple[int, int, int], dtype: torch.dtype, rounds: int
) -> dict[str, Any]:
    """Bytes a second that the kernel reads, and that a copy reads and writes."""
    S, U, P = shape
    x_SUP = (
        torch.randn(S, P, U, device="cuda", dtype=dtype).transpose(1, 2)
        if layout == "tokens"
        else torch.randn(S, U, P, device="cuda", dtype=dtype)
    )
    size = x_SUP.numel() * x_SUP.element_size()
    assert size >= GIB
    other = torch.empty_like(x_SUP)
    times = paired(
        {
            "copy": lambda: other.copy_(x_SUP),
            "kernel": lambda: unit_stats(x_SUP, threshold=0.0, magnitude=False, backend="triton"),
        },
        rounds,
    )
    copied = [2 * size / t for t in times["copy"]]
    read = [size / t for t in times["kernel"]]
    return {
        "what": "bandwidth",
        "layout": layout,
        "dtype": str(dtype).removeprefix("torch."),
        "gib": size / GIB,
        "copy_gb_s": 1e-9 * median(copied),
        "read_gb_s": 1e-9 * median(read),
        **spread([r / c for r, c in zip(read, copied, strict=True)]),
        "rounds": rounds,
    }


def overhead(layers: int, rounds: int) -> list[dict[str, Any]]:
    """Ratios to the plain forward pass of a LLaMA-7B-shaped stack of so many layers."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=layers,
        num_attention_heads=32,
        vocab_size=32000,
        max_position_embeddings=TOKENS,
    )
    with torch.device("cuda"):
        torch.manual_seed(0)
        model: nn.Module = LlamaModel(config).eval()
        model.bfloat16()
        tokens_ST = torch.randint(0, config.vocab_size, (1, TOKENS))
    batch = Batch(args=(), kwargs={"input_ids": tokens_ST}, labels=None, ids=torch.zeros(1).long())
    sites = survey(model, batch).sites
    rules = fixed_rules(model, [batch], sites, "auto", None)

    def counting(*, histogram: bool = False) -> Callable[[], None]:
        ledger = Ledger(
            sites,
            rules,
            with_gram=False,
            device=torch.device("cuda"),
            backend="triton",
            with_histogram=histogram,
        )

        def run() -> None:
            ledger.open(batch)
            observe(model, batch, sites, ledger.see)
            ledger.close(0)

        return run

    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: batch.run(model),
        "counts + moments": counting(),
        "counts + moments + histogram": counting(histogram=True),
    }
    with undisturbed(model):
        times = paired(ways, rounds)
        state = {way: _peak(run) for way, run in ways.items()}
    found = []
    for way, seconds in times.items():
        ratios = [t / p for t, p in zip(seconds, times["plain"], strict=True)]
        found.append(
            {
                "what": "overhead",
                "net": f"LLaMA-7B-shaped, {layers} layers, bfloat16",
                "way": way,
                "sites": len(sites),
                "tokens": TOKENS,
                "median_ms": 1e3 * median(seconds),
                **spread(ratios),
                "memory_above_plain": state[way] / state["plain"] - 1,
                "rounds": rounds,
            }
        )
    return found


def paired(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way by the device's own clock, in turn, after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + WARM_UP):
        for name, run in ways.items():
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            run()
            stop.record()
            torch.cuda.synchronize()
            if round_ >= WARM_UP:
                times[name].append(1e-3 * start.elapsed_time(stop))
    return times


def _peak(run: Callable[[], object]) -> int:
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated()


def _report(row: dict[str, Any]) -> None:
    row = {**row, "device": torch.cuda.get_device_name()}
    append("profile_gpu", row)
    what = row.get("way") or f"{row['layout']}, {row['dtype']}: {row['read_gb_s']:.0f} GB/s"
    print(f"{row['what']:10} {what:44} x {row['ratio']:.3f}")


if __name__ == "__main__":
    main()
