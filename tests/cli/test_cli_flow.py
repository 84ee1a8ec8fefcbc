"""From a profile to a verified smaller model, through the command alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from actprune.data.source import Arrays
from actprune.profiling.collect import profile
from actprune.profiling.store import save_profile
from actprune.zoo import ZOO

CHEAP = ("--criterion", "rare", "--compensate", "mean")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the zoo's digits in two npz files."""
    folder = tmp_path_factory.mktemp("flow")
    (batch,) = ZOO["digits-mlp"].data().batches(10_000)
    x, y = batch.args[0].numpy(), batch.labels
    assert y is not None
    for name, part in (("first", slice(0, 500)), ("second", slice(500, None))):
        np.savez(folder / f"{name}.npz", x=x[part], y=y.numpy()[part])
    return folder


@pytest.fixture(scope="module")
def profiled(home: Path, entry: Callable[[list[str]], None]) -> Path:
    """A profile of the zoo's perceptron on its own data."""
    path = home / "P.safetensors"
    with pytest.raises(SystemExit) as e:
        entry(["profile", "zoo:digits-mlp", "--stats", "gram", "-o", str(path)])
    assert e.value.code == 0
    return path


def test_profile_says_what_it_holds_and_keeps_stdout_pure(
    actprune: Callable, home: Path, profiled: Path
) -> None:
    result = actprune(
        "profile", "zoo:digits-mlp", "--samples", 200, "-o", home / "few.safetensors", "--json"
    )
    assert result.code == 0
    found = result.json
    assert [s["name"] for s in found["sites"]] == ["fc1", "fc2"]
    assert 0 < found["samples"] < 200  # a third is left for verify
    assert found["identity"]["statistics"] == ["counts", "moments"]
    assert [r["layer"] for r in found["refusals"]] == ["head"]


def test_plan_explains_how_many_channels_a_unit_has(actprune: Callable, tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 3, 1)
    )
    save_profile(profile(net, Arrays.of(torch.randn(40, 1, 5, 5))), tmp_path / "P.safetensors")
    rows = actprune("plan", tmp_path / "P.safetensors", "--explain").out.splitlines()
    said = {" ".join(row.split()) for row in rows}
    assert "0 2 units of 4 channels, read by 4" in said
    assert "2 cannot be cut: its channels are cut with the units of site 0" in said


def test_theory_prints_a_row_a_site_and_pure_json(
    actprune: Callable, home: Path, profiled: Path
) -> None:
    text = actprune("theory", profiled, "-o", home / "theory")
    assert text.code == 0
    head, one, two, *_ = text.out.splitlines()
    assert head.split()[:3] == ["site", "units", "free"]
    assert one.split()[:2] == ["fc1", "512"]
    assert two.split()[:2] == ["fc2", "512"]
    asked = actprune("theory", profiled, "--json").json
    assert asked == json.loads((home / "theory" / "theory.json").read_text())
    assert [s["name"] for s in asked["sites"]] == ["fc1", "fc2"]


def test_plan_from_the_profile_alone(actprune: Callable, home: Path, profiled: Path) -> None:
    path = home / "plan.json"
    result = actprune("plan", profiled, "--target", "units=25%", *CHEAP, "-o", path)
    assert result.code == 0
    assert "units=25%, reached 25 %, met" in result.out
    saved = json.loads(path.read_text())
    assert [len(s["kept"]) for s in saved["sites"]] == [128, 128]
    asked = actprune("plan", profiled, "--target", "units=25%", *CHEAP, "--json").json
    for made in (saved, asked):
        made["seconds"] = 0
    assert asked == saved
    without = actprune("plan", profiled, "--target", "units=25%", *CHEAP)
    assert "the plan was not saved" in without.err


def test_plan_takes_several_targets_and_limits(actprune: Callable, profiled: Path) -> None:
    flags = ("--only", "fc*", "--ignore", "fc1", "--keep", "fc2:0", "--drop", "fc2:1")
    targets = ("--target", "units=50%", "--target", "params=80%")
    result = actprune("plan", profiled, *targets, *CHEAP, *flags, "--round-to", 8, "--json")
    (site,) = result.json["sites"]
    assert site["site"]["name"] == "fc2"
    assert len(site["kept"]) % 8 == 0
    assert 0 in site["kept"]
    assert 1 not in site["kept"]
    assert [t["target"]["kind"] for t in result.json["targets"]] == ["units", "params"]


def test_plan_explains_what_cannot_be_cut(actprune: Callable, profiled: Path) -> None:
    rows = actprune("plan", profiled, "--explain").out.splitlines()
    assert [row.split()[0] for row in rows] == ["layer", "fc1", "fc2", "head"]
    assert "cannot be cut" in rows[3]
    found = actprune("plan", profiled, "--explain", "--json").json
    assert [r["layer"] for r in found["refusals"]] == ["head"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--target", "units=25%", "--only", "fc9"), "the sites are fc1, fc2"),
        (("--target", "units=25%", "--keep", "fc1:9999"), "has units 0 to 511"),
        (("--target", "units=25%", "--model", "zoo:digits-cnn"), "is of another model"),
        ((), "--target: say what to ask for"),
    ],
)
def test_mistakes_in_a_plan_are_one_line(
    actprune: Callable, profiled: Path, flags: tuple[str, ...], said: str
) -> None:
    result = actprune("plan", profiled, *flags, *CHEAP)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_a_budget_out_of_reach_exits_1(actprune: Callable, profiled: Path) -> None:
    result = actprune("plan", profiled, "--target", "macs=0.001%", *CHEAP)
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1


def test_a_plan_never_runs_a_model_that_a_file_names(
    actprune: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    Path("net.py").write_text("from actprune.zoo import ZOO\nmake = ZOO['digits-mlp'].build\n")
    common = ("--data", "npz:first.npz", "--samples", 64, "-o", "own.safetensors")
    assert actprune("profile", "net.py:make", *common).code == 0
    result = actprune("plan", "own.safetensors", "--target", "units=25%", *CHEAP)
    assert result.code == 2
    assert "--model: needed, since the profile is of 'net.py:make'" in result.err


def test_profiles_add_up_and_can_be_compared(
    actprune: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    common = ("zoo:digits-mlp", "--use-all")
    assert actprune("profile", *common, "--data", "npz:first.npz", "-o", "A.st").code == 0
    like = ("--like", "A.st", "-o", "B.st")
    assert actprune("profile", *common, "--data", "npz:second.npz", *like).code == 0
    assert actprune("merge", "A.st", "B.st", "-o", "AB.st", "--json").json["samples"] == 899
    twice = actprune("merge", "A.st", "A.st", "-o", "AA.st")
    assert twice.code == 2
    assert "merge each sample only once" in twice.err

    changes = actprune("diff", "A.st", "B.st", "--json").json
    assert len(changes) == 1024
    assert actprune("diff", "A.st", "A.st").out == "0 of 1024 units fire at another rate\n"


def test_what_a_users_code_prints_stays_off_stdout(
    actprune: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    Path("loud.py").write_text(
        "print('importing')\n"
        "from actprune.zoo import ZOO\n"
        "def make():\n    print('making')\n    return ZOO['digits-mlp'].build()\n"
    )
    out = ("--samples", 64, "--data", "npz:first.npz", "-o", "loud.st", "--json")
    result = actprune("profile", "loud.py:make", *out)
    assert result.json["identity"]["model"] == "loud.py:make"
    assert "making" in result.err


@pytest.fixture(scope="module")
def pruned(home: Path, profiled: Path, entry: Callable[[list[str]], None]) -> Path:
    """The folder that `prune --plan` wrote."""
    plan, folder = str(home / "to-prune.json"), str(home / "out")
    cut = ["--target", "units=25%", "--criterion", "rare", "--data", "zoo:digits-mlp"]
    for line in (
        ["plan", str(profiled), *cut, "-o", plan],
        ["prune", "--plan", plan, "-o", folder],
    ):
        with pytest.raises(SystemExit) as e:
            entry(line)
        assert e.value.code == 0
    return Path(folder)


def test_prune_leaves_every_result_in_its_folder(pruned: Path) -> None:
    names = {f.name for f in pruned.iterdir()}
    assert names >= {
        "model.safetensors",
        "actprune.json",
        "plan.json",
        "report.json",
        "report.html",
        "README.md",
    }
    report = json.loads((pruned / "report.json").read_text())
    assert report["verdict"] in ("pass", "outside")
    assert report["after"]["params"] < report["before"]["params"] / 2
    plan = json.loads((pruned / "plan.json").read_text())
    assert [len(s["kept"]) for s in plan["sites"]] == [128, 128]


def test_verify_measures_the_same_again(actprune: Callable, pruned: Path) -> None:
    first = json.loads((pruned / "report.json").read_text())
    result = actprune("verify", pruned, "--data", "zoo:digits-mlp", "--json")
    assert result.code == 0
    assert result.json["measured"] == first["measured"]
    assert result.json["verdict"] == first["verdict"]
    assert actprune("verify", pruned, "--json").json["measured"] == first["measured"]


def test_report_shows_what_was_saved(actprune: Callable, home: Path, pruned: Path) -> None:
    assert actprune("report", pruned, "--json").json == json.loads(
        (pruned / "report.json").read_text()
    )
    text = actprune("report", pruned)
    assert text.code == 0
    assert "macs" in text.out.lower()
    page = home / "both.html"
    assert actprune("report", pruned, "--compare", pruned, "-o", page).code == 0
    assert page.read_text().lstrip().lower().startswith("<!doctype html")


def test_prune_in_one_go_writes_one_document(actprune: Callable, home: Path) -> None:
    cut = ("--target", "units=50%", *CHEAP)
    result = actprune("prune", "zoo:digits-mlp", *cut, "-o", home / "one", "--json")
    assert result.code in (0, 1)
    assert (result.code == 1) == (result.json["verdict"] == "fail")
    assert result.json == json.loads((home / "one" / "report.json").read_text())


def test_every_shipped_recipe_for_digits_runs(actprune: Callable, home: Path) -> None:
    for name in ("lossless", "digits-mlp-rare"):
        result = actprune("prune", "--recipe", name, "-o", home / name, "--json")
        assert (result.code, result.json["verdict"]) == (0, "pass")
        assert result.json["target"]["met"]


def test_a_report_that_is_not_there_is_a_mistake(actprune: Callable, tmp_path: Path) -> None:
    for verb in ("report", "verify"):
        result = actprune(verb, tmp_path)
        assert (result.code, result.out) == (2, "")
        assert result.err.count("\n") == 1
