"""Targets that only trying, or timing, can confirm."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import actprune
from actprune.data.source import Arrays
from actprune.data.split import Part, in_parts
from actprune.errors import ActpruneError, BudgetError
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.planning.allocate import cut_of, ladder_uniform
from actprune.planning.back_off import bisect
from actprune.planning.forecast import Forecaster
from actprune.planning.metric_change import metric_change
from actprune.planning.plan import plan
from actprune.planning.result import Allocation, Plan, Timed
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile
from actprune.sites.cut import Cut


@cache
def digits() -> tuple[nn.Module, Arrays, Profile]:
    loaded = load_model("zoo:digits-mlp")
    source = load_data("zoo:digits-mlp", loaded)
    assert isinstance(source, Arrays)
    return loaded.model, source, profile(loaded.model, source)


def made(*targets: str, **more) -> Plan:
    model, source, seen = digits()
    more = {"batches": source, "probes": False, **more}
    return plan(model, seen, list(targets), **more)


@pytest.mark.parametrize("allocate", ["uniform", "global"])
def test_a_loss_target_is_searched_on_select_samples_only(
    allocate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = []
    real = Forecaster.probed
    monkeypatch.setattr(
        Forecaster, "probed", lambda s, cut, names: probed.append(cut) or real(s, cut, names)
    )
    found = made("loss=+0.05", allocate=allocate)
    _, source, seen = digits()
    assert found.tried is not None
    assert found.tried.chosen.forecast.high <= 0.05
    select = in_parts(source.ids, seen.identity.seed, Part.SELECT)
    assert found.tried.chosen.forecast.samples == int(select.sum())
    assert probed == [found.cut]  # the forecast's samples were read for the chosen cut alone
    assert found.removed > 0


def test_a_metric_target_is_held_by_the_worse_end_and_a_looser_one_cuts_more() -> None:
    sizes = []
    for points in (1, 3):
        found = made(f"accuracy=-{points}pt")
        assert found.tried is not None
        (change,) = found.tried.chosen.metrics
        assert change.low >= -points / 100
        assert found.targets[0].reached is not None
        sizes.append(found.after.params)
    assert sizes[0] > sizes[1]
    assert Plan.from_json(found.to_json()) == found


def test_a_metric_that_the_loss_does_not_know_is_refused() -> None:
    with pytest.raises(ActpruneError, match=r"^Target agreement=: the loss cross_entropy"):
        made("agreement=-1pt")
    assert made("agreement=-3pt", loss="kl").tried is not None


def test_a_metric_target_with_a_cost_target_is_only_checked() -> None:
    found = made("macs=70%", "accuracy=-3pt")
    assert found.tried is not None
    assert found.tried.sizes == 1
    with pytest.raises(BudgetError, match=r"^Target accuracy=-0.1pt cannot be met together"):
        made("macs=10%", "accuracy=-0.1pt")


def test_the_interval_of_paired_proportions_is_that_of_agresti_and_min() -> None:
    n, worse, better = 150, 9, 4
    changes = np.array([-1.0] * worse + [1.0] * better + [0.0] * (n - worse - better))
    found = metric_change("accuracy", changes, level=0.9)
    p12, p21 = (better + 0.5) / (n + 2), (worse + 0.5) / (n + 2)
    half = stats.norm.ppf(0.95) * ((p12 + p21 - (p12 - p21) ** 2) / (n + 2)) ** 0.5
    assert found.change == pytest.approx(-5 / 150)
    assert (found.low, found.high) == pytest.approx((p12 - p21 - half, p12 - p21 + half))


def test_the_interval_covers_the_population_change() -> None:
    rng, level, runs = np.random.default_rng(0), 0.9, 4000
    for p in ([0.01, 0.97, 0.02], [0.05, 0.85, 0.10]):
        draws = rng.choice([1.0, 0.0, -1.0], p=p, size=(runs, 200))
        found = [metric_change("accuracy", d, level=level) for d in draws]
        covered = np.mean([f.low <= p[0] - p[2] <= f.high for f in found])
        # three standard errors of the count, and the .015 by which the authors see it fall short
        assert covered > level - 0.015 - 3 * (0.1 * 0.9 / runs) ** 0.5


def test_bisection_finds_the_last_rung_that_holds() -> None:
    for last in range(20):
        found = bisect(20, lambda rung: rung, lambda rung, last=last: rung <= last)
        assert found.rung == last
        assert len(found.tried) <= 6
    assert bisect(20, lambda rung: rung, lambda _: False).rung is None


def timed(share: float) -> Timed:
    return Timed(
        share=share, low=share, high=share * 1.02, rounds=5, batch=8, threads=1, device="cpu"
    )


@pytest.mark.parametrize("allocate", get_args(Allocation))
def test_a_latency_target_stops_at_the_first_size_that_is_fast_enough(
    allocate: Allocation,
) -> None:
    model, _, seen = digits()
    whole = sum(s.units for s in seen.sites)

    def clock(cut: Cut) -> Timed:
        return timed(1 - sum(len(cut.removes(s.site)) for s in seen.sites) / whole)

    found = plan(
        model,
        seen,
        "latency=60%",
        allocate=allocate,
        criterion="magnitude",
        clock=clock,
    )
    assert found.timed is not None
    assert found.timed.high <= 0.6
    assert found.timed == clock(found.cut).model_copy(update={"sizes": found.timed.sizes})
    if allocate == "uniform":  # the ladder of which is known here: the next larger one is too slow
        rest = {p.site.name: len(p.kept) for p in found.sites}
        from actprune.planning.evidence import gather
        from actprune.planning.rooms import ranked_rooms

        sites = [s.site for s in seen.sites]
        evidence = gather(model, seen, sites, [], seed=0)
        rooms = ranked_rooms(evidence, sites, "magnitude", keep={}, drop={}, step=1)
        ladder = ladder_uniform(rooms)
        larger = ladder[ladder.index(rest) - 1]
        assert clock(cut_of(rooms, larger)).high > 0.6
    both = plan(model, seen, ["units=80%", "latency=50%"], criterion="magnitude", clock=clock)
    assert both.timed is not None
    assert both.timed.high <= 0.5
    with pytest.raises(BudgetError, match="the smallest model takes"):
        plan(model, seen, "latency=50%", criterion="magnitude", clock=lambda _: timed(0.9))


def test_a_latency_that_was_lucky_once_is_timed_again() -> None:
    model, _, seen = digits()
    seen_cuts: list[Cut] = []

    def clock(cut: Cut) -> Timed:  # every cut is fast the first time, and slow from then on
        again = cut in seen_cuts
        seen_cuts.append(cut)
        return timed(0.9 if again or not cut.kept else 0.5)

    found = plan(model, seen, "latency=60%", criterion="magnitude", clock=clock)
    assert seen_cuts.count(found.cut) == 1
    assert found.timed is not None
    assert found.timed.sizes == len(seen_cuts)


def test_the_public_plan_times_really_cut_models() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 2048), nn.ReLU(), nn.Linear(2048, 512)).eval()
    x = torch.randn(256, 64)
    seen = actprune.profile(model, [x])
    found = actprune.plan(
        model, seen, "latency=60%", criterion="magnitude", batches=[x], probes=False
    )
    assert found.timed is not None
    assert found.timed.high <= 0.6
    assert found.targets[0].reached == found.timed.share
    assert (found.timed.batch, found.timed.threads) == (64, torch.get_num_threads())
    assert found.removed
    with pytest.raises(ActpruneError, match="needs data to time"):
        actprune.plan(model, seen, "latency=60%", criterion="magnitude")
