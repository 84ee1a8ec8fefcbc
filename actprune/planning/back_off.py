"""Find the largest cut of a ladder of ever larger ones that holds where it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Tried = TypeVar("Tried")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedOff(Generic[Tried]):
    """`rung`: the one that held, None if none did; `tried`: every rung tried with what was found,
    in the order of trying."""

    rung: int | None
    tried: tuple[tuple[int, Tried], ...]

    @property
    def steps(self) -> int:
        """Rungs given up, or all of them."""
        first = self.tried[0][0]
        return first + 1 if self.rung is None else first - self.rung


def back_off(
    start: int, attempt: Callable[[int], Tried], holds: Callable[[Tried], bool]
) -> BackedOff[Tried]:
    """The largest rung up to `start` that holds, where what is tried grows along the ladder.

    Tries `start`, then 1, 2, 4, ... rungs less until one holds or the ladder ends, then bisects
    between that one and the last that did not: about 2 log2 of the rungs given up. Where growth is
    not strict (noise), the answer is still a rung that was seen to hold.

    Args:
        start: the rung that a forecast allows, >= 0; rung 0 is the least cut.
        attempt: tries one rung, each at most once.
        holds: whether what `attempt` found is good enough.
    """
    tried: dict[int, Tried] = {}

    def good(rung: int) -> bool:
        tried[rung] = attempt(rung)
        return holds(tried[rung])

    def answer(rung: int | None) -> BackedOff[Tried]:
        return BackedOff(rung=rung, tried=tuple(tried.items()))

    if good(start):
        return answer(start)
    rung = bad = start
    stride = 1
    while bad > 0:
        rung = max(0, start - stride)
        if good(rung):
            break
        bad, stride = rung, 2 * stride
    else:
        return answer(None)
    while bad - rung > 1:
        middle = (rung + bad) // 2
        if good(middle):
            rung = middle
        else:
            bad = middle
    return answer(rung)


def bisect(
    rungs: int, attempt: Callable[[int], Tried], holds: Callable[[Tried], bool]
) -> BackedOff[Tried]:
    """The largest rung that holds, where nothing is known of where it lies: 1 + log2 of the rungs.

    As `back_off`, the answer was seen to hold. Tries rung 0 first; if that does not hold, no more.
    """
    tried: dict[int, Tried] = {0: attempt(0)}
    if not holds(tried[0]):
        return BackedOff(rung=None, tried=tuple(tried.items()))
    low, high = 0, rungs - 1
    while low < high:
        middle = (low + high + 1) // 2
        tried[middle] = attempt(middle)
        if holds(tried[middle]):
            low = middle
        else:
            high = middle - 1
    return BackedOff(rung=low, tried=tuple(tried.items()))
