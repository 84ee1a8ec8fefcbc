from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import actprune
from actprune.errors import ActpruneError
from actprune.profiling.live import windows
from actprune.profiling.live.windows import SiteWindows


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(120, 4, generator=torch.Generator().manual_seed(1))


def by_hand(*counts: int, samples: tuple[int, ...] = ()) -> SiteWindows:
    """One unit, windows of ten samples of two positions each."""
    active = np.array(counts, dtype=np.int64)[:, None]
    held = np.array(samples or (10,) * len(counts), dtype=np.int64)
    return SiteWindows(
        site="a",
        samples=held,
        positions=2 * held,
        samples_active=active,
        positions_active=2 * active,
    )


def test_rates_and_fano_factor_by_hand() -> None:
    found = by_hand(1, 2, 6)
    assert found.rates[:, 0].tolist() == [0.1, 0.2, 0.6]
    assert found.firing_rate.tolist() == [9 / 30]
    assert found.fano.tolist() == [7 / 3]  # (4 + 1 + 9) / 2 over 3


def test_a_unit_that_always_fires_has_no_variance_and_a_silent_one_no_factor() -> None:
    assert by_hand(10, 10).fano.tolist() == [0.0]
    assert np.isnan(by_hand(0, 0).fano).all()


def test_a_fano_factor_is_read_from_windows_of_one_size() -> None:
    assert by_hand(1, 2, 6, 3, samples=(10, 10, 10, 4)).fano.tolist() == [7 / 3]
    with pytest.raises(ActpruneError, match="needs two windows with equally many samples, got 1"):
        _ = by_hand(1, 2, samples=(10, 4)).fano


def test_the_last_window_in_which_a_unit_fired() -> None:
    assert by_hand(3, 0, 2, 0, 0).last_fired.tolist() == [2]
    assert by_hand(0, 0).last_fired.tolist() == [-1]
    assert by_hand(0, 4).last_fired.tolist() == [1]


def test_binomial_counts_have_a_fano_factor_of_one_minus_the_rate() -> None:
    lam = np.repeat([0.1, 0.5, 0.9], 200)
    w, size = 400, 50
    active = np.random.default_rng(0).binomial(size, lam, (w, len(lam)))
    held = np.full(w, size)
    found = SiteWindows(
        site="a", samples=held, positions=held, samples_active=active, positions_active=active
    )
    ratio = (found.fano / (1 - lam)).reshape(3, 200).mean(1)
    # each unit's ratio has a variance near 2 / (w - 1), (w - 1) times it being chi-squared, and a
    # bias below 1 / (size w lambda), from dividing by the mean found; five standard errors
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / (w - 1) / 200) + 1 / (size * w * 0.1)


def test_windows_hold_what_ran_in_them_and_add_up_to_the_profile(x: Tensor) -> None:
    model = mlp().eval()
    parts = x.split(10)
    with actprune.Profiler(model, window=3) as p:
        for part in parts:
            model(part)
    assert (p.windows.passes, len(p.windows)) == (3, 4)
    for site in p.profile.sites:
        found = p.windows.site(site.site.name)
        assert found.samples.tolist() == found.positions.tolist() == [30] * 4
        for mine, whole in (
            (found.samples, site.samples),
            (found.samples_active, site.samples_active),
            (found.positions_active, site.positions_active),
        ):
            assert mine.dtype == np.int64
            np.testing.assert_array_equal(mine.sum(0), whole.sum(0))
        second = actprune.profile(model, x[30:60], like=p.profile).site(site.site.name)
        np.testing.assert_array_equal(found.positions_active[1], second.positions_active.sum(0))


def test_an_unfinished_window_is_left_out_until_it_ends(x: Tensor) -> None:
    model = mlp().eval()
    with actprune.Profiler(model, window=2, every=2) as p:
        model(x)
        assert len(p.windows) == 0
        assert p.windows.site("0").rates.shape == (0, 7)
        assert p.windows.site("0").last_fired.tolist() == [-1] * 7
        model(x)
        model(x)
        assert p.windows.site("0").samples.tolist() == [240]
    with pytest.raises(KeyError):
        p.windows.site("none")


def test_units_are_seen_to_die_along_a_training(x: Tensor) -> None:
    model = mlp()
    with actprune.Profiler(model, window=1) as p:
        for step in range(4):
            if step == 2:
                model[0].bias.data[3] = -1e3  # pyright: ignore
            model(x)
    found = p.windows.site("0")
    assert found.last_fired[3] == 1
    assert (found.rates[:2, 3] > 0).all()
    assert (found.rates[2:, 3] == 0).all()
    assert found.last_fired[found.rates[3] > 0].tolist() == [3] * int((found.rates[3] > 0).sum())


def test_windows_are_joined_where_they_would_take_too_much(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "MOST_BYTES", 16 * 12 * 4)  # four windows of 12 units
    model = mlp().eval()
    p = actprune.Profiler(model, window=1)

    def loop() -> None:
        with p:
            for part in x[:110].split(10):
                model(part)

    with pytest.warns(UserWarning, match="a window is 2 forward passes from now on"):
        loop()
    # joined after 4 passes (to 2) and 8 passes (to 4): two windows of 4 and 3 passes more
    assert p.windows.passes == 4
    found = p.windows.site("0")
    assert found.samples.tolist() == [40, 40]
    for i, part in enumerate(x[:80].split(40)):
        own = actprune.profile(model, part, like=p.profile).site("0")
        np.testing.assert_array_equal(found.positions_active[i], own.positions_active.sum(0))
