"""Killed at any moment and resumed, the command ends in the profile of an undisturbed run."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.crash_safety import OUT, finish, kill_and_resume, prepare, same_arrays, start


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        seconds = prepare(folder)
    rng = random.Random(7)

    undisturbed = start(whole)  # meanwhile
    kills = kill_and_resume(killed, [rng.uniform(0, seconds) for _ in range(5)])
    finish(undisturbed)

    assert kills.midway >= 3, kills  # slow machines read longer than they sleep: all of them
    assert same_arrays(killed / OUT, whole / OUT)
    assert sorted(p.name for p in killed.iterdir() if p.name != "__pycache__") == [
        OUT,
        "reading",
        "user.py",
    ]
