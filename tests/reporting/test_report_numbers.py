import math

import pytest

from actprune.reporting import numbers


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (0.08123456, "0.0812"),
        (12345.6, "12,346"),
        (0, "0"),
        (1.23456e-7, "1.23e-07"),
        (-0.5, "-0.500"),
        (math.nan, "not a number"),
        (-math.inf, "-infinite"),
    ],
)
def test_number_keeps_three_digits(x: float, shown: str) -> None:
    assert numbers.number(x) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.5, "50 %"),
        (0.4983, "49.8 %"),
        (0.0217, "2.2 %"),
        (0.00012, "0.012 %"),
        (0.99996, "99.996 %"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (1.5, "150 %"),
    ],
)
def test_percent_never_rounds_to_nothing_or_all(share: float, shown: str) -> None:
    assert numbers.percent(share) == shown


@pytest.mark.parametrize("share", [0.03445, 0.034, 0.9991, 0.12341, 1e-5, 0.5])
def test_an_upper_bound_is_never_rounded_down(share: float) -> None:
    shown = float(numbers.percent(share, up=True).removesuffix(" %")) / 100
    # the bound is shown to two digits of itself or of its distance to 1
    assert share - 1e-9 <= shown <= share + 0.1 * min(share, 1 - share)


@pytest.mark.parametrize(
    ("x", "unit", "shown"),
    [
        (269722, "", "269.7 k"),
        (1083816, "B", "1.08 MB"),
        (999, "", "999"),
        (999_960, "", "1.00 M"),
        (40813184.0, "", "40.8 M"),
        (0, "B", "0 B"),
    ],
)
def test_scaled_uses_powers_of_a_thousand(x: float, unit: str, shown: str) -> None:
    assert numbers.scaled(x, unit) == shown


def test_an_estimate_shows_the_digits_that_its_interval_supports() -> None:
    assert numbers.estimate(0.0213456, 0.0142345, 0.0301234) == ("+0.021", "[+0.014, +0.030]")
    assert numbers.estimate(12.345, -40.0, 66.0) == ("+12", "[-40, +66]")
    assert numbers.estimate(0.0, 0.0, 0.0) == ("0", "[0, 0]")
    assert numbers.estimate(math.nan, 0.1, 0.2)[0] == "not a number"


def test_changes_carry_their_sign_and_unit() -> None:
    assert numbers.change_percent(200, 98) == "-51.0 %"
    assert numbers.change_percent(200, 200) == "0 %"
    assert numbers.change_percent(2, 9) == "4.5 times"
    assert numbers.change_percent(0, 5) is None
    assert numbers.metric_change("accuracy", 0.9766, 0.9699) == "-0.67 pt"
    assert numbers.metric_change("perplexity", 30.0, 31.5) == "+1.50"


def test_units_follow_the_loss() -> None:
    assert numbers.unit_of("cross-entropy") == "nats"
    assert numbers.unit_of("cross_entropy (nats)") == "nats"
    assert numbers.unit_of("KL(dense || pruned)") == "nats"
    assert numbers.unit_of("mean squared error") == ""
