"""Try cuts on paper: compensate, then forecast, on samples kept apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.planning.allocate import Counts, Room, cut_of
from actprune.planning.counts import activation_share, counts_forecast
from actprune.planning.local import local_forecast
from actprune.planning.result import CountsForecast, Forecast
from actprune.profiling.result import Profile
from actprune.refit.sequential import compensate
from actprune.refit.settings import Compensation
from actprune.running.evaluate import changes, loss_for
from actprune.running.substitute import Affine
from actprune.sites.cut import Cut
from actprune.sites.site import Site
from actprune.theory import fit as fit_theory

PROBES = (1 / 2, 3 / 4)  # shares of the planned removals that the two probes remove


class Forecaster:
    """Forecasts the loss change of cuts of one model, remembering the last compensation."""

    def __init__(
        self,
        model: nn.Module,
        profile: Profile,
        sites: Sequence[Site],
        settings: Compensation,
        fit_on: Sequence[Batch],
        watched: Sequence[Batch],
        *,
        loss_name: str | None,
        level: float,
        seed: int,
        progress: Callable[[str], None],
    ) -> None:
        if not watched:
            raise ActpruneError(
                "No calibration sample falls into the part kept for the forecast; give more data."
            )
        self._model, self._profile, self._sites = model, profile, sites
        self._settings, self._fit_on, self._watched = settings, fit_on, watched
        self._level, self._seed, self._progress = level, seed, progress
        self.loss = loss_for(model, watched, loss_name)
        self._last: tuple[Cut, Mapping[str, Affine]] | None = None

    def local(self, cut: Cut) -> Forecast:
        """The local forecast of `cut`."""
        if not cut.kept:
            n = sum(map(len, self._watched))
            return Forecast(loss_delta=0.0, low=0.0, high=0.0, level=self._level, samples=n)
        return local_forecast(
            self._model,
            self.weights(cut),
            self._watched,
            self.loss,
            level=self._level,
            seed=self._seed,
        )

    def weights(self, cut: Cut) -> Mapping[str, Affine]:
        """The compensated weights of `cut`."""
        if self._last is None or self._last[0] != cut:
            maps = compensate(
                self._model,
                self._sites,
                cut,
                self._settings,
                self._fit_on,
                seed=self._profile.identity.seed,
                progress=self._progress,
            )
            self._last = (cut, maps)
        return self._last[1]

    def counts_only(self, rooms: Sequence[Room], counts: Counts) -> CountsForecast | str:
        """The counts-only forecast of `counts`, or why there is none.

        Its two probes remove a half and three quarters of each site's planned units, in the same
        order, and are measured on the forecast's own samples.
        """
        theory = fit_theory(self._profile)
        shares: list[float] = []
        measured: list[np.ndarray] = []
        whole = cut_of(rooms, counts)
        share = activation_share(self._profile, theory, self._sites, whole)
        if share > 0:
            for part in PROBES:
                fewer = {
                    r.site.name: r.site.units
                    - max(r.forced, round(part * (r.site.units - counts[r.site.name])))
                    for r in rooms
                }
                probe = cut_of(rooms, fewer)
                shares.append(activation_share(self._profile, theory, self._sites, probe))
                maps = self.weights(probe)
                measured.append(changes(self._model, maps, self._watched, self.loss))
        else:
            shares, measured = [0.0, 0.0], [np.zeros(1), np.zeros(1)]
        return counts_forecast(
            share,
            (shares[0], shares[1]),
            (measured[0], measured[1]),
            level=self._level,
            seed=self._seed,
        )
