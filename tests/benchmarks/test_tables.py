from __future__ import annotations

import pytest

from benchmarks.tables.fill import FILES, filled, stale


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.name))
def test_every_table_is_made_from_the_rows_in_the_repository(path) -> None:
    assert not stale(path), "run python -m benchmarks.tables"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = "before\n<!-- certificate -->\nold\n<!-- /certificate -->\nafter\n"
    new = filled(text)
    assert new.startswith("before\n<!-- certificate -->\n| activations |")
    assert new.endswith("|\n<!-- /certificate -->\nafter\n")
    assert "old" not in new
