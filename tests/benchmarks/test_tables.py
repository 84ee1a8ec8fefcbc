from __future__ import annotations

import pytest

from benchmarks.tables import FILES, filled, stale
from benchmarks.tolerance import held


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.name))
def test_every_table_is_made_from_the_rows_in_the_repository(path) -> None:
    assert not stale(path), "run python -m benchmarks.tables"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = "before\n<!-- certificate -->\nold\n<!-- /certificate -->\nafter\n"
    new = filled(text)
    assert new.startswith("before\n<!-- certificate -->\n| activations |")
    assert new.endswith("|\n<!-- /certificate -->\nafter\n")
    assert "old" not in new


def test_a_gap_is_allowed_by_size_or_by_noise() -> None:
    def row(forecast: float, measured: float, half: float) -> dict:
        def interval(x: float) -> dict:
            return {"loss_delta": x, "low": x - half, "high": x + half, "level": 0.9}

        return {"forecast": interval(forecast), "measured": interval(measured)}

    # half-widths of .0001 at 90 % are standard errors of .00006: only the size counts
    assert held([row(0.010, 0.0149, 1e-4)]).within == 1  # .0049 <= .005
    assert held([row(0.010, 0.0151, 1e-4)]).within == 0  # .0051 > .005 and > 25 % of .0151
    assert held([row(0.080, 0.10, 1e-4)]).within == 1  # .02 <= 25 % of .10
    # half-widths of .0164 are standard errors of .01, of the gap .0141: two of them allow .0282
    assert held([row(0.0, 0.028, 0.0164)]).within == 1
    assert held([row(0.0, 0.029, 0.0164)]).within == 0
