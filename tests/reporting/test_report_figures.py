import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from actprune.reporting import figures, theory_view
from actprune.reporting.plot_forecast import forecast_figure
from actprune.reporting.plot_working import working_figure
from actprune.reporting.schema import Report
from actprune.reporting.svg import Axis


def bars(svg: str) -> int:
    return len(re.findall(r'class="bar ', svg))


def test_an_axis_maps_ends_to_ends() -> None:
    linear = Axis(low=-1, high=3, start=10, end=50)
    assert [linear.at(v) for v in (-1, 1, 3)] == [10, 30, 50]
    log = Axis(low=1, high=100, start=0, end=10, log=True)
    assert [log.at(v) for v in (1, 10, 100)] == pytest.approx([0, 5, 10])
    assert log.ticks() == (1, 10, 100)


def test_ticks_are_round_and_inside() -> None:
    assert Axis(low=-0.003, high=0.033, start=0, end=1).ticks() == pytest.approx(
        (0, 0.01, 0.02, 0.03)
    )


def test_every_chart_is_well_formed(report: Report) -> None:
    panels = [p for s in report.sites for p in figures.site_panels(s)]
    drawn = [p.svg for p in panels if p.svg] + [forecast_figure(report, report)]
    assert len(drawn) == 3 * 2 + 1
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag == "svg"


def test_a_missing_chart_gives_its_reason(report: Report) -> None:
    for panel in figures.site_panels(report.sites[-1]):
        assert panel.svg is None
        assert panel.reason in ("no sample reached this site", theory_view.UNRECORDED)


@pytest.mark.parametrize(
    "growth", [None, {}, {"d": [1, 2]}, {"d": [1, 2], "observed": [1, None]}, "damaged", 3]
)
def test_a_damaged_theory_leaves_the_chart_out(report: Report, growth: object) -> None:
    site = report.sites[0].model_copy(update={"theory": {"growth": growth}})
    assert figures.site_panels(site)[0].svg is None


@pytest.mark.parametrize("junk", [None, 3, "x", [1], {"inflated": 3}])
def test_a_damaged_theory_still_gives_the_sites_own_numbers(report: Report, junk: object) -> None:
    keys = ("fits", "heldout", "heldout_reasons", "good_turing", "certificate", "rate_stderr")
    site = report.sites[0].model_copy(update={"theory": dict.fromkeys(keys, junk)})
    assert all(row.values == ("none",) * 4 for row in theory_view.fits(site))
    assert theory_view.facts(site)[0].value == "6 of 16"


def test_a_missing_parameter_gives_the_reason_of_its_fit(report: Report) -> None:
    site = report.sites[0]
    fits = {"binomial": {"b": None, "b_reason": "one rate by definition"}}
    made = site.model_copy(update={"b": None, "family": "binomial", "theory": {"fits": fits}})
    found = {f.name: f.reason for f in theory_view.facts(made)}
    assert found["b (binomial)"] == "one rate by definition"
    assert found["α"] == site.reason


def test_a_curve_that_is_missing_is_left_out_alone(report: Report) -> None:
    theory = report.sites[0].theory
    growth = {k: v for k, v in theory["growth"].items() if k != "published"}
    found = theory_view.growth({**theory, "growth": growth})
    assert isinstance(found, theory_view.Growth)
    assert set(found.curves) == {"fitted", "seen"}


def test_intervals_stand_where_their_numbers_are(report: Report) -> None:
    svg = forecast_figure(report)
    assert bars(svg) == 4
    # forecast and measurement share the axis: their dots are as far apart as their values
    dots = [float(x) for x in re.findall(r'class="dot \w+" cx="([\d.]+)"', svg)]
    p, m = report.predicted, report.measured
    assert p.loss_delta is not None
    assert p.low is not None
    assert p.high is not None
    left, width = (
        float(x)
        for x in re.search(
            r'class="bar forecast" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg
        ).groups()  # pyright: ignore[reportOptionalMemberAccess]
    )
    scale = width / (p.high - p.low)
    # positions are written to a hundredth, so a distance of two of them is off by at most 0.01,
    # and the scale by 0.01 / (p.high - p.low)
    assert dots[0] - left == pytest.approx(scale * (p.loss_delta - p.low), abs=0.03)
    assert dots[3] - dots[0] == pytest.approx(scale * (m.loss_delta - p.loss_delta), abs=0.03)


def test_a_far_forecast_does_not_flatten_the_others(make_report: Callable[..., Report]) -> None:
    predicted = make_report().predicted.model_dump()
    predicted["counts_only"] |= {"loss_delta": 50.0, "low": 10.0, "high": 900.0}
    svg = forecast_figure(make_report(predicted=predicted))
    assert 'class="arrow"' in svg
    widths = re.findall(r'class="bar measured" x="[\d.]+" y="[\d.]+" width="([\d.]+)"', svg)
    assert float(widths[0]) > 40  # a tenth of the drawing
    assert "900" in svg


def test_the_forecast_chart_names_what_is_missing(make_report: Callable[..., Report]) -> None:
    none = {"loss_delta": None, "low": None, "high": None}
    predicted = {**none, "level": 0.9, "reason": "made from the profile <alone>"}
    predicted["counts_only"] = {**none, "reason": "no probes"}
    svg = forecast_figure(make_report(predicted=predicted))
    assert "made from the profile &lt;alone&gt;" in svg
    assert "no probes" in svg
    assert bars(svg) == 1


def test_every_unit_is_counted_in_the_histogram(report: Report) -> None:
    site = report.sites[1]
    svg = figures.site_panels(site)[1].svg
    assert svg is not None
    tips = dict.fromkeys(re.findall(r"([\d.]+ to [\d.]+ %): (\d+) removed, (\d+) kept", svg))
    assert sum(int(gone) for _, gone, _ in tips) == len(site.removed)
    assert sum(int(kept) for _, _, kept in tips) == site.kept


def test_working_units_end_at_the_right_edge() -> None:
    svg = working_figure([1, 10, 100], {"seen": [2, 5, 10]}, units=10)
    path = re.search(r'class="curve seen" d="([^"]+)"', svg)
    assert path is not None
    assert path[1].endswith("L350 26")  # the last sample at the right, all units at the top
