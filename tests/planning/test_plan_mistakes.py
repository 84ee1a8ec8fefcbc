"""What a plan refuses, and in which words."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from actprune.data.source import Arrays, Loader
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def data(n: int = 200) -> Arrays:
    return Arrays.of(torch.randn(n, 4, generator=torch.Generator().manual_seed(0)), spec="mine")


@cache
def seen() -> Profile:
    return profile(net(), data(), spec="net.py:net")


def refusal(**options) -> str:
    model = options.pop("model", None) or net()
    options = {"target": "units=50%", "criterion": "rare", "profile": seen(), **options}
    with pytest.raises(ActpruneError) as e:
        plan(model, **options)
    return str(e.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": []}, "At least one target is needed, for instance macs=50%."),
        (
            {"criterion": "residul"},
            "Criterion must be one of residual, rare, rare_effect, effect, fluctuation, magnitude, "
            "apoz, mean_abs, minitron, wanda, taylor, random, got 'residul'.",
        ),
        ({"allocate": "local"}, "allocate must be one of uniform, global, got 'local'."),
        ({"round_to": 0}, "round_to must be at least 1, got 0."),
        ({"level": 1.0}, "level must lie between 0 and 1, got 1.0."),
        ({"only": ["fc*"]}, "No site matches 'fc*' (the sites are 0, 2)."),
        (
            {"only": ["4"]},
            "No site matches '4' (not prunable: 4: no layer reads its units: they are the model's "
            "output).",
        ),
        ({"ignore": ["re:["]}, "'re:[' is not a regular expression: unterminated character set"),
        (
            {"ignore": ["*"]},
            "No site is left after `only` and `ignore`; widen the patterns.",
        ),
        (
            {"keep": ["0"]},
            "Units are named site:unit, for instance 0:0, got '0'; the sites are 0, 2.",
        ),
        (
            {"drop": ["1:0"]},
            "Units are named site:unit, for instance 0:0, got '1:0'; the sites are 0, 2.",
        ),
        (
            {"drop": ["0:²"]},
            "Units are named site:unit, for instance 0:0, got '0:²'; the sites are 0, 2.",
        ),
        ({"keep": ["0:8"]}, "Site '0' has units 0 to 7, got '0:8'."),
        ({"keep": ["2:1"], "drop": ["0:1", "2:1"]}, "keep and drop both name 2:1."),
        (
            {"drop": [f"2:{u}" for u in range(6)]},
            "Site '2' must keep at least one of its 6 units; drop names them all.",
        ),
        (
            {"model": net(seed=1)},
            "The profile is of another model (net.py:net, other weights or shapes); "
            "profile this model.",
        ),
        (
            {"target": "loss=+1"},
            "A loss target needs data to forecast on; give the calibration data.",
        ),
        (
            {"criterion": "residual"},
            "Site '0': this needs Gram matrices, and the profile has none; profile with --stats "
            "gram, or give the data.",
        ),
        (
            {"batches": data(), "loss": "crossentropy"},
            "Loss must be one of cross_entropy, mse, kl, difference, got 'crossentropy'.",
        ),
        ({"batches": data(), "loss": "mse"}, "Loss 'mse' needs labels, and the data have none."),
        (
            {"batches": Arrays.of(data().inputs[0].flip(0), spec="shuffled")},
            "shuffled: not the data that were profiled, or in another order; pass the same data "
            "without shuffling.",
        ),
        (
            {"batches": data(), "check": data()},
            "mine: these are the calibration data; a forecast needs other samples. Without `check` "
            "a part of the calibration data is kept for it.",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(options: dict, message: str) -> None:
    found = refusal(**options)
    assert found.startswith(message)
    assert "\n" not in found


def test_a_shuffling_loader_is_noticed() -> None:
    x = data().inputs[0]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x),
        batch_size=20,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
    )
    shuffled = profile(net(), loader)
    message = refusal(profile=shuffled, batches=loader)
    assert message.startswith("loader: not the data that were profiled, or in another order")


def test_a_generator_can_be_read_only_once() -> None:
    message = refusal(batches=Loader(iterable=iter(data().inputs[0].split(50))))
    assert message == (
        "loader: the data are needed more than once, but a generator can be read only once; pass "
        "a list, a DataLoader or an object with __iter__."
    )


def test_too_few_samples_are_named_as_such() -> None:
    few = data(2)
    message = refusal(profile=profile(net(), few), batches=few)
    assert message.startswith("mine: no calibration sample falls into the ")
    assert message.endswith(" part; give more data.")


def test_a_model_without_sites_says_why() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    message = refusal(model=model, profile=profile(model, data()))
    assert message.startswith("The model has no prunable site (0: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"criterion"', '"criterium"', "p.json: not a valid plan: criterion: Field required."),
        ('"schema": 1', '"schema": 2', "p.json: not a valid plan: schema: Input should be 1."),
        ("{", "", "p.json: not a valid plan: document: Invalid JSON: "),
        (
            '"kept": [',
            '"kept": [99,',
            "p.json: not a valid plan: sites.0: Value error, kept must be ascending units out of "
            "0 to 7, at least one.",
        ),
        (
            '"constants": [',
            '"constants": [null,',
            "p.json: not a valid plan: sites.0: Value error, constants must hold one entry for "
            "each unit removed.",
        ),
    ],
)
def test_a_damaged_plan_names_its_first_fault(old: str, new: str, message: str) -> None:
    made = plan(net(), seen(), "units=50%", criterion="rare", compensation=Compensation())
    text = " ".join(made.to_json().split())
    assert old in text
    with pytest.raises(ActpruneError) as e:
        Plan.from_json(text.replace(old, new, 1), "p.json")
    assert str(e.value).startswith(message)
