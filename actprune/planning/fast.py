"""Meet a latency target: time really cut models along a ladder of sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from actprune.errors import ActpruneError, BudgetError
from actprune.planning.allocate import Counts, Room, cut_of
from actprune.planning.result import Timed
from actprune.planning.target import Target
from actprune.sites.cut import Cut

Clock: TypeAlias = Callable[[Cut], Timed]  # of the model with that cut, against the dense one


def fast_enough(
    targets: Sequence[Target], rungs: Sequence[Counts], rooms: Sequence[Room], clock: Clock | None
) -> tuple[Counts, Timed]:
    """The first of `rungs`, largest first, whose time is within every target.

    A rung passes if the 80 % quantile of its paired rounds does. The bisection's own timing is not
    the one reported, as it was chosen for being fast: the rung found is timed afresh, and while
    that fails, ones 1, 2, 4, ... rungs smaller are. Times fall along a ladder only roughly (odd
    widths can be slower than larger ones), so a larger rung that passes may be missed.

    Raises:
        BudgetError: if even the smallest model is not fast enough.
        ActpruneError: without a clock.
    """
    if clock is None:
        raise ActpruneError("A latency target needs data to time passes on; give some.")
    bound = min(t.value for t in targets if t.value is not None)
    sizes = 0

    def timed(rung: int) -> Timed:
        nonlocal sizes
        sizes += 1
        return clock(cut_of(rooms, rungs[rung]))

    low, high = 0, len(rungs) - 1
    while low < high:
        middle = (low + high) // 2
        if timed(middle).high <= bound:
            high = middle
        else:
            low = middle + 1
    found, stride = timed(low), 1
    while found.high > bound and low < len(rungs) - 1:
        low, stride = min(low + stride, len(rungs) - 1), 2 * stride
        found = timed(low)
    if found.high > bound:
        raise BudgetError(
            f"Target {', '.join(map(str, targets))} cannot be reached: the smallest model takes "
            f"{found}."
        )
    return rungs[low], found.model_copy(update={"sizes": sizes})
