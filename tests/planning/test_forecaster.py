"""Trying cuts before one is chosen: which samples each way of forecasting reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.data.split import Part, in_parts
from actprune.errors import ActpruneError
from actprune.planning import forecast
from actprune.planning.forecast import Forecaster
from actprune.planning.probed import probed_forecast
from actprune.planning.samples import calibration
from actprune.profiling.collect import profile
from actprune.refit.settings import Compensation
from actprune.running.loss import LOSSES
from actprune.sites.cut import Cut
from actprune.sites.find import survey


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3)).double().eval()


def data(n: int = 500) -> Arrays:
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=gen, dtype=torch.float64)
    return Arrays.of(x, labels=torch.randint(3, (n,), generator=gen))


def forecaster(model: nn.Module, source: Arrays, fit_on: list[Batch] | None = None) -> Forecaster:
    seen = profile(model, source)
    sites = survey(model, next(iter(source.batches(4)))).sites
    return Forecaster(
        model, seen, sites, Compensation(),
        calibration(seen, source, (Part.FIT, Part.SELECT)) if fit_on is None else fit_on,
        calibration(seen, source, (Part.CHECK,)),
        loss_name=None, level=0.9, seed=0, progress=lambda _: None,
    )  # fmt: skip


def ids(batches: list[Batch]) -> set[int]:
    return {int(i) for b in batches for i in b.ids}


def test_a_cut_tried_on_the_select_part_was_refitted_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, source = net(), data()
    made = forecaster(model, source)
    cut = Cut(kept={s.name: (0, 3, 5) for s in made._sites})
    fitted: list[Batch] = []
    real = forecast.compensate

    def compensate(model, sites, cut, settings, batches, **more):
        fitted.extend(batches)
        return real(model, sites, cut, settings, batches, **more)

    monkeypatch.setattr(forecast, "compensate", compensate)
    found = made.trial(cut).forecast

    def part(which: Part) -> set[int]:
        return {int(i) for i in source.ids[in_parts(source.ids, 0, which)]}

    assert ids(fitted) == part(Part.FIT)
    select = part(Part.SELECT)
    assert (found.method, found.samples) == ("probed", len(select))
    maps = real(model, made._sites, cut, made._settings, fitted, seed=1)

    def selected(i: Tensor) -> Tensor:
        return in_parts(i, 0, Part.SELECT)

    again = probed_forecast(
        model, maps, source.where(selected).batches(), LOSSES["cross_entropy"], level=0.9
    )
    assert found.loss_delta == pytest.approx(again.loss_delta, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((again.low, again.high), rel=1e-12)


def test_a_cut_of_nothing_changes_nothing_on_any_part() -> None:
    made = forecaster(net(), data())
    nothing = Cut(kept={})
    for found in (
        made.probed(nothing).forecast, made.local(nothing), made.trial(nothing).forecast
    ):  # fmt: skip
        assert (found.loss_delta, found.low, found.high) == (0.0, 0.0, 0.0)
        assert found.samples > 50
    assert made.local(Cut(kept={})).method == "local"


def test_a_select_part_without_samples_is_refused() -> None:
    model, source = net(), data()
    seen = profile(model, source)
    alone = calibration(seen, source, (Part.FIT,))
    made = forecaster(model, source, alone)
    with pytest.raises(ActpruneError) as e:
        made.trial(Cut(kept={}))
    assert str(e.value) == (
        "No calibration sample falls into the select part, or none outside it; give more data."
    )
