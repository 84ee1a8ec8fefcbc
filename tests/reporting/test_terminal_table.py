import re
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from actprune.reporting import summary, summary_table
from actprune.reporting.schema import Report


def test_the_table_holds_the_numbers(report: Report) -> None:
    lines = summary_table(report).splitlines()
    rows = {line.split("  ")[0]: re.split(r"\s{2,}", line) for line in lines}
    assert rows["MACs"] == ["MACs", "40.8 M", "20.3 M", "-50.2 %"]
    assert rows["accuracy"][1:] == ["97.66 %", "96.99 %", "-0.67 pt"]
    assert rows["residual, refit (this one)"][1:4] == ["0.1023", "+0.0211", "96.99 %"]
    assert rows["magnitude, none"][1:4] == ["1.518", "+1.44", "56.10 %"]
    assert rows["asked"][1] == "keep 50 % of the MACs: 49.8 %, met"
    assert rows["forecast"][1] == "+0.021 nats [+0.014, +0.030], 90 %"
    assert rows["local"][1] == "+0.019 nats [+0.010, +0.028], 90 %"
    assert rows["measured"][1].startswith("+0.021 nats [+0.012, +0.030], 90 %")
    assert rows["verdict"][1].startswith("PASS: the target is met")
    assert max(map(len, lines)) <= 88


@pytest.mark.parametrize("terminal", [True, False])
def test_colours_only_on_a_terminal(report: Report, terminal: bool) -> None:
    out = StringIO()
    colour = "standard" if terminal else "auto"
    Console(file=out, force_terminal=terminal, color_system=colour, _environ={}).print(
        summary(report)
    )
    assert ("\x1b[" in out.getvalue()) is terminal


def test_brackets_in_names_are_no_markup(make_report: Callable[..., Report]) -> None:
    report = make_report(criterion="[red]x[/red]", verdict_reason="see [link=a]b[/link] [/]")
    shown = " ".join(summary_table(report).split())
    assert "[red]x[/red], refit" in shown
    assert "see [link=a]b[/link] [/]" in shown


def test_a_missing_forecast_says_why(make_report: Callable[..., Report]) -> None:
    none = {"loss_delta": None, "low": None, "high": None}
    predicted = {**none, "level": 0.9, "reason": "made from the profile alone"}
    predicted["counts_only"] = {**none, "reason": "probes need the data"}
    shown = summary_table(make_report(predicted=predicted, baselines=[]))
    assert re.search(r"forecast +none: made from the profile alone", shown)
    assert re.search(r"counts only +none: probes need the data", shown)
    assert "the same cut by" not in shown


def test_several_targets_are_all_listed(make_report: Callable[..., Report]) -> None:
    targets = [
        {"kind": "loss", "asked": 0.02, "reached": 0.0211, "met": False},
        {"kind": "lossless", "asked": None, "reached": None, "met": True},
    ]
    shown = summary_table(make_report(targets=targets))
    assert "change the loss by at most +0.02: +0.0211, missed" in shown
    assert "change nothing measurable: no amount, met (lossless is met or missed)" in shown
