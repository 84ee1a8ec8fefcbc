"""What cannot be healed is refused in one line, and the pruned model is as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from heal_models import assert_same_bits, data, dense, narrow, quick
from torch import nn

import actprune
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.healing.heal import heal


def refusal(small: nn.Module, whole: nn.Module, batches: Any, **options: Any) -> str:
    before = copy.deepcopy(small)
    settings = quick(**options.pop("settings", {}))
    with pytest.raises(ActpruneError) as e:
        heal(small, whole, batches, settings=settings, **options)
    assert_same_bits(small, before)
    assert "\n" not in str(e.value)
    return str(e.value)


def test_no_samples() -> None:
    assert "no calibration sample falls into the fit part" in refusal(narrow(), dense(), [])
    few = data(1)
    assert "give more data" in refusal(narrow(), dense(), few)


def test_models_that_do_not_belong_together() -> None:
    said = refusal(narrow(4), dense(3), data())
    assert "outputs of other shapes, (32, 4) after the cut and (32, 3) before" in said
    model, source = dense(), data()
    plan = actprune.plan(
        model, actprune.profile(model, source), "units=50%", batches=source, probes=False
    )
    other = dense()
    other.c.bias.data += 1
    assert "another model than the dense one" in refusal(narrow(), other, source, plan=plan)


def test_outputs_that_are_not_numbers() -> None:
    broken = dense()
    broken.c.bias.data[0] = float("nan")
    assert "teach nothing" in refusal(narrow(), broken, data())
    small = narrow()
    small.c.bias.data[0] = float("inf")
    assert "is not finite, so it cannot be healed" in refusal(small, dense(), data())


def test_labels_and_modules_that_are_not_there() -> None:
    unlabelled = data(labels=False)
    said = refusal(narrow(), dense(), unlabelled, settings={"labels": 0.5})
    assert said == "heal.labels=0.5: needs labels, and the data have none."
    wrong = Arrays.of(data().inputs[0], labels=torch.full((400,), 7))
    assert "must lie in 0 to 2" in refusal(narrow(), dense(), wrong, settings={"labels": 0.5})
    said = refusal(narrow(), dense(), data(), settings={"hidden": ("conv9",)})
    assert said == "heal.hidden: the model has no module called 'conv9'."
    said = refusal(narrow(), dense(), data(), settings={"hidden": ("a",)})
    assert "name a module that lost no outputs" in said


def test_nothing_to_train() -> None:
    small = narrow().requires_grad_(False)
    assert "No parameter of the pruned model requires a gradient" in refusal(small, dense(), data())


def test_a_precision_that_the_device_has_not() -> None:
    said = refusal(narrow(), dense(), data(), settings={"precision": "float16"})
    assert "float16 needs CUDA, the model is on cpu" in said


def test_samples_that_cannot_be_mixed() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = dense()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.mean(1))

    x = torch.randn(80, 6, 5, generator=torch.Generator().manual_seed(0))
    ragged = [x[:40], x[40:, :4]]
    assert "samples differ in shape or type [(4, 5), (6, 5)]" in refusal(Mean(), Mean(), ragged)
    mixed = [(x[:40], torch.zeros(40)), x[40:]]
    assert "healing" in refusal(Mean(), Mean(), mixed) or "labels" in refusal(Mean(), Mean(), mixed)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"lr": 0.0}, {"batch": 0}, {"speed": 1}])
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        actprune.HealSettings(**wrong)
