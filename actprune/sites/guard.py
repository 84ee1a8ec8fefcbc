"""A work budget for code that may loop for ever."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class WorkExceededError(Exception):
    """The guarded code made more function calls than it was allowed."""


@contextmanager
def call_budget(limit: int, package: str) -> Iterator[None]:
    """Raise WorkExceededError inside the block after `limit` calls of functions of `package`.

    Graph walks that never end still call functions, so counting calls ends them the same way on
    every machine, unlike a clock, and on every thread, unlike a signal. A profiler that was active
    is suspended meanwhile.
    """
    calls = 0

    inside = f"{os.sep}{package}{os.sep}"

    def count(frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        if event == "call" and inside in frame.f_code.co_filename:
            calls += 1
            if calls > limit:
                sys.setprofile(None)
                raise WorkExceededError(f"more than {limit} calls of {package}")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        if callable(before):
            sys.setprofile(before)
        elif before is not None:  # cProfile's C hook can only be enabled again
            before.enable()
