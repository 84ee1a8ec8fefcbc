"""A recipe that heals: files, figures, and measuring them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import actprune
from actprune.errors import ActpruneError
from actprune.loading.model import load_model
from actprune.pruning.saved import save_pruned
from actprune.recipe.load import parse_recipe
from actprune.recipe.run import run, verify_folder
from actprune.recipe.schema import Recipe
from actprune.reporting.schema import Report
from actprune.zoo import ZOO


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTPRUNE_CACHE", str(tmp_path_factory.getbasetemp() / "zoo"))
        yield


def recipe(**heal: Any) -> Recipe:
    prune = {"target": {"units": "10%"}, "criterion": "magnitude", "compensate": "mean"}
    return Recipe.model_validate(
        {"version": 1, "model": "zoo:digits-mlp", "prune": prune, "heal": heal}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, list[str]]:
    said: list[str] = []
    folder = tmp_path_factory.mktemp("heal") / "out"
    return folder, run(recipe(steps=150, lr=3e-3), folder, progress=said.append), said


def test_the_report_tells_the_shares_apart(finished: tuple[Path, Report, list[str]]) -> None:
    folder, report, said = finished
    back = report.recovery
    assert back is not None
    assert report.healing is not None
    assert report.healing.steps == 150 or report.healing.stopped == "early"
    assert back.refit.loss == report.after.loss
    assert back.heal.loss < back.refit.loss
    assert back.heal.metrics["accuracy"] > back.refit.metrics["accuracy"]
    assert (back.heal.share or 0) > 0
    assert report.verdict_reason.endswith("before healing")
    assert report.measured.loss_delta == pytest.approx(report.after.loss - report.before.loss)
    written = json.loads((folder / "report.json").read_text())
    assert {"none", "refit", "heal"} <= written["recovery"].keys()
    assert written["healing"]["settings"]["lr"] == 3e-3
    assert any(s.startswith("healing: step 150 of 150") for s in said) or (
        report.healing.stopped == "early"
    )


def test_the_saved_model_is_the_healed_one(finished: tuple[Path, Report, list[str]]) -> None:
    folder, report, _ = finished
    assert report.recovery is not None
    healed = actprune.load(folder)
    before = actprune.load(folder, weights=folder / "before_healing.safetensors")
    (batch,) = ZOO["digits-mlp"].data().batches(10_000)
    with torch.no_grad():
        assert not torch.equal(batch.run(healed), batch.run(before))
    # the same bits are measured again on the held-out third, in the same batches
    again = verify_folder(folder)
    assert again.recovery == report.recovery
    assert (again.verdict, again.verdict_reason) == (report.verdict, report.verdict_reason)
    assert again.healing == report.healing


def test_saving_and_loading_keep_the_logits(tmp_path: Path) -> None:
    model, source = load_model("zoo:digits-mlp").model, ZOO["digits-mlp"].data()
    seen = actprune.profile(model, source, spec="zoo:digits-mlp")
    plan = actprune.plan(model, seen, "units=10%", batches=source, probes=False)
    small = actprune.prune(model, plan, batches=source)
    healed = actprune.heal(
        small, model, source, plan=plan, settings=actprune.HealSettings(steps=5, every=1)
    ).model
    save_pruned(healed, model, plan, tmp_path)
    (batch,) = source.batches(10_000)
    with torch.no_grad():
        assert torch.equal(batch.run(actprune.load(tmp_path)), batch.run(healed))


def test_a_recipe_says_how_to_heal_or_what_is_wrong() -> None:
    head = "version: 1\nmodel: zoo:digits-mlp\nprune: {target: {macs: 50%}}\n"
    assert parse_recipe(head, "r.yaml").heal is None
    plain = parse_recipe(head + "heal: true\n", "r.yaml").heal
    assert plain == actprune.HealSettings()
    full = parse_recipe(
        head + "heal:\n  steps: 10\n  lr: 1e-4\n  hidden: [fc1]\n  batchnorm: update\n", "r.yaml"
    ).heal
    assert full == actprune.HealSettings(steps=10, lr=1e-4, hidden=("fc1",), batchnorm="update")
    for text, said in (
        ("heal:\n", "r.yaml:4: heal: is empty; write true for the default settings"),
        ("heal: {step: 3}\n", "heal.step: unknown field; did you mean 'steps'?"),
        ("heal: {steps: 0}\n", "heal.steps: "),
        ("heal: {batchnorm: frzen}\n", "did you mean 'frozen'?"),
    ):
        with pytest.raises(ActpruneError) as e:
            parse_recipe(head + text, "r.yaml")
        assert said in str(e.value)
