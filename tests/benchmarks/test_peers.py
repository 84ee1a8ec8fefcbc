from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from benchmarks import harness, peers
from benchmarks.costs import cost_of
from benchmarks.rivalry.cell import Cell, cells_of, measure, run_apart
from benchmarks.rivalry.figure import accuracies
from benchmarks.rivalry.material import Material, material
from benchmarks.rivalry.methods import METHODS, kirigami, kirigami_ratio
from benchmarks.rivalry.report import headline, network_table, results, verdicts
from benchmarks.rivalry.search import largest
from benchmarks.rivalry.widths import scaled_ladder, standardized_ladder
from benchmarks.rivals import torch_pruner

UNIT = 64 + 512 + 512 + 10  # MACs of a unit of either layer of digits-mlp, no more than these


def cell(method: str, target: int = 30) -> Cell:
    return Cell(net="digits-mlp", target=target, seed=0, method=method, test_images=0)


@pytest.mark.parametrize(
    "method",
    ["ours-uniform", "tp-taylor", "tp-activation", "tp-magnitude-global+bn", "flap", "emp"],
)
def test_a_method_reaches_the_largest_model_within_its_target(method: str) -> None:
    row = measure(cell(method))
    whole = 64 * 512 + 512 * 512 + 512 * 10
    assert row["macs_kept"] <= 0.3
    # one step of any of them: a unit; a ratio of both layers: two; half a percent of 1,024 units
    # (a global ratio, in steps of .005): six; EMP's factor: both layers again
    steps = {"tp-magnitude-global+bn": 6}.get(method, 2)
    assert row["macs_kept"] > 0.3 - steps * UNIT / whole
    assert 0.5 < row["accuracy"] <= 1
    assert row["peak_mb"] >= row["start_mb"] > 0


@pytest.mark.parametrize(
    ("cut", "metric"), [(kirigami, "magnitude"), (kirigami, "taylor"), (kirigami_ratio, "taylor")]
)
def test_kirigami_reaches_the_largest_model_within_its_target(cut: Any, metric: str) -> None:
    pytest.importorskip("torch_kirigami")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))
    data = Arrays.of(torch.randn(64, 6), labels=torch.randint(4, (64,)))
    given = Material(net="small", seed=0, dense=net.eval(), calibration=data, check=data, test=data)
    made = cut(given, 0.5, metric=metric)
    whole = 6 * 12 + 12 * 10 + 10 * 4
    macs = cost_of(made.model, next(iter(data.batches(1)))).macs
    assert macs <= 0.5 * whole
    # less than one step more: a unit with all its weights, (6 + 10) or (12 + 4); by ratio, both
    assert macs > 0.5 * whole - (32 if cut is kirigami_ratio else 16)
    assert cost_of(net, next(iter(data.batches(1)))).macs == whole


def test_every_method_reads_and_is_measured_on_other_images() -> None:
    given = material("digits-mlp", 1, 10_000)
    parts = [given.calibration, given.check, given.test]
    images = [{x.numpy().tobytes() for x in part.inputs[0]} for part in parts]
    assert len(given.calibration.ids) + len(given.test.ids) == 899
    assert not images[0] & images[2]
    assert not images[1] & images[2]


def test_torch_pruning_prunes_frozen_parameters_too() -> None:
    given = material("digits-mlp", 0, 1)
    for p in given.dense.parameters():
        p.requires_grad_(False)
    example = next(iter(given.test.batches(1)))
    small = torch_pruner(given.dense, example, ["fc1", "fc2"], "magnitude", ())(0.5)
    assert cost_of(small, example).macs == 64 * 256 + 256 * 256 + 256 * 10


def test_the_search_refuses_a_target_out_of_reach() -> None:
    given = material("digits-mlp", 0, 1)
    example = next(iter(given.test.batches(1)))
    with pytest.raises(ActpruneError, match=r"Its smallest model tried has 300,032 MACs, above"):
        largest(lambda s: given.dense, [0.1, 0.2], 1_000, example)


def test_the_search_strides_where_the_last_setting_is_no_smaller() -> None:
    given = material("digits-mlp", 0, 1)
    example = next(iter(given.test.batches(1)))

    def halves(removed: int) -> nn.Module:  # 100 and more would empty it, so nothing is removed
        return nn.Linear(64, 100 - removed if removed < 100 else 100)

    budget = 64 * 33.5
    made = largest(halves, range(1, 120), budget, example, stride=8)
    assert cost_of(made.model, example).macs == 64 * 33
    with pytest.raises(ActpruneError, match="smallest model tried"):
        largest(halves, range(1, 120), budget, example)


def test_standardized_scores_compete_over_all_sites_and_each_keeps_one_unit() -> None:
    # standardized: (-1, 0, 1) at both sites, however different their scales; ties by site
    steps = standardized_ladder([np.array([1.0, 2.0, 3.0]), np.array([300.0, 100.0, 200.0])])
    assert steps == [[3, 3], [2, 3], [2, 2], [1, 2], [1, 1]]


def test_effective_numbers_are_scaled_by_one_factor() -> None:
    ladder = scaled_ladder([4, 2], [4, 4])
    assert ladder[0] == ([4, 4], 2.0)
    assert ([4, 2], 1.0) in ladder
    assert ([2, 1], 0.5) in ladder
    assert ladder[-1][0] == [1, 1]


def test_what_matters_most_comes_first_and_nothing_twice() -> None:
    cells = cells_of(["resnet20", "digits-mlp"], [50, 30], [0, 1], list(METHODS), 5_000)
    assert len({c.key for c in cells}) == len(cells)
    assert [(c.seed, c.target) for c in cells if c.method == "ours-global"] == [
        (s, t) for s in (0, 1) for t in (50, 30) for _ in range(2)
    ]
    assert cells[0] == Cell(net="resnet20", target=100, seed=0, method="dense", test_images=5_000)
    # weights that are given, and no images read: another seed says nothing new
    again = {c.method for c in cells if c.net == "resnet20" and c.seed == 1}
    assert "tp-magnitude" not in again
    assert "tp-magnitude+bn" in again
    assert not any("+bn" in c.method for c in cells if c.net == "digits-mlp")
    assert {c.test_images for c in cells if c.net == "digits-mlp"} == {0}


def test_a_cell_out_of_time_is_a_row() -> None:
    row = run_apart(cell("ours-global"), timeout=0.01, threads=1)
    assert row["error"] == "not done after 0.01 s"
    assert (row["net"], row["target"], row["method"]) == ("digits-mlp", 30, "ours-global")


def test_a_cell_that_fails_is_a_row_in_one_line() -> None:
    row = run_apart(cell("no such method"), timeout=120, threads=1)
    assert row["error"] == "KeyError: 'no such method'"


def test_what_is_done_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(peers, "FIGURE", tmp_path / "peers.svg")
    run: list[str] = []

    def pretended(asked: Cell, **_: Any) -> dict[str, Any]:
        run.append(asked.method)
        failed = asked.method == "flap"
        return {"error": "failed"} | vars_of(asked) if failed else made(asked.method, 0.9)

    def vars_of(c: Cell) -> dict[str, Any]:
        return dict(zip(("net", "target", "seed", "method", "test_images"), c.key, strict=True))

    monkeypatch.setattr(peers, "run_apart", pretended)
    asked = ["--nets", "digits-mlp", "--targets", "50", "--seeds", "0", "--methods"]
    peers.main([*asked, "flap", "wanda"])
    peers.main([*asked, "flap", "wanda", "apoz"])
    assert run == ["flap", "wanda", "apoz"]
    peers.main([*asked, "flap", "--again"])
    assert run == ["flap", "wanda", "apoz", "flap"]
    assert "1/2 digits-mlp 50 % seed 0 flap: failed" in capsys.readouterr().out
    assert (tmp_path / "peers.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nets", "vgg"], "--nets: 'vgg' is none of resnet20, "),
        (["--methods", "flop"], "--methods: 'flop' is none of dense, "),
        (["--targets", "0"], "--targets must lie in 1 to 99, got 0"),
        (["--test-images", "10001"], "--test-images must lie in 1 to 10000, got 10001"),
        (["--jobs", "0"], "--jobs must lie in 1 to 1024, got 0"),
        (["--timeout", "0"], "--timeout must be above 0 seconds, got 0"),
    ],
)
def test_an_option_that_names_nothing_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ActpruneError, match=message):
        peers.parsed(arguments)


def made(
    method: str, accuracy: float, target: int = 50, seed: int = 0, **more: Any
) -> dict[str, Any]:
    return {
        "net": "digits-mlp", "target": target, "seed": seed, "method": method, "test_images": 0,
        "accuracy": accuracy, "loss": 0.5, "params_kept": 0.6, "macs_kept": target / 100,
        "tested_images": 300, "seconds": 2.0, "busy": False, "peak_mb": 400.0, **more,
    }  # fmt: skip


def test_the_best_of_a_target_is_bold_and_what_is_missing_says_so() -> None:
    rows = [
        made("dense", 0.97, 100),
        made("ours-global", 0.95),
        made("ours-global", 0.96, seed=1, busy=True),
        made("flap", 0.90),
        {**made("wanda", 0.0), "error": "not done after 9 s"},
    ]
    text = network_table("digits-mlp", rows)
    assert "| actprune: residual + refit, global | not run | **95.50** | not run | 2 |" in text
    assert "| FLAP | not run | 90.00 | not run | 1 | 0.5000 | 50.0 % | 60.0 % | 2.0 | 400 |" in text
    assert "| Wanda-sp | not run | failed | not run | 0 | - | - | - | - | - |" in text
    assert text.endswith("Failed: Wanda-sp at 50 %: not done after 9 s.")
    assert "| dense | 97.00 | 97.00 | 97.00 | 1 |" in text


def test_seconds_of_a_busy_machine_are_left_out() -> None:
    assert "| 60.0 % | busy | 400 |" in network_table("digits-mlp", [made("flap", 0.9, busy=True)])


def test_a_network_without_rows_is_not_run() -> None:
    assert network_table("resnet56", [made("flap", 0.9)]) == "not run"
    assert headline([]) == verdicts([]) == "not run"


def test_a_row_on_more_test_images_and_a_later_one_count() -> None:
    rows = [
        made("flap", 0.9),
        made("flap", 0.8, test_images=5),
        made("flap", 0.7, test_images=5),
        {**made("flap", 0.0, target=30), "error": "failed"},
        made("flap", 0.6, target=30),
    ]
    known = results(rows)
    assert known.entries["digits-mlp", 50, "flap"].accuracy == 0.7
    assert known.failures == {}


def test_a_rival_that_wins_is_named_with_its_lead() -> None:
    rows = [
        made("dense", 0.97, 100),
        made("ours-global", 0.90),
        made("flap", 0.92),
        made("random", 0.30),
        made("ours-uniform", 0.80, 30),
        made("wanda", 0.96, 30),
        made("ours-uniform", 0.95, 70),
        made("wanda", 0.95, 70),
        made("magnitude+refit", 0.955, 70),
    ]
    text = verdicts(rows)
    assert text.startswith("Ours is first, or level with the first, of all rivals in 1 of 3 cells.")
    # two standard errors: 2 sqrt((.92 * .08 + .90 * .10) / 300) = .0467
    assert "digits-mlp at 50 %, a rival is first: FLAP with 92.00 %, 2.00 points above" in text
    assert "(within two standard errors of the test set, 4.67 points)" in text
    # 2 sqrt((.96 * .04 + .80 * .20) / 300) = .0514
    assert "(more than two standard errors of the test set, 5.14 points)" in text
    assert "digits-mlp at 70 %, a mix is first: magnitude + our refit with 95.50 %" in text
    lines = headline(rows)
    assert "| 50 % | 97.00 | FLAP: **92.00** | residual + refit, global: 90.00 | 1 |" in lines
    assert "| 70 % | 97.00 | Wanda-sp: 95.00 | residual + refit, uniform: **95.00** | 1 |" in lines


def test_the_figure_draws_what_was_run() -> None:
    empty, some = accuracies([]), accuracies([made("ours-global", 0.9), made("tp-magnitude", 0.8)])
    assert "digits-mlp" not in empty
    assert "digits-mlp" in some
    assert some.count("<circle") == 2  # torch-pruning without BN, where there is none
