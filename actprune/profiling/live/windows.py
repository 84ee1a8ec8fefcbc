"""Counts per window of forward passes, in the order in which they ran: units along a training.

Shapes: V windows, N units of a site, W units of all sites side by side, K sites.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from actprune.errors import ActpruneError
from actprune.profiling.counting.sums import Sums

MOST_BYTES = 2**28  # of counts; then windows are joined


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class SiteWindows:
    """How often each unit of one site fired in each window."""

    site: str
    samples: np.ndarray  # int64 [V], samples seen
    positions: np.ndarray  # int64 [V], positions seen
    samples_active: np.ndarray  # int64 [V, N], samples with at least one active position
    positions_active: np.ndarray  # int64 [V, N]

    @property
    def rates(self) -> np.ndarray:
        """Positions active / positions of each window, float64 [V, N], 0 to 1."""
        return self.positions_active / self.positions[:, None]

    @property
    def firing_rate(self) -> np.ndarray:
        """Samples active / samples over all windows, float64 [N], 0 to 1: the mean firing rate
        lambda_i = mean N_i / L of Lehmler et al. (2024), Neurocomputing, 128473, as we read it: a
        unit fires once or not at all on each sample."""
        return self.samples_active.sum(0) / max(1, int(self.samples.sum()))

    @property
    def even(self) -> np.ndarray:
        """bool [V]: the windows that hold as many samples as the largest."""
        return self.samples == self.samples.max(initial=0)

    @property
    def fano(self) -> np.ndarray:
        """Fano factor of the counts N_i = samples of a window that fire unit i, float64 [N] >= 0:
        variance / mean over windows, the variance divided by their number less one (Lehmler et al.
        2024; which windows and which divisor is ours). NaN where a unit never fires.

        Read from the `even` windows: others would vary by their size. Counts of shuffled samples
        of a network that stands still are binomial, which gives 1 - lambda_i and not 1.

        Raises:
            ActpruneError: if fewer than two windows hold equally many samples.
        """
        counts = self.samples_active[self.even]
        if len(counts) < 2:
            raise ActpruneError(
                f"Site {self.site!r}: a Fano factor needs two windows with equally many samples, "
                f"got {len(counts)}; choose a smaller window."
            )
        mean, variance = counts.mean(0), counts.var(0, ddof=1)
        return np.divide(variance, mean, out=np.full(mean.shape, np.nan), where=mean > 0)

    @property
    def last_fired(self) -> np.ndarray:
        """Index of the last window in which each unit fired, int64 [N]; -1 if it never did."""
        fired = self.positions_active > 0
        last = len(fired) - 1 - fired[::-1].argmax(0) if len(fired) else np.full(fired.shape[1], -1)
        return np.where(fired.any(0), last, -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Counts of all sites, window by window; an unfinished last window is left out."""

    passes: int  # counted forward passes a window
    sites: tuple[SiteWindows, ...]

    def site(self, name: str) -> SiteWindows:
        """The windows of the site called `name`; raises KeyError."""
        for s in self.sites:
            if s.site == name:
                return s
        raise KeyError(name)

    def __len__(self) -> int:
        return len(self.sites[0].samples) if self.sites else 0


class Recorder:
    """Cuts running sums into windows; a forward pass that ends none costs an addition.

    Counts take 16 bytes a window and unit. Before they pass `MOST_BYTES`, windows are joined in
    pairs and are twice as long from then on, so that a training of any length fits.
    """

    def __init__(self, sums: Sums, passes: int) -> None:
        """`passes` a window, >= 1."""
        self._sums, self._passes, self._within = sums, passes, 0
        self._before = self._read()
        self._rows: list[tuple[np.ndarray, ...]] = []  # as `_read` gives them
        units = max(1, len(self._before[2]))
        self._most = max(2, MOST_BYTES // (16 * units) // 2 * 2)  # windows, an even number

    def count(self) -> None:
        """Say that one more forward pass has been added to the sums."""
        self._within += 1
        if self._within == self._passes:
            now = self._read()
            self._rows.append(tuple(x - y for x, y in zip(now, self._before, strict=True)))
            self._before, self._within = now, 0
            if len(self._rows) == self._most:
                self._join()

    def freeze(self) -> Windows:
        """The windows that have ended."""
        columns = self._sums.columns
        samples, positions, samples_active, positions_active = (
            np.array([row[i] for row in self._rows], dtype=np.int64).reshape(-1, len(like))
            for i, like in enumerate(self._before)
        )
        return Windows(
            passes=self._passes,
            sites=tuple(
                SiteWindows(
                    site=site.name,
                    samples=samples[:, 0],
                    positions=positions[:, k],
                    samples_active=samples_active[:, columns[site.name]],
                    positions_active=positions_active[:, columns[site.name]],
                )
                for k, site in enumerate(self._sums.sites)
            ),
        )

    def _read(self) -> tuple[np.ndarray, ...]:
        """Samples [1], positions [K], samples active [W] and positions active [W] so far."""
        return (np.array([self._sums.samples]), *(x.cpu().numpy() for x in self._sums.so_far))

    def _join(self) -> None:
        pairs = zip(self._rows[::2], self._rows[1::2], strict=True)
        self._rows = [tuple(x + y for x, y in zip(a, b, strict=True)) for a, b in pairs]
        self._passes *= 2
        warnings.warn(
            f"{self._most} windows of counts take {MOST_BYTES / 2**20:.0f} MiB; they are joined in "
            f"pairs, and a window is {self._passes} forward passes from now on. "
            f"Choose a larger window to begin with.",
            stacklevel=2,
        )
