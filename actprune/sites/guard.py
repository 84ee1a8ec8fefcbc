"""A work budget for code that may loop for ever."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class WorkExceededError(Exception):
    """The guarded code made more function calls than it was allowed."""


@contextmanager
def call_budget(limit: int) -> Iterator[None]:
    """Raise WorkExceededError inside the block after `limit` Python function calls.

    Graph walks that never end still call functions, so counting calls ends them the same way on
    every machine, unlike a clock, and on every thread, unlike a signal. A profiler that was active
    is suspended meanwhile.
    """
    calls = 0

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            if calls > limit:
                sys.setprofile(None)
                raise WorkExceededError(f"more than {limit} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
