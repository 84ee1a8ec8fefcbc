"""`prune --export` and `actprune export`: files that were checked, told in report and table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

CHEAP = ("--criterion", "residual", "--target", "units=75%")
NETS = '''
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()

class Branching(nn.Sequential):
    """Looks at its input's values, which a graph cannot."""

    def forward(self, x):
        return super().forward(x) if x.isfinite().all() else super().forward(torch.zeros_like(x))

def branching():
    return Branching(*make()).eval()
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "nets.py").write_text(NETS)
    x = np.random.default_rng(0).standard_normal((600, 6)).astype(np.float32)
    np.savez(folder / "x.npz", x=x)
    return folder


@pytest.fixture(scope="module")
def folder(home: Path, entry: Callable[[list[str]], None]) -> Path:
    """A cut with its own pt2 file."""
    args = ["prune", f"{home}/nets.py:make", "--data", f"npz:{home}/x.npz", *CHEAP]
    with pytest.raises(SystemExit) as e:
        entry([*args, "--export", "pt2", "-o", str(home / "out")])
    assert e.value.code == 0
    return home / "out"


def test_prune_writes_the_file_and_says_how_it_was_checked(
    actprune: Callable, folder: Path
) -> None:
    report = json.loads((folder / "report.json").read_text())
    told = report["export"]
    assert (told["kind"], told["file"], told["reason"]) == ("pt2", "model.pt2", None)
    assert told["bytes"] == (folder / "model.pt2").stat().st_size
    assert told["difference"] <= told["limit"]
    shown = actprune("report", folder).out
    assert "export" in shown
    assert "model.pt2" in shown
    timed = report["latency"]
    assert f"{timed['ratio']:.2f}x the speed [p20 {timed['ratio_p20']:.2f}" in shown
    assert report["before"]["latency_ms"] == timed["before_ms"]
    card = (folder / "README.md").read_text()
    assert "`model.pt2` runs without actprune" in card
    assert "may unpickle" in card
    module = torch.export.load(folder / "model.pt2").module()
    assert module(torch.zeros(5, 6)).shape == (5, 3)


def test_a_failed_export_leaves_the_cut_and_exits_1(actprune: Callable, home: Path) -> None:
    out = home / "branching"
    line = ("prune", f"{home}/nets.py:branching", "--data", f"npz:{home}/x.npz", *CHEAP)
    result = actprune(*line, "--export", "pt2", "-o", out)
    assert result.code == 1
    assert "pt2 failed: The model cannot be exported for batches of any size" in " ".join(
        result.out.split()
    )
    report = json.loads((out / "report.json").read_text())
    assert report["export"]["file"] is None
    assert report["verdict"] in ("pass", "outside")
    assert not (out / "model.pt2").exists()
    assert (out / "model.safetensors").is_file()
    assert "An export was asked for and not made" in (out / "README.md").read_text()


def test_a_saved_cut_is_exported_later(actprune: Callable, home: Path, folder: Path) -> None:
    data = ("--data", f"npz:{home}/x.npz", "--model", f"{home}/nets.py:make")
    made = actprune("export", folder, "-o", home / "later.pt2", *data, "--json")
    assert made.code == 0
    assert made.json["path"] == str(home / "later.pt2")
    assert made.json["samples"] == 128
    again = actprune("export", folder, "-o", home / "later.pt2", *data)
    assert again.code == 2
    assert "exists already" in again.err
    text = actprune("export", folder, "-o", home / "later.pt2", *data, "--force")
    assert text.code == 0
    assert text.out.startswith("later.pt2, ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("-o", "{}/new.pt2", "--data", "npz:{}/x.npz"), "name the dense model with --model"),
        (("-o", "{}/new.bin", "--model", "{}/nets.py:make"), "not a format to export to"),
        (("-o", "{}/new", "--kind", "exe"), "kind 'exe': not a format to export to"),
        (("-o", "{}/new.pt2", "--model", "{}/nets.py:make"), "brings its own"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    actprune: Callable, home: Path, folder: Path, args: tuple[str, ...], said: str
) -> None:
    result = actprune("export", folder, *(a.format(home) for a in args))
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert not list(home.glob("new*"))


def test_a_missing_package_is_told_before_any_work(
    actprune: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actprune.exporting import onnx_file

    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    result = actprune("prune", "zoo:none-such", *CHEAP, "--export", "onnx", "-o", home / "never")
    assert result.code == 2
    assert 'install it with pip install "actprune[export]"' in result.err
    assert not (home / "never").exists()


def test_an_unknown_kind_is_refused_by_name(actprune: Callable, home: Path) -> None:
    result = actprune("prune", "zoo:digits-mlp", *CHEAP, "--export", "onxn", "-o", home / "never")
    assert result.code == 2
    assert "--export: " in result.err
