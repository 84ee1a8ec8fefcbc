"""The recipe itself: defaults, what it makes of targets, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from actprune.planning.target import Target
from actprune.recipe.schema import Criterion, Loss, Recipe


def recipe(**prune: Any) -> Recipe:
    return Recipe.model_validate({"version": 1, "model": "zoo:digits-mlp", "prune": prune})


def test_a_target_alone_is_a_recipe_for_a_zoo_model() -> None:
    r = recipe(target={"macs": "50%"})
    assert r.prune.targets == (Target(kind="macs", value=0.5),)
    assert (r.prune.criterion, r.prune.compensate, r.prune.allocate) == (
        "residual",
        "refit",
        "uniform",
    )
    assert (r.verify.level, r.profile.batch_size, r.profile.seed) == (0.9, None, 0)
    assert r.data is None
    assert r.baselines == ()


@pytest.mark.parametrize(
    ("written", "targets"),
    [
        ("lossless", [Target(kind="lossless")]),
        ({"lossless": True}, [Target(kind="lossless")]),
        ("macs=50%", [Target(kind="macs", value=0.5)]),
        ({"loss": 0.02}, [Target(kind="loss", value=0.02)]),
        ({"loss": "+0.02"}, [Target(kind="loss", value=0.02)]),
        ({"loss": 1e-5}, [Target(kind="loss", value=1e-5)]),
        (
            {"params": "60%", "units": "12.5%"},
            [Target(kind="units", value=0.125), Target(kind="params", value=0.6)],
        ),
    ],
)
def test_targets_are_read(written: Any, targets: list[Target]) -> None:
    assert list(recipe(target=written).prune.targets) == targets


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "asks for nothing"),
        ({"lossless": True, "macs": "50%"}, "lossless stands alone; remove it or macs"),
        ({"macs": 0.5}, "is written as the share kept, as in 50%"),
        ({"macs": "0%"}, "must keep more than 0%"),
        ({"macs": "150%"}, "at most 100%"),
        ({"loss": -0.02}, "is written loss=+0.02"),
        ("mac=5%", "did you mean 'macs'?"),
        (5, "valid dictionary"),
    ],
)
def test_malformed_targets_are_refused(written: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?").replace("+", r"\+")):
        recipe(target=written)


def test_compensation_carries_every_setting() -> None:
    made = recipe(
        target="lossless", compensate="mean", granularity="channel", sequential=False, ridge=0.1
    ).prune.compensation
    assert (made.kind, made.granularity, made.sequential, made.ridge) == (
        "mean",
        "channel",
        False,
        0.1,
    )


def test_site_names_that_are_numbers_are_names() -> None:
    assert recipe(target="lossless", only=[0, "2"]).prune.only == ("0", "2")


def test_a_unit_cannot_both_stay_and_go() -> None:
    with pytest.raises(ValidationError, match="keep and drop both name fc1:3"):
        recipe(target="lossless", keep=["fc1:3", "fc1:4"], drop=["fc1:3"])


def test_only_a_zoo_model_brings_its_own_data() -> None:
    with pytest.raises(ValidationError, match="only a zoo: model brings its own data"):
        Recipe.model_validate(
            {"version": 1, "model": "net.py:make", "prune": {"target": "lossless"}}
        )


def test_a_recipe_survives_json() -> None:
    r = recipe(target={"macs": "50%", "loss": 0.02}, keep=["fc1:3"], ridge=0.5)
    values = r.model_dump(mode="json", exclude_defaults=True)
    assert Recipe.model_validate(values) == r


def sections(section: type[BaseModel] = Recipe) -> Iterator[type[BaseModel]]:
    yield section
    for field in section.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner)


def test_every_field_is_documented() -> None:
    found = list(sections())
    assert len(found) == 7
    for section in found:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert field.description.endswith("."), f"{section.__name__}.{name}"


def test_the_criteria_and_losses_are_those_that_exist() -> None:
    from actprune.planning.criteria import CRITERIA
    from actprune.running.loss import LOSSES

    assert set(get_args(Criterion)) == set(CRITERIA)
    assert set(get_args(Loss)) == {*LOSSES, "difference"}


def test_checking_a_recipe_does_not_load_torch() -> None:
    code = "import sys, actprune.recipe.load; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
