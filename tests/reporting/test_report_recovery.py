"""The way back, in the terminal, on the page and on the card."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from actprune.reporting import rows, summary_table
from actprune.reporting.card import model_card
from actprune.reporting.html import render
from actprune.reporting.schema import Report


def healed(make_report: Callable[..., Report], **changes: Any) -> Report:
    recovery: dict[str, Any] = {
        "none": {"loss": 2.1, "metrics": {"accuracy": 0.31}, "share": None},
        "refit": {"loss": 0.1023456789, "metrics": {"accuracy": 0.9699}, "share": 0.98954},
        "heal": {"loss": 0.0905, "metrics": {"accuracy": 0.9733}, "share": 0.00587},
        "measured": {"loss_delta": 0.00926, "low": 0.004, "high": 0.0141, "level": 0.9,
                     "samples": 599},
    }  # fmt: skip
    healing = {
        "settings": {"steps": 200},
        "steps": 200,
        "best_step": 180,
        "stopped": "finished",
        "reason": "all 200 steps taken; loss <on> the select part 0.5 to 0.2, at step 180",
        "seconds": 12.0,
        "curve": [{"step": 0, "rate": 0.0, "train": None, "select": 0.5}],
    }
    return make_report(**{"recovery": recovery, "healing": healing, **changes})


def test_the_terminal_shows_every_step(make_report: Callable[..., Report]) -> None:
    report = healed(make_report)
    lines = summary_table(report).splitlines()
    cells = {line.split("  ")[0]: re.split(r"\s{2,}", line) for line in lines}
    assert cells["cut, no compensation"][1:4] == ["2.100", "+2.02", "31.00 %"]
    assert cells["after refit"][-1] == "99.0 %"
    assert cells["after healing"][-1] == "0.6 %"
    assert cells["healed"][1].startswith("+0.009 nats [+0.004, +0.014], 90 %, 599")
    assert cells["healing"][1].startswith("all 200 steps taken")
    assert "before healing" in lines[0]
    assert max(map(len, lines)) <= 88


def test_a_report_without_healing_says_nothing_of_it(report: Report) -> None:
    assert rows.way_back(report) == ()
    for shown in (summary_table(report), render(report), model_card(report)):
        assert "heal" not in shown
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report


def test_page_and_card_show_it_too(make_report: Callable[..., Report]) -> None:
    report = healed(make_report)
    page, card = render(report), model_card(report)
    assert "The way back" in page
    assert "loss &lt;on&gt; the select part" in page
    assert "99.0\u00a0%" in page
    assert "| after healing | 0.09050 | +0.00927 | 97.33 % | not measured | 0.6 % |" in card
    assert "before_healing.safetensors" in card
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report


def test_without_compensation_there_is_no_step_for_it(make_report: Callable[..., Report]) -> None:
    report = healed(make_report, compensation={"kind": "none"})
    names = [s.name for s in rows.way_back(report)]
    assert names == ["dense", "cut, no compensation", "after healing"]
    mean = healed(make_report, compensation={"kind": "mean"})
    assert rows.way_back(mean)[2].name == "after mean into bias"


def test_nothing_lost_is_said(make_report: Callable[..., Report]) -> None:
    stage = {"loss": 0.08, "metrics": {}, "share": None}
    measured = {"loss_delta": 0.0, "low": 0.0, "high": 0.0, "level": 0.9, "samples": 5}
    recovery = {"none": stage, "refit": stage, "heal": stage, "measured": measured,
                "reason": "the bare cut does not raise the loss"}  # fmt: skip
    assert [s.share for s in rows.way_back(healed(make_report, recovery=recovery))] == [
        "", "", "none lost", "none lost",
    ]  # fmt: skip
