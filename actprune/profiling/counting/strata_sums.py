"""The running totals of each stratum, begun when its first sample is met.

Time and room are those of one more profile without Gram matrices for each stratum: O(units x
strata), about 1 KB a unit and stratum, and no work for strata that a batch does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from actprune.data.split import BLOCKS
from actprune.errors import ActpruneError
from actprune.profiling.counting.sums import Sums
from actprune.profiling.memory import check_room, free_memory
from actprune.profiling.result import Stratum, in_order
from actprune.profiling.rules import Rule
from actprune.sites.site import Site

MOST = 1000  # strata


class StrataSums:
    """Totals by the stratum's name."""

    def __init__(
        self, sites: Sequence[Site], rules: Mapping[str, Rule], device: torch.device
    ) -> None:
        self._sites, self._rules, self._device = sites, rules, device
        self._sums: dict[str, Sums] = {}

    def add(
        self, names: Sequence[str], id_R: Tensor, block_R: Tensor, page: Tensor, positions: Tensor
    ) -> None:
        """Count rows as `Sums.add` does, each in the stratum it is named after.

        Raises:
            ActpruneError: if there are too many strata.
        """
        rows_of: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            rows_of.setdefault(name, []).append(row)
        for name, rows in rows_of.items():
            at = torch.tensor(rows, device=page.device)
            self._of(name).add(id_R[at], block_R[at], page[:, at], positions[at])

    def freeze(self) -> tuple[Stratum, ...]:
        """The totals so far, in the order of the strata's names."""
        return in_order(Stratum(name=n, sites=s.freeze()) for n, s in self._sums.items())

    def restore(self, frozen: Sequence[Stratum]) -> None:
        """Go on from what `freeze` gave."""
        for stratum in frozen:
            self._of(stratum.name).restore(stratum.sites)

    def _of(self, name: str) -> Sums:
        if name not in self._sums:
            if len(self._sums) == MOST:
                raise ActpruneError(
                    f"strata: more than {MOST} of them, the last {name!r}; name fewer, coarser "
                    f"ones."
                )
            # running and frozen
            needed = 2 * 8 * (4 * BLOCKS + 3) * sum(s.units for s in self._sites)
            what = f"Counts of stratum {name!r}, after {len(self._sums)} others,"
            check_room(needed, free_memory(self._device), what, "name fewer, coarser strata")
            self._sums[name] = Sums(self._sites, self._rules, with_gram=False, device=self._device)
        return self._sums[name]
