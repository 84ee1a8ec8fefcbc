"""`--box` and the word proved, from the command line to the report."""

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
    net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        net[0].bias[[2, 5]] = -20.0
        net[0].weight[7], net[0].bias[7] = 2 * net[0].weight[1], 2 * net[0].bias[1]
    return net
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    np.savez("x.npz", x=np.random.default_rng(0).random((300, 8), dtype=np.float32))


PRUNE = "prune net.py:make --data npz:x.npz -o out --target"


def test_a_proved_cut_says_so_everywhere(actprune: Callable) -> None:
    result = actprune(*PRUNE.split(), "lossless=proved", "--box", "0:1")
    assert result.code == 0, result.err
    said = " ".join(result.out.split())
    assert "2 units proved never active on the box [0, 1], 1 merged into others: largest" in said
    report = json.loads(Path("out/report.json").read_text())
    exact = report["exact"]
    assert (exact["proved"], exact["merged"], exact["certified"]) == (2, 1, 0)
    assert 0 <= exact["largest_difference"] <= exact["allowed"]
    assert report["target"]["kind"] == "lossless=proved"
    for name in ("out/report.html", "out/README.md"):
        text = Path(name).read_text().replace("\xa0", " ").replace("\\", "")
        assert "2 units proved never active on the box [0, 1]" in text
    again = actprune("verify", "out", "--model", "net.py:make", "--data", "npz:x.npz", "--json")
    assert again.code == 0
    assert again.json["exact"] == exact


def test_a_plan_is_cut_without_a_word_about_compensation(actprune: Callable) -> None:
    watched = "profile net.py:make --data npz:x.npz -o p.safetensors"
    assert actprune(*watched.split()).code == 0
    line = "plan p.safetensors --model net.py:make --data npz:x.npz --box data -o plan.json"
    made = actprune(*line.split(), "--target", "lossless=proved")
    assert made.code == 0, made.err
    line = "prune net.py:make --plan plan.json --data npz:x.npz -o out --json"
    cut = actprune(*line.split())
    assert cut.code == 0, cut.err
    assert cut.json["exact"]["proved"] + cut.json["exact"]["merged"] == 3


@pytest.mark.parametrize(
    ("target", "box", "message"),
    [
        ("lossless", "1:0", "--box: low must not be above high, got 1 and 0."),
        ("lossless", "wide", "--box: written LOW:HIGH as in 0:1, data, or npz:FILE"),
        ("units=50%", "0:1", "--box: serves the target lossless only; leave it out."),
        ("lossless=provd", "0:1", "--target: Target must be units="),
    ],
)
def test_mistakes_are_one_line(actprune: Callable, target: str, box: str, message: str) -> None:
    result = actprune(*PRUNE.split(), target, "--box", box)
    assert result.code == 2
    assert message in " ".join(result.err.split())
    assert not Path("out").exists()
