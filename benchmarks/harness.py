"""Rows of benchmark results: one JSON object a line, each saying where it comes from."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CODE = (".", ":!benchmarks/results")  # what a row depends on: all but the rows themselves


@cache
def environment() -> Mapping[str, Any]:
    """Versions, commit and thread count that a row was made with."""
    import torch

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return {
        "commit": git("rev-parse", "--short", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no", "--", *CODE)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_pruning": version("torch-pruning"),
        "threads": torch.get_num_threads(),
    }


def append(name: str, row: Mapping[str, Any]) -> None:
    """Add `row`, with its environment and the time, to results/NAME.jsonl."""
    stamped = {**row, **environment(), "time": datetime.now(UTC).isoformat(timespec="seconds")}
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as f:
        f.write(json.dumps(stamped) + "\n")


def begin(name: str) -> None:
    """Forget the rows of results/NAME.jsonl: the script makes all of them anew."""
    (RESULTS / f"{name}.jsonl").unlink(missing_ok=True)


def rows(name: str) -> list[dict[str, Any]]:
    """All rows of results/NAME.jsonl, oldest first; none if there is no such file."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def spread(ratios: Sequence[float]) -> dict[str, float]:
    """Paired ratios in short: their median, with the 20 % and 80 % quantiles."""
    low, *_, high = quantiles(ratios, n=5)
    return {"ratio": median(ratios), "ratio_p20": low, "ratio_p80": high}


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    ruled = [head, ["---"] * len(head), *(list(line) for line in lines)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in ruled)
