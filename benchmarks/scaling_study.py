"""Do nets scale as the papers on activation counts say? Widths x data x seeds on MNIST.

    python -m benchmarks.scaling_study [--quick] [--report] [--figures]

Trains some 300 small ReLU nets, one row each in benchmarks/results/scaling_study.jsonl; what is
there already is not run again. `--report` only reads rows and prints every figure, `--figures`
also draws them into docs/figures. `--quick` runs a few tiny nets into a temporary folder and
reports on them: a test of the code and no evidence. The images are mnist/mnist.npz below the
folder named by ACTPRUNE_ASSETS.

Zhang & Sui, arXiv 2412.18073; Lin et al., arXiv 2501.02436; Lehmler et al., arXiv 2308.00858.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.harness import ROOT, append, rows
from benchmarks.scaling.figures import write
from benchmarks.scaling.grid import full, quick
from benchmarks.scaling.images import few, mnist
from benchmarks.scaling.measuring import measure
from benchmarks.scaling.report import report

NAME = "scaling_study"


def run(name: str, *, small: bool) -> None:
    """Run what is missing, row by row."""
    runs = list(quick() if small else full())
    done = {tuple(row[k] for k in runs[0].names) for row in rows(name)}
    images = few() if small else mnist()
    for number, one in enumerate(runs, 1):
        if one.key in done:
            continue
        row = measure(one, images)
        append(name, row)
        last = row["looks"][-1]
        layer = row["layer_results"][0]["test"]
        print(
            f"{number}/{len(runs)} {one.arm} {one.layers}x{one.width} D={one.samples} "
            f"seed {one.seed}: {row['steps']} steps, loss {row['train_loss']:.4f} / "
            f"{last['test_loss']:.4f}, working {layer['working']}, c/N "
            f"{layer['active'] / one.width:.3f}, {row['seconds']:.1f} s",
            flush=True,
        )


def main() -> None:
    """Run, then report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few tiny nets, elsewhere")
    parser.add_argument("--report", action="store_true", help="only read rows")
    parser.add_argument("--figures", action="store_true", help="draw docs/figures/scaling_*.svg")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    name = str(Path(tempfile.mkdtemp()) / NAME) if asked.quick else NAME
    if not asked.report:
        run(name, small=asked.quick)
    print(report(rows(name)))
    if asked.figures:
        write(rows(name), ROOT / "docs" / "figures")


if __name__ == "__main__":
    main()
