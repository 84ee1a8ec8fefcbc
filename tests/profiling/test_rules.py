from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.profiling.rules import Look, Rule, check_rule, fix_rule

SIGNED = torch.tensor([[[3.0, -4.0, 0.0, 0.0]]])  # RMS 2.5
RECTIFIED = SIGNED.clamp(min=0)
DENSE = torch.tensor([[[1.0, 2.0, 3.0]]])


def test_positive_is_above_zero_whatever_the_values() -> None:
    for a in (SIGNED, RECTIFIED, DENSE):
        assert fix_rule("positive", Look.at(a)) == Rule(kind="positive", threshold=0.0)


def test_magnitude_is_relative_to_the_root_mean_square_of_the_site() -> None:
    assert fix_rule("magnitude:0.5", Look.at(SIGNED)) == Rule(kind="magnitude", threshold=1.25)
    assert fix_rule("magnitude:2e-1", Look.at(SIGNED)).threshold == torch.tensor(0.5).item()


@pytest.mark.parametrize(
    ("a", "kind"),
    [(RECTIFIED, "positive"), (SIGNED, "magnitude"), (DENSE, "magnitude")],
)
def test_auto_takes_a_site_with_zeros_and_no_negatives_as_rectified(a: Tensor, kind: str) -> None:
    rule = fix_rule("auto", Look.at(a))
    assert rule.kind == kind
    if kind == "magnitude":
        assert rule == fix_rule("magnitude:0.1", Look.at(a))


def test_auto_wants_one_zero_in_a_thousand() -> None:
    a = torch.ones(1, 1, 2000)
    a[0, 0, :2] = 0.0
    assert fix_rule("auto", Look.at(a)).kind == "positive"
    a[0, 0, 0] = 1.0
    assert fix_rule("auto", Look.at(a)).kind == "magnitude"


def test_a_threshold_is_a_float32_so_that_every_precision_agrees() -> None:
    rule = fix_rule("magnitude:0.1", Look.at(torch.rand(5, 6, 7, dtype=torch.float64)))
    assert torch.tensor(rule.threshold, dtype=torch.float32).item() == rule.threshold


def test_rules_print_as_conditions() -> None:
    assert str(fix_rule("positive", Look.at(SIGNED))) == "a > 0"
    assert str(fix_rule("magnitude:0.5", Look.at(SIGNED))) == "|a| > 1.25"


@pytest.mark.parametrize(
    "spec", ["positive", "auto", "magnitude:0.1", "magnitude:.5", "magnitude:1e-3"]
)
def test_a_well_formed_rule_is_taken(spec: str) -> None:
    check_rule(spec)


@pytest.mark.parametrize(
    "spec",
    ["", "relu", "magnitude", "magnitude:", "magnitude:0", "magnitude:-1", "magnitude:nan",
     "magnitude:1e999", "magnitude:1x", "Positive"],
)  # fmt: skip
def test_a_malformed_rule_is_refused(spec: str) -> None:
    with pytest.raises(ActpruneError, match=f"'magnitude:t' with t > 0, got '{spec}'"):
        check_rule(spec)
    with pytest.raises(ActpruneError, match="Firing rule must be"):
        fix_rule(spec, Look.at(SIGNED))
