"""`prune --heal`: what the flags ask for, and one whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

NET = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32))


CUT = "prune net.py:make --data npz:x.npz --target units=30% --compensate none"


def test_a_healed_cut_is_closer_to_the_dense_model(actprune: Callable) -> None:
    line = f"{CUT} --heal --heal-steps 60 --heal-lr 0.02 --heal-batch 32 -o out"
    done = actprune(*line.split())
    assert done.code in (0, 1), done.err  # the verdict is of the cut, which nothing compensates
    assert "the way back" in done.out
    report = json.loads(Path("out/report.json").read_text())
    assert report["recovery"]["heal"]["loss"] < report["recovery"]["none"]["loss"]
    settings = report["healing"]["settings"]
    assert (settings["steps"], settings["lr"], settings["batch"]) == (60, 0.02, 32)
    again = actprune(*["verify", "out", "--model", "net.py:make", "--data", "npz:x.npz", "--json"])
    assert again.json["recovery"] == report["recovery"]
    plan = "prune net.py:make --data npz:x.npz --plan out/plan.json --heal --heal-steps 5 -o two"
    assert actprune(*plan.split()).code in (0, 1)
    assert json.loads(Path("two/report.json").read_text())["healing"]["settings"]["steps"] == 5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--heal-steps 5", "--heal-steps: says how to heal; add --heal."),
        ("--heal --heal-steps 0", "--heal-steps: "),
        ("--heal --heal-lr -1", "--heal-lr: "),
    ],
)
def test_flags_that_make_no_sense_are_refused(actprune: Callable, flags: str, said: str) -> None:
    done = actprune(*f"{CUT} {flags} -o out".split())
    assert done.code == 2
    assert said in done.err
    assert not Path("out").exists()


def test_a_recipe_is_not_mixed_with_flags(actprune: Callable) -> None:
    done = actprune("prune", "--recipe", "mnist-cnn-heal", "--heal", "-o", "out")
    assert done.code == 2
    assert "--heal: cannot be given together with --recipe" in done.err
