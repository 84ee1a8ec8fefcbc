"""How few and how many units the user lets a site keep."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor

from actprune.errors import ActpruneError
from actprune.planning.allocate import Room
from actprune.sites.patterns import matches

Limit = int | float | str


def limited(
    rooms: Sequence[Room], least: Mapping[str, Limit], most: Mapping[str, Limit]
) -> list[Room]:
    """The rooms within limits by pattern of site names; the narrowest of several counts.

    A limit is a count (8), or a share of the site's units (.25 or `25%`), rounded up for `least`
    and down for `most`; a whole group of round_to is kept.

    Raises:
        ActpruneError: for a limit that is none, a pattern that names no site, or limits that
            contradict each other, the site's size, or units named to stay or go.
    """
    names = [r.site.name for r in rooms]
    for pattern in (*least, *most):
        if not any(matches(n, pattern) for n in names):
            raise ActpruneError(f"No site matches {pattern!r} (the sites are {', '.join(names)}).")
    return [_limited(r, least, most) for r in rooms]


def _limited(room: Room, least: Mapping[str, Limit], most: Mapping[str, Limit]) -> Room:
    name, units = room.site.name, room.site.units
    low = max((_count(v, units, ceil) for p, v in least.items() if matches(name, p)), default=1)
    high = min(
        (_count(v, units, floor) for p, v in most.items() if matches(name, p)), default=units
    )
    where = f"Site {name!r} ({units} units)"
    if low > units:
        raise ActpruneError(f"{where}: least asks for {low} units; give at most {units}.")
    if high < 1:
        raise ActpruneError(f"{where}: most leaves {high} units; at least one must stay.")
    if low > high:
        raise ActpruneError(f"{where}: least {low} and most {high} contradict each other.")
    if low > units - room.forced:
        raise ActpruneError(f"{where}: least {low} contradicts drop, which leaves fewer.")
    if high < units - len(room.order):
        raise ActpruneError(f"{where}: most {high} contradicts keep, which names more.")
    found = replace(room, fewest=low, limit=min(high, units))
    if found.least < low or found.most > high:
        raise ActpruneError(
            f"{where}: no multiple of round_to ({room.step}) lies between least {low} and most "
            f"{high}."
        )
    return found


def _count(value: Limit, units: int, rounded: Callable[[float], int]) -> int:
    """A limit as a number of units."""
    number, share = value, False
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]*\.?[0-9]+)(%?)", value)
        if not match or (not match[2] and not value.isdecimal()):
            raise _malformed(value)
        share, number = bool(match[2]), float(match[1])
        number = number / 100 if share else int(number)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= 0:
        raise _malformed(value)
    if isinstance(number, float):
        if number > 1:
            raise _malformed(value)
        return rounded(round(number * units, 9))
    return number


def _malformed(value: object) -> ActpruneError:
    return ActpruneError(
        f"A limit is a count of units (8) or a share of them (25%, at most 100%), got {value!r}."
    )
