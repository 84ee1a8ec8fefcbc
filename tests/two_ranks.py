"""Two processes of torch.distributed on this machine, for tests that look at what they leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch.distributed as dist

RANKS = 2
needs_gloo = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="torch was built without gloo"
)


def run(worker: ModuleType, folder: Path) -> None:
    """Run `worker RANK RANKS FOLDER` as a script in every rank, all of which must end well."""
    workers = [
        subprocess.Popen(
            [sys.executable, str(worker.__file__), str(rank), str(RANKS), str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    try:
        said = [w.communicate(timeout=120)[0] for w in workers]
    finally:
        for w in workers:
            w.kill()
    assert [w.returncode for w in workers] == RANKS * [0], said
