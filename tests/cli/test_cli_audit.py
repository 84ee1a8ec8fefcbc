"""`actprune audit`, on models and on folders written by prune."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FEW = ("--basin-samples", 20, "--directions", 2)
NET = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 3)).eval()

x = torch.randn(300, 5, generator=torch.Generator().manual_seed(1))
batches = list(x.split(50))
"""


@pytest.fixture(scope="module")
def cut(entry: Callable[[list[str]], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with digits-mlp cut to half of its units, and one with a net of the user's own."""
    folder = tmp_path_factory.mktemp("cuts")
    (folder / "net.py").write_text(NET)
    for line in (
        f"prune zoo:digits-mlp --target units=50% --criterion magnitude --compensate mean "
        f"-o {folder}/digits",
        f"prune {folder}/net.py:make --data {folder}/net.py:batches --target units=50% "
        f"-o {folder}/own",
    ):
        with pytest.raises(SystemExit) as e:
            entry(line.split())
        assert e.value.code in (0, 1)  # whatever the verdict
    return folder


def test_a_zoo_model(actprune: Callable) -> None:
    result = actprune("audit", "zoo:digits-mlp", *FEW, "--samples", 200)
    assert result.code == 0, result.err
    assert result.out.startswith("200 samples of zoo:digits-mlp; model: zoo:digits-mlp\n")
    for said in ("fc1", "relu", "order kept", "r50", "weight noise", "left out: spikes: no order"):
        assert said in result.out
    assert "against" not in result.out


def test_before_and_after_a_cut_on_what_the_cut_left_out(actprune: Callable, cut: Path) -> None:
    result = actprune(
        "audit", cut / "digits", "--against", "zoo:digits-mlp", "--json", *FEW,
        "--data-order", "shuffled",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = result.json
    assert found["samples"] == 286  # the held-out third of 899
    assert found["model"]["spec"] == str(cut / "digits")
    assert found["against"]["spec"] == "zoo:digits-mlp"
    assert [o["units"] for o in found["model"]["order"]] == [256, 256]
    assert [o["units"] for o in found["against"]["order"]] == [512, 512]
    assert found["compared"]["samples"] > 0
    assert found["model"]["spikes"][0]["mean_rate"] > 0
    table = actprune("audit", cut / "digits", "--against", "zoo:digits-mlp", *FEW)
    assert "that both handle" in table.out
    assert "ratio" in table.out


def test_a_folder_alone(actprune: Callable, cut: Path) -> None:
    result = actprune("audit", cut / "digits", "--measure", "order", "--json")
    assert result.code == 0, result.err
    assert result.json["samples"] == 286
    assert result.json["model"]["substitution"] is None


def test_a_folder_of_the_users_own_model(actprune: Callable, cut: Path) -> None:
    ways = (("--factory", cut / "net.py:make"), ("--against", cut / "net.py:make"))
    for way in ways:
        result = actprune(
            "audit", cut / "own", *way, "--data", f"{cut}/net.py:batches", "--json", *FEW
        )
        assert result.code == 0, result.err
        assert result.json["samples"] < 150
        assert result.json["model"]["order"][0]["units"] == 12
    result = actprune("audit", cut / "own", "--data", f"{cut}/net.py:batches")
    assert (result.code, result.out) == (2, "")
    assert "name the dense model with --against or --factory" in result.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("audit", "missing argument 'MODEL'; see `actprune audit --help`."),
        ("audit zoo:digts-mlp", "did you mean 'zoo:digits-mlp'?"),
        ("audit net.py:make", "net.py:make: only a zoo model brings its own data; give --data."),
        ("audit zoo:digits-mlp --measure basins", "--measure: known are order, substitution"),
        ("audit zoo:digits-mlp --only fc9", "'fc9' names no site of the model"),
        ("audit zoo:digits-mlp --level 2", "level must lie between 0 and 1, got 2."),
        ("audit zoo:digits-mlp --directions 0", "directions must be at least 1, got 0."),
        ("audit zoo:digits-mlp --against-weights w.pt", "--against-weights: needs --against."),
        ("audit zoo:digits-mlp --measure spikes", "spikes: no order of the samples was stated"),
        ("audit empty", "empty/actprune.json: cannot be read"),
        ("audit zoo:digits-mlp --data npz:none.npz", "none.npz: no such data file"),
    ],
)
def test_a_mistake_is_one_line(
    actprune: Callable, line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("empty").mkdir()
    result = actprune(*line.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert said in result.err
