"""Which sites and units the user named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actprune.errors import ActpruneError
from actprune.sites.find import Refusal
from actprune.sites.patterns import matches
from actprune.sites.site import Site


def chosen_sites(
    sites: Sequence[Site], only: Sequence[str], ignore: Sequence[str], refusals: Sequence[Refusal]
) -> list[Site]:
    """The sites without an obstacle named by `only` (all, if empty) and not by `ignore`.

    Raises:
        ActpruneError: if no site can be cut, a pattern names none, or nothing is left.
    """
    refused = [(s.name, s.obstacle) for s in sites if s.obstacle is not None]
    sites = [s for s in sites if s.obstacle is None]
    if not sites and refused:
        more = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise ActpruneError(
            f"The sites of this model can be watched but not cut "
            f"({refused[0][0]}: {refused[0][1]}{more}); --explain lists them all."
        )
    refused += [(r.layer, r.reason) for r in refusals]
    if not sites:
        why = "; ".join(f"{layer}: {reason}" for layer, reason in refused[:4])
        raise ActpruneError(f"The model has no prunable site ({why or 'no weighted layers'}).")
    names = [s.name for s in sites]
    for pattern in (*only, *ignore):
        if not any(matches(n, pattern) for n in names):
            named = [f"{layer}: {why}" for layer, why in refused if matches(layer, pattern)]
            why = f"not prunable: {named[0]}" if named else f"the sites are {', '.join(names)}"
            raise ActpruneError(f"No site matches {pattern!r} ({why}).")
    left = [
        s
        for s in sites
        if (not only or any(matches(s.name, p) for p in only))
        and not any(matches(s.name, p) for p in ignore)
    ]
    if not left:
        raise ActpruneError("No site is left after `only` and `ignore`; widen the patterns.")
    return left


def named_units(entries: Sequence[str], sites: Sequence[Site]) -> dict[str, list[int]]:
    """Read `site:unit` entries; raises ActpruneError for unknown sites and units."""
    by_name = {s.name: s for s in sites}
    found: dict[str, list[int]] = {}
    for entry in entries:
        name, _, unit = entry.rpartition(":")
        if name not in by_name or not unit.isdecimal():
            raise ActpruneError(
                f"Units are named site:unit, for instance {sites[0].name}:0, got {entry!r}; "
                f"the sites are {', '.join(by_name)}."
            )
        if int(unit) >= by_name[name].units:
            raise ActpruneError(
                f"Site {name!r} has units 0 to {by_name[name].units - 1}, got {entry!r}."
            )
        found.setdefault(name, []).append(int(unit))
    return found


def check_named(
    keep: Mapping[str, Sequence[int]], drop: Mapping[str, Sequence[int]], sites: Sequence[Site]
) -> None:
    """Raise ActpruneError if a unit must both stay and go, or a site would lose every unit."""
    for site in sites:
        gone = set(drop.get(site.name, ()))
        both = sorted(gone & set(keep.get(site.name, ())))
        if both:
            raise ActpruneError(f"keep and drop both name {site.name}:{both[0]}.")
        if len(gone) == site.units:
            raise ActpruneError(
                f"Site {site.name!r} must keep at least one of its {site.units} units; "
                f"drop names them all."
            )
