"""A cut: which units stay at each site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actprune.errors import ActpruneError
from actprune.sites.site import AXES, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The units kept, ascending and at least one, per site name; sites not named stay whole."""

    kept: Mapping[str, tuple[int, ...]]

    @classmethod
    def removing(cls, sites: Sequence[Site], removed: Mapping[str, Sequence[int]]) -> Cut:
        """Keep everything but `removed`; raises ActpruneError for an unknown site or unit."""
        by_name = {s.name: s for s in sites}
        kept = {}
        for name, units in removed.items():
            if name not in by_name:
                raise ActpruneError(
                    f"No site is called {name!r}; the sites are {', '.join(by_name)}."
                )
            n, gone = by_name[name].units, {int(u) for u in units}
            if gone and not (min(gone) >= 0 and max(gone) < n):
                raise ActpruneError(
                    f"Site {name!r} has units 0 to {n - 1}, got {sorted(gone)[:5]} to remove."
                )
            if len(gone) >= n:
                raise ActpruneError(f"Site {name!r} must keep at least one of its {n} units.")
            if gone:
                kept[name] = tuple(u for u in range(n) if u not in gone)
        return cls(kept=kept)

    def keeps(self, site: Site) -> tuple[int, ...]:
        """The kept units of `site`."""
        return self.kept.get(site.name, tuple(range(site.units)))

    def removes(self, site: Site) -> tuple[int, ...]:
        """The removed units of `site`."""
        kept = set(self.keeps(site))
        return tuple(u for u in range(site.units) if u not in kept)


def removals(sites: Sequence[Site], cut: Cut) -> dict[tuple[str, str, int], set[int]]:
    """Entries to go per (module, tensor, axis), all slots together: several sites may share an axis
    (a concatenation), or several slots of one (a fused gate and its value), and their offsets hold
    in the dense shape only."""
    gone: dict[tuple[str, str, int], set[int]] = {}
    for site in sites:
        removed = cut.removes(site)
        if not removed:
            continue
        for slot in site.slots:
            for tensor, axis in AXES[slot.role].items():
                entries = gone.setdefault((slot.module, tensor, axis), set())
                entries.update(slot.index(removed).tolist())
    return gone
