"""Try cuts on paper: compensate, then forecast, on samples kept apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.errors import ActpruneError
from actprune.planning.allocate import Counts, Room, cut_of
from actprune.planning.counts import activation_share, counts_forecast
from actprune.planning.local import local_forecast
from actprune.planning.probed import probed_trial
from actprune.planning.result import CountsForecast, Forecast, MetricChange, Trial
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

    def probed(self, cut: Cut, metrics: Sequence[str] = ()) -> Trial:
        """The changes of the loss and of `metrics` under `cut`, tried on the samples kept for the
        forecast."""
        if not cut.kept:
            return self._no_change(self._watched, metrics)
        maps = self.weights(cut)
        return probed_trial(self._model, maps, self._watched, self.loss, metrics, level=self._level)

    def local(self, cut: Cut) -> Forecast:
        """The loss change of `cut`, foreseen on the same samples without trying it."""
        if not cut.kept:
            return self._nothing("local", self._watched)
        maps = self.weights(cut)
        return local_forecast(self._model, maps, self._watched, self.loss, level=self._level)

    def trial(self, cut: Cut, metrics: Sequence[str] = ()) -> Trial:
        """The changes of the loss and of `metrics` under `cut`, tried on the select part with a
        refit that has not seen it.

        For choices that try many cuts, so that the samples of the forecast stay unread until one
        is chosen. The refit has fewer samples than the plan's own, so the change is, if anything,
        too large.

        Raises:
            ActpruneError: if no calibration sample falls into the select part, or none is left.
        """
        seed = self._profile.identity.seed
        select = _within(self._fit_on, lambda ids: in_parts(ids, seed, Part.SELECT))
        rest = _within(self._fit_on, lambda ids: ~in_parts(ids, seed, Part.SELECT))
        if not select or not rest:
            raise ActpruneError(
                "No calibration sample falls into the select part, or none outside it; give more "
                "data."
            )
        if not cut.kept:
            return self._no_change(select, metrics)
        # another seed parts the rest anew, so that ridge strengths are chosen within it
        maps = compensate(
            self._model, self._sites, cut, self._settings, rest,
            seed=seed + 1, progress=self._progress,
        )  # fmt: skip
        return probed_trial(self._model, maps, select, self.loss, metrics, level=self._level)

    def _no_change(self, seen: Sequence[Batch], metrics: Sequence[str]) -> Trial:
        n = sum(map(len, seen))
        unchanged = tuple(
            MetricChange(name=m, change=0.0, low=0.0, high=0.0, level=self._level, samples=n)
            for m in metrics
        )
        return Trial(forecast=self._nothing("probed", seen), metrics=unchanged)

    def _nothing(self, method: Literal["probed", "local"], batches: Sequence[Batch]) -> Forecast:
        return Forecast(
            method=method,
            loss_delta=0.0,
            low=0.0,
            high=0.0,
            level=self._level,
            samples=sum(map(len, batches)),
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


def _within(batches: Sequence[Batch], wanted: Callable[[Tensor], Tensor]) -> list[Batch]:
    """The samples whose ids are wanted; no empty batch."""
    parts = [b.select(wanted(b.ids)) for b in batches]
    return [b for b in parts if len(b)]
