"""Does a profile survive being killed? SIGKILL at random moments, resumed until it has finished.

    python -m benchmarks.crash_safety [--kills 50]

Each chain starts the real command line on a small network, kills it five times at random moments
after it has begun to read, each time going on with --resume, lets it finish, and compares every
array, bit by bit, with a run that was never disturbed. A checkpoint is written after every batch.
The row goes to benchmarks/results/crash_safety.jsonl.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from benchmarks.harness import append, begin

PER_CHAIN = 5
WIDTH, BATCHES, PAUSE = 384, 60, 0.02  # checkpoints of 7 MB: some kills hit one being written
OUT, PARTIAL = "P.safetensors", "P.partial.safetensors"
COMMAND = (sys.executable, "-c", "from actprune_cli.main import main; main()")
USER = """
import time
from pathlib import Path

import torch
from torch import nn

WIDTH, BATCHES, PAUSE = 384, 60, 0.02  # checkpoints of 7 MB: some kills hit one being written


def make():
    torch.manual_seed(0)
    first = [nn.Linear(16, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    return nn.Sequential(*first, nn.Linear(WIDTH, 4))


def data():
    gen = torch.Generator().manual_seed(1)
    for _ in range(BATCHES):
        time.sleep(PAUSE)
        Path("reading").touch()
        yield torch.randn(32, 16, generator=gen)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kills:
    """What a chain of kills hit: all; before there was a profile; while a file was written."""

    kills: int
    midway: int
    in_write: int


def prepare(folder: Path, *, width: int = 256, batches: int = 40, pause: float = 0.02) -> float:
    """Write the user's model and data; the seconds for which a run at least reads."""
    (folder / "user.py").write_text(USER.format(width=width, batches=batches, pause=pause))
    return batches * pause


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Begin a run in `folder`."""
    args = ("profile", "user.py:make", "--data", "user.py:data", "-o", OUT, "--every", "1")
    (folder / "reading").unlink(missing_ok=True)
    return subprocess.Popen(
        [*COMMAND, *args, "--stats", "gram", *more],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run: subprocess.Popen[str]) -> None:
    """Wait for a run; raises RuntimeError unless it ends well."""
    out, err = run.communicate()
    if run.returncode != 0:
        raise RuntimeError(f"exit code {run.returncode}: {out}{err}")


def reading_seconds(folder: Path) -> float:
    """Run to the end; how long it took from the first batch to the profile."""
    run = start(folder)
    _wait_for(folder / "reading", run)
    begun = time.perf_counter()
    _wait_for(folder / OUT, run)
    seconds = time.perf_counter() - begun
    finish(run)
    return seconds


def kill_and_resume(folder: Path, moments: Sequence[float]) -> Kills:
    """Kill a run so many seconds after it has begun to read, as often, and then let it finish."""
    killed = midway = in_write = 0
    for number, moment in enumerate(moments):
        run = start(folder, *(("--resume",) if number else ()))
        _wait_for(folder / "reading", run)
        time.sleep(moment)
        run.kill()
        run.communicate()
        if run.returncode not in (-signal.SIGKILL, 0):
            raise RuntimeError(f"exit code {run.returncode} before it was killed")
        killed += run.returncode != 0
        if (folder / OUT).exists() and not (folder / PARTIAL).exists():
            break
        midway += not (folder / OUT).exists()
        in_write += any(folder.glob(".P*.tmp"))
    else:
        finish(start(folder, "--resume"))
    return Kills(kills=killed, midway=midway, in_write=in_write)


def _wait_for(path: Path, run: subprocess.Popen[str]) -> None:
    while not path.exists() and run.poll() is None:
        time.sleep(0.002)


def same_arrays(a: Path, b: Path) -> bool:
    """Whether all arrays of two profiles have the same bits."""
    x, y = load_file(a), load_file(b)
    return x.keys() == y.keys() and all(x[k].tobytes() == y[k].tobytes() for k in x)


def main() -> None:
    """Kill, resume, compare, and append the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    wanted = parser.parse_args().kills
    rng = random.Random(0)
    chains: list[Kills] = []
    equal = 0
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        prepare(whole, width=WIDTH, batches=BATCHES, pause=PAUSE)
        seconds = reading_seconds(whole)
        while (done := sum(c.kills for c in chains)) < wanted:
            folder = Path(scratch) / str(len(chains))
            folder.mkdir()
            prepare(folder, width=WIDTH, batches=BATCHES, pause=PAUSE)
            moments = [rng.uniform(0, seconds) for _ in range(min(PER_CHAIN, wanted - done))]
            chains.append(kill_and_resume(folder, moments))
            equal += same_arrays(folder / OUT, whole / OUT)
            print(f"chain {len(chains)}: {chains[-1]}, {equal} equal so far", flush=True)
    begin("crash_safety")
    row = {
        "kills": sum(c.kills for c in chains),
        "midway": sum(c.midway for c in chains),
        "in_write": sum(c.in_write for c in chains),
        "runs": len(chains),
        "equal": equal,
        "reading_seconds": round(seconds, 2),
    }
    append("crash_safety", row)
    print(row)


if __name__ == "__main__":
    main()
