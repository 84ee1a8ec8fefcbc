"""Ours and others' pruning, in one shot, at the same MACs, on the same images.

    python -m benchmarks.peers [--nets resnet20 ...] [--targets 50 70 30] [--seeds 0 1 2]
        [--methods ours-global tp-magnitude+bn ...] [--test-images 10000] [--jobs 1]

Each method is brought to the largest model with at most the asked share of the whole network's
MACs, counted on the cut model. All may read the same calibration images, cut the same layers and
are scored on the same test images; no gradient step is made. Each cell runs in a process of its
own, whose peak memory is kept. Rows go to benchmarks/results/peers.jsonl as they come; what is
there already is not run again, failures included unless --again; headline first. At the end, and
with --figures at once, docs/figures/peers.svg is drawn from the rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from actprune.errors import ActpruneError
from benchmarks.harness import ROOT, append, rows
from benchmarks.rivalry.cell import Cell, cells_of, run_apart
from benchmarks.rivalry.figure import accuracies
from benchmarks.rivalry.material import NETS
from benchmarks.rivalry.methods import METHODS

NAME = "peers"
TARGETS = (50, 70, 30)
FIGURE = ROOT / "docs" / "figures" / "peers.svg"
TIMEOUT = 1_800.0  # seconds a cell may take


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, row by row."""
    asked = parsed(arguments)
    if not asked.figures:
        run_missing(asked)
    FIGURE.write_text(accuracies(rows(NAME)) + "\n")


def run_missing(asked: argparse.Namespace) -> None:
    """The cells asked for that have no row yet."""
    done = {key(r) for r in rows(NAME) if not (asked.again and "error" in r)}
    cells = cells_of(asked.nets, asked.targets, asked.seeds, asked.methods, asked.test_images)
    cells = [c for c in cells if c.key not in done]

    def run(cell: Cell) -> dict[str, Any]:
        return run_apart(cell, timeout=asked.timeout, threads=asked.threads)

    pool = ThreadPoolExecutor(asked.jobs)
    try:
        for i, future in enumerate(as_completed([pool.submit(run, c) for c in cells])):
            row = future.result()
            append(NAME, row)
            print(f"{i + 1}/{len(cells)} {said(row)}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt waits for the cells under way alone


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; raises ActpruneError for one that names nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=list(NETS))
    parser.add_argument("--targets", nargs="+", type=int, default=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1, help="cells at once")
    parser.add_argument("--threads", type=int, default=1, help="of each cell")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds a cell may take")
    parser.add_argument("--again", action="store_true", help="run again what failed")
    parser.add_argument("--figures", action="store_true", help="draw the rows, run nothing")
    asked = parser.parse_args(arguments)
    for option, given, known in (("nets", asked.nets, NETS), ("methods", asked.methods, METHODS)):
        for name in given:
            if name not in known:
                raise ActpruneError(f"--{option}: {name!r} is none of {', '.join(known)}.")
    for name, given, low, high in (
        ("targets", asked.targets, 1, 99),
        ("seeds", asked.seeds, 0, 2**31),
        ("test-images", [asked.test_images], 1, 10_000),
        ("jobs", [asked.jobs], 1, 1_024),
        ("threads", [asked.threads], 1, 1_024),
    ):
        for value in given:
            if not low <= value <= high:
                raise ActpruneError(f"--{name} must lie in {low} to {high}, got {value}.")
    if not asked.timeout > 0:
        raise ActpruneError(f"--timeout must be above 0 seconds, got {asked.timeout:g}.")
    return asked


def key(row: dict[str, Any]) -> tuple[str, int, int, str, int]:
    """Which cell a row is of."""
    return row["net"], row["target"], row["seed"], row["method"], row["test_images"]


def said(row: dict[str, Any]) -> str:
    """One line about a row."""
    cell = f"{row['net']} {row['target']} % seed {row['seed']} {row['method']}"
    if "error" in row:
        return f"{cell}: {row['error']}"
    return (
        f"{cell}: accuracy {row['accuracy']:.4f}, loss {row['loss']:.4f}, "
        f"MACs {row['macs_kept']:.4f}, parameters {row['params_kept']:.4f}, "
        f"{row['seconds']:.1f} s, {row['peak_mb']:.0f} MB"
    )


if __name__ == "__main__":
    try:
        main()
    except ActpruneError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
