"""A whole run: every file, every promise, and nothing left behind by a failure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import actprune
from actprune.errors import ActpruneError, BudgetError
from actprune.loading.model import load_model
from actprune.planning.plan import plan as make_plan
from actprune.planning.result import Plan
from actprune.recipe.load import load_recipe
from actprune.recipe.run import run, verify_folder
from actprune.recipe.schema import Recipe
from actprune.reporting.schema import Report
from actprune.zoo import ZOO

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Train the zoo's nets once, into a folder of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTPRUNE_CACHE", str(tmp_path_factory.getbasetemp() / "zoo"))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def finished(home: Path) -> tuple[Path, Report, list[str]]:
    """The shipped recipe, carried out."""
    said: list[str] = []
    report = run(
        load_recipe(ROOT / "recipes" / "digits-mlp-refit.yaml"), home / "out", progress=said.append
    )
    return home / "out", report, said


def test_every_promised_file_is_there(finished: tuple[Path, Report, list[str]]) -> None:
    folder, report, said = finished
    assert {f.name for f in folder.iterdir()} == {
        "model.safetensors",
        "actprune.json",
        "plan.json",
        "report.json",
        "report.html",
        "README.md",
    }
    assert all(f.stat().st_size > 100 for f in folder.iterdir())
    assert report.model_dump(mode="json", by_alias=True) == json.loads(
        (folder / "report.json").read_text()
    )
    assert [s for s in said if " " not in s] == ["pruning"]
    assert said[0] == "loading the model"
    assert said[-1] == "writing the report"


def test_the_report_has_the_keys_it_promises(finished: tuple[Path, Report, list[str]]) -> None:
    report = json.loads((finished[0] / "report.json").read_text())
    side = {"loss", "metrics", "params", "macs", "latency_ms"}
    promised: Mapping[str, Any] = {
        "model": {"spec", "hash"},
        "data": {"spec", "calibration_samples", "heldout_samples"},
        "before": side,
        "after": side,
        "target": {"kind", "asked", "reached", "met"},
        "predicted": {"loss_delta", "low", "high", "level", "counts_only"},
        "measured": {"loss_delta", "low", "high", "level"},
        "certificate": {"units", "inputs_affected", "upper", "level"},
        "seconds": {"profile", "plan", "prune", "verify"},
    }
    for key, inner in promised.items():
        assert inner <= report[key].keys(), key
    assert report["schema"] == 1
    assert report["verdict"] in ("pass", "outside", "fail")
    assert {"loss_delta", "low", "high"} <= report["predicted"]["counts_only"].keys()
    site = {"name", "kind", "units", "kept", "free", "rate", "family", "b", "M", "pi0", "pi1"}
    assert all({*site, "alpha"} <= s.keys() for s in report["sites"])
    assert all(
        {"criterion", "compensate", "loss", "metrics"} <= b.keys() for b in report["baselines"]
    )
    assert report["model"]["spec"] == "zoo:digits-mlp"
    assert report["loss_kind"] == "cross_entropy (nats)"
    counted, heldout = (report["data"][f"{k}_samples"] for k in ("calibration", "heldout"))
    assert counted + heldout == 899
    asked = {"kind": "units", "asked": 0.1, "reached": 102 / 1024, "met": True, "how": None}
    assert report["target"] == asked
    assert [s["kept"] for s in report["sites"]] == [51, 51]


def test_the_net_keeps_its_accuracy_and_simpler_ways_do_not(
    finished: tuple[Path, Report, list[str]],
) -> None:
    report = finished[1]
    dense = report.before.metrics["accuracy"]
    assert dense > 0.95
    assert report.after.metrics["accuracy"] > dense - 0.03
    by = {(b.criterion, b.compensate): b.metrics["accuracy"] for b in report.baselines}
    assert by.keys() == {("magnitude", "none"), ("rare", "none")}
    assert by["magnitude", "none"] < 0.9
    assert report.verdict in ("pass", "outside")
    assert report.after.params < 0.1 * report.before.params


def test_what_was_saved_is_what_was_measured(finished: tuple[Path, Report, list[str]]) -> None:
    folder, report, _ = finished
    small = actprune.load(folder)
    plan = Plan.from_json((folder / "plan.json").read_text())
    dense = load_model("zoo:digits-mlp").model
    data = ZOO["digits-mlp"].data()
    (whole,) = data.batches(10_000)
    again = actprune.prune(dense, plan, batches=data)
    with torch.no_grad():
        # the same float32 computation twice
        torch.testing.assert_close(whole.run(small), whole.run(again), rtol=0, atol=1e-6)
    assert sum(p.numel() for p in small.parameters()) == report.after.params == plan.after.params


def test_verifying_the_folder_again_finds_the_same(
    finished: tuple[Path, Report, list[str]], home: Path
) -> None:
    folder, report, _ = finished
    again = verify_folder(folder)
    assert (again.verdict, again.measured) == (report.verdict, report.measured)
    assert again.data == report.data
    assert again.certificate == report.certificate
    (batch,) = ZOO["digits-mlp"].data().batches(10_000)
    assert batch.labels is not None
    x, y = batch.args[0].flip(0).numpy(), batch.labels.flip(0).numpy()
    np.savez(home / "other.npz", x=x, y=y)
    other = verify_folder(folder, f"npz:{home / 'other.npz'}")
    assert other.data.heldout_samples == 899  # other data are read whole
    with pytest.raises(ActpruneError) as e:
        verify_folder(folder, heldout="zoo:digits-mlp")
    assert str(e.value).startswith(
        "zoo:digits-mlp: given as held-out data, but these are the calibration data; give others"
    )


def test_a_plan_made_before_is_carried_out(home: Path) -> None:
    dense, data = load_model("zoo:digits-mlp").model, ZOO["digits-mlp"].data()
    seen = actprune.profile(dense, data, leave_out=True, seed=7, spec="zoo:digits-mlp")
    made = make_plan(dense, seen, "units=50%", criterion="rare", batches=data, probes=False)
    report = run(small_recipe(), home / "planned", plan=made)
    assert report.data.seed == 7
    assert report.data.calibration_samples == seen.samples  # the held-out third is the plan's
    assert report.data.heldout_samples == 899 - seen.samples
    rates = seen.sites[0].samples_active.sum(0) / seen.samples
    assert report.sites[0].rates == pytest.approx(tuple(rates))  # profiled on the same samples
    assert Plan.from_json((home / "planned" / "plan.json").read_text()) == made


def small_recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "version": 1,
        "model": "zoo:digits-mlp",
        "prune": {"target": {"units": "50%"}, "criterion": "rare", "compensate": "none"},
    }
    return Recipe.model_validate({**fields, **changes})


def refusal(out: Path, recipe: Recipe, **options: Any) -> str:
    """The one line of a failing run, which leaves nothing behind."""
    around = sorted(out.parent.iterdir())
    with pytest.raises(ActpruneError) as e:
        run(recipe, out, **options)
    assert sorted(out.parent.iterdir()) == around
    assert "\n" not in str(e.value)
    return str(e.value)


NET = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 12), nn.GELU(), nn.Linear(12, 10))


def steep():
    net = make()
    net[0].weight.data *= 1e10
    return net
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Data that do not do, and some that would."""
    gen = np.random.default_rng(0)
    x = gen.random((60, 64), dtype=np.float32)
    y = gen.integers(0, 10, 60)
    np.savez(tmp_path / "good.npz", x=x, y=y)
    np.savez(tmp_path / "narrow.npz", x=x[:, :63], y=y)
    np.savez(tmp_path / "empty.npz", x=x[:0], y=y[:0])
    np.savez(tmp_path / "labels.npz", x=x, y=y + 5)
    np.savez(tmp_path / "large.npz", x=np.where(np.arange(60)[:, None] < 20, x, 1e30 * x), y=y)
    bad = x.copy()
    bad[40, 3] = np.nan
    np.savez(tmp_path / "nan.npz", x=bad, y=y)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model": "zoo:digts-mlp"},
            "zoo:digts-mlp: the zoo has digits-mlp, digits-cnn, mnist-cnn, minilm, smollm2-135m, "
            "got 'digts-mlp'; did you mean 'zoo:digits-mlp'?",
        ),
        ({"data": "npz:{}/none.npz"}, "{}/none.npz: "),
        (
            {"data": "zoo:digits"},
            "zoo:digits: the zoo has digits-mlp, digits-cnn, mnist-cnn, minilm, smollm2-135m",
        ),
        (
            {"data": "npz:{}/narrow.npz"},
            "The model cannot run on the data: inputs of shape [(2, 63)] (first axis samples) gave "
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
        ),
        ({"data": "npz:{}/empty.npz"}, "{}/empty.npz"),
        ({"data": "npz:{}/nan.npz"}, "{}/nan.npz: 'x' has NaN in sample 40"),
        (
            {"data": "npz:{}/large.npz", "model": "{}/net.py:steep"},
            "Site '0' produced activations that are not finite in batch 0; check the model and the "
            "data for NaN or overflow.",
        ),
        (
            {"data": "npz:{}/labels.npz"},
            "Class labels must lie in 0 to 9 for outputs with 10 classes, got ",
        ),
        (
            {"heldout": "zoo:digits-mlp"},
            "zoo:digits-mlp: given as held-out data, but these are the calibration data; give "
            "others, or none to have a third of the calibration data left out.",
        ),
        (
            {"check": "zoo:digits-mlp"},
            "zoo:digits-mlp: these are the calibration data; a forecast needs other samples.",
        ),
        (
            {"prune": {"target": {"macs": "0.01%"}, "criterion": "rare"}},
            "Target macs=0.01% cannot be reached: ",
        ),
        (
            {"prune": {"target": {"macs": "50%"}, "criterion": "rare", "only": ["fc9"]}},
            "No site matches 'fc9' (the sites are fc1, fc2).",
        ),
        ({"verify": {"loss": "mse"}}, "Targets must have as many entries as the outputs"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(files: Path, changes: dict, said: str) -> None:
    changes = {k: v.format(files) if isinstance(v, str) else v for k, v in changes.items()}
    assert said.format(files) in refusal(files / "out", small_recipe(**changes))


def test_a_target_that_cannot_be_reached_is_a_budget_error(tmp_path: Path) -> None:
    recipe = small_recipe(prune={"target": {"params": "0.01%"}, "criterion": "rare"})
    with pytest.raises(BudgetError):
        run(recipe, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["macs: 0%", "macs: 150%", "macs: 50", "loss: -1"])
def test_a_target_out_of_range_is_refused_in_the_recipe(tmp_path: Path, target: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"version: 1\nmodel: zoo:digits-mlp\nprune:\n  target: {{{target}}}\n")
    with pytest.raises(ActpruneError, match=rf"{path}:4: prune.target.{target.split(':')[0]}"):
        load_recipe(path)


def test_another_models_plan_is_refused(files: Path) -> None:
    dense, data = load_model("zoo:digits-cnn").model, ZOO["digits-cnn"].data()
    seen = actprune.profile(dense, data, spec="zoo:digits-cnn")
    made = make_plan(dense, seen, "units=50%", criterion="rare")
    said = refusal(files / "out", small_recipe(), plan=made)
    assert said == (
        "The plan is for another model (zoo:digits-cnn, other weights or shapes); plan again for "
        "this one."
    )
    with pytest.raises(ActpruneError, match="The profile is of another model"):
        make_plan(load_model("zoo:digits-mlp").model, seen, "units=50%")


def test_a_profile_that_was_cut_short_or_changed_is_refused(tmp_path: Path) -> None:
    dense, data = load_model("zoo:digits-mlp").model, ZOO["digits-mlp"].data()
    path = tmp_path / "P.safetensors"
    actprune.save_profile(actprune.profile(dense, data, samples=100), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ActpruneError, match="not a readable profile, or cut short"):
        actprune.load_profile(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ActpruneError, match="damaged or changed since it was written"):
        actprune.load_profile(path)


def test_an_output_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    (tmp_path / "file").write_text("keep me")
    missing = small_recipe(model="zoo:nothing")  # is not even looked up
    said = refusal(tmp_path / "full", missing)
    assert said == f"-o {tmp_path / 'full'}: not empty; choose a new folder."
    said = refusal(tmp_path / "file", missing)
    assert said == f"-o {tmp_path / 'file'}: a file; give the name of a new folder."
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep me"


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    said = refusal(locked / "out", small_recipe(model="zoo:nothing"))
    assert said == f"-o {locked / 'out'}: no permission to write in {locked}."


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(stage: str) -> None:
        if stage == "writing the report":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(), tmp_path / "out", progress=stop)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run(small_recipe(), tmp_path / "out")
    assert (tmp_path / "out" / "report.json").is_file()


def test_a_users_net_and_data_need_their_names_again_to_be_verified(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    recipe = small_recipe(model="net.py:make", data="npz:good.npz")
    report = run(recipe, files / "out")
    assert report.data.calibration_samples + report.data.heldout_samples == 60
    with pytest.raises(ActpruneError) as e:
        verify_folder(files / "out")
    assert str(e.value) == (
        f"{files / 'out'}: pruned from 'net.py:make'; name the dense model with --model, since a "
        "file never decides what code is run."
    )
    again = verify_folder(files / "out", "npz:good.npz", model="net.py:make")
    assert again.measured == report.measured
    (files / "out" / "plan.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ActpruneError, match=r"plan\.json: cannot be read \("):
        verify_folder(files / "out", "npz:good.npz", model="net.py:make")
