"""How the benchmark of the forecasts counts."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.forecasting.figure import drawn
from benchmarks.forecasting.judge import by_size, counted, covers, error, held

Z = 1.6448536  # half-width of a 90 % interval in standard errors


def result(value: float, se: float, samples: int = 10_000) -> dict[str, Any]:
    ends = {"low": value - Z * se, "high": value + Z * se}
    return {"loss_delta": value, **ends, "level": 0.9, "samples": samples}


def row(forecast: float, measured: float, seed: int = 0, **more: Any) -> dict[str, Any]:
    named = {"net": "mnist-cnn", "seed": seed, "fold": 0, "chosen_on": False}
    found = {"forecast": result(forecast, 0.002), "measured": result(measured, 0.002)}
    return {**named, **found, "local": None, "counts_only": None, **more}


@pytest.mark.parametrize(
    ("forecast", "measured", "se", "expected"),
    [
        (0.06, 0.05, 0.001, 0.2),  # of the change
        (0.006, 0.004, 0.001, 0.2),  # of .01
        (0.006, -0.004, 0.025, 0.2),  # of two standard errors
    ],
)
def test_an_error_is_relative_to_what_could_be_seen(
    forecast: float, measured: float, se: float, expected: float
) -> None:
    assert error(result(forecast, 1.0), result(measured, se)) == pytest.approx(expected)


def test_an_interval_is_widened_by_the_measurements_own() -> None:
    # half-widths 3 and 4 make 5, in units of a 90 % interval
    f = result(0.1, 0.003 / Z)
    assert covers(f, result(0.1049, 0.004 / Z))
    assert covers(f, result(0.0951, 0.004 / Z))
    assert not covers(f, result(0.1051, 0.004 / Z))
    assert not covers(f, result(0.0949, 0.004 / Z))


def test_plans_are_counted_by_fold() -> None:
    rows = [row(0.1, 0.1), row(0.1, 0.11), row(0.2, 0.1, seed=1), row(0.1, 0.1, seed=1)]
    found = held(rows, "forecast")
    assert found is not None
    assert (found.asked, found.plans, found.folds) == (4, 4, 2)
    assert found.error == pytest.approx((0 + 0.01 / 0.11) / 2)
    # .6745 standard errors of .002 over .1, .11, .1, .1
    assert found.noise == pytest.approx(0.6745 * 0.002 / 0.1, rel=1e-4)
    # two of four: off by .01 and .1, where the widened half-width is .0047
    assert found.covered == 0.5
    # each fold has one in and one out, so they do not differ
    assert found.covered_error == 0
    both_out = [row(0.1, 0.1), row(0.2, 0.1, seed=1)]
    assert held(both_out, "forecast").covered_error == pytest.approx(0.5**0.5 / 2)  # type: ignore
    assert held(rows, "local") is None


def test_large_changes_are_shown_but_not_counted() -> None:
    rows = [row(0.1, m) for m in (-0.02, 0.0099, 0.01, 0.05, 0.2999, 0.3)]
    assert [r["measured"]["loss_delta"] for r in counted(rows)][-1] == 0.2999
    sizes = {name: len(found) for name, found in by_size(rows).items()}
    assert sizes == {
        "below 0.01": 2, "0.01 to 0.03": 1, "0.03 to 0.1": 1, "0.1 to 0.3": 1,
        "0.3 and more (not counted)": 1,
    }  # fmt: skip


def test_the_plot_has_a_point_for_every_forecast() -> None:
    rows = [row(0.1, 0.1), row(0.2, 0.1, local=result(0.3, 0.01))]
    drawing = drawn(rows)
    assert drawing.count("<circle") == 3 + 1  # and one in the legend
    # the first forecast lies on the diagonal: both axes are as long in decades
    assert "counts" in drawing.lower()
