"""`actprune profile` under torchrun, with two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

from actprune.profiling.store import load_profile

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="torch was built without gloo"
)
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def two(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *LAUNCH, "-m", "actprune_cli.main", *(str(a) for a in args)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_two_processes_write_one_profile_equal_in_its_counts(
    actprune: Callable[..., Any], tmp_path: Path
) -> None:
    alone, shared = tmp_path / "alone.safetensors", tmp_path / "shared.safetensors"
    assert actprune("profile", "zoo:digits-mlp", "-o", alone, "--batch-size", 100).code == 0

    run = two("profile", "zoo:digits-mlp", "-o", shared, "--batch-size", 100, "--json")

    assert run.returncode == 0, run.stderr
    assert run.stdout.count('"identity"') == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [alone.name, shared.name]
    a, b = load_profile(alone), load_profile(shared)
    assert (a.identity, a.shards, a.census) == (b.identity, b.shards, b.census)
    for x, y in zip(a.sites, b.sites, strict=True):
        assert (x.site, x.rule) == (y.site, y.rule)
        for name in ("samples", "samples_active", "positions_active", "first", "low", "high"):
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))
        # a block's samples, at most 613, of float64 terms >= 0, added in another order
        np.testing.assert_allclose(x.total, y.total, rtol=613 * 2.0**-53)
        np.testing.assert_allclose(x.square, y.square, rtol=613 * 2.0**-53)


def test_a_mistake_on_one_rank_is_said_once_and_ends_both(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "import os, torch\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(),"
        " torch.nn.Linear(4, 2))\n"
        "def batches():\n"
        "    x = torch.ones(8, 3)\n"
        "    bad = float('nan') if os.environ['RANK'] == '1' else 1.0\n"
        "    return [x, x, x, x * bad]\n"
    )
    out = tmp_path / "P.safetensors"

    run = two("profile", f"{code}:make", "--data", f"{code}:batches", "-o", out)

    assert run.returncode != 0
    complaints = [line for line in run.stderr.splitlines() if line.startswith("actprune:")]
    assert len(complaints) == 1, run.stderr
    assert "Rank 1: Site '0' produced activations that are not finite in batch 3" in complaints[0]
    assert not out.exists()


def test_a_world_that_cannot_meet_is_one_line(
    actprune: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    ran = actprune("profile", "zoo:digits-mlp", "-o", tmp_path / "P.safetensors")
    assert ran.code == 2
    assert "WORLD_SIZE is 2, but the processes cannot meet" in ran.err
    assert ran.err.rstrip().endswith("start them with torchrun, or unset WORLD_SIZE.")
