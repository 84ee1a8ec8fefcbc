from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from actprune.theory import expected_working
from benchmarks import scaling_study
from benchmarks.harness import rows
from benchmarks.scaling import counting, figures, grid, order_study, training
from benchmarks.scaling.images import Images
from benchmarks.scaling.laws import fit_laws
from benchmarks.scaling.losses import BENDS, fit_losses

D = np.array(grid.DATA, dtype=np.float64)


def test_order_share_follows_its_definition() -> None:
    pre = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)) + torch.linspace(-3, 3, 5)
    post = pre.relu()
    up = (pre[:, None] > pre[None]) & (post[:, None] > post[None])  # pairs [30, 30, 5]
    kept = up.sum((0, 1)).numpy() / (30 * 29 / 2)
    shares = counting.order_shares((pre > 0).sum(0).numpy(), 30)
    # both are ratios of whole numbers below 1000: rounding of one division and one subtraction
    assert np.allclose(shares, kept, rtol=0, atol=1e-14)


def test_windows_are_what_the_layers_do() -> None:
    net = training.new_net(grid.Run(arm="two", width=7, layers=2, samples=10, seed=3))
    x = torch.randn(25, 784, generator=torch.Generator().manual_seed(0))
    first, second = counting.windows(net, x, 10)
    h = net[1](net[0](x))
    assert [len(first), len(second)] == [3, 3]  # the last is half as long
    assert (first[1] == (h[10:20] > 0).sum(0).numpy()).all()
    assert (second.sum(0) == (net[2](h) > 0).sum(0).numpy()).all()
    assert (counting.fired(net, x)[0] == first.sum(0)).all()


def test_each_law_finds_its_own_parameters() -> None:
    N, b, c = 400, 0.3, 8.0
    M = b * N / c
    exact = fit_laws(D, expected_working(D, N=N, b=b, c=c), N, c)
    published = fit_laws(D, -N * np.expm1(-b * np.log1p(D / M)), N, c)
    for fits, form in ((exact, "exact"), (published, "published")):
        # a search stops within 1e-8 of its cost, whose root 1e-4 is far below these
        assert fits[f"{form}, c measured"].parameters["b"] == pytest.approx(b, rel=1e-3)
        assert fits[f"{form}, c measured"].r2 == pytest.approx(1, abs=1e-5)
        assert fits[f"{form}, c fitted"].parameters["b"] == pytest.approx(b, rel=1e-2)
    assert exact["constant"].r2 == pytest.approx(0, abs=1e-6)  # by definition


def test_a_constant_is_no_law() -> None:
    fits = fit_laws(D, np.full(len(D), 40.0), 50, 25.0)
    assert min(fits.values(), key=lambda f: f.aicc).law == "constant"
    assert np.isnan(fits["constant"].r2)


def test_a_loss_that_bends_is_told_from_one_that_does_not() -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=21)
    size = np.tile(D, 3)
    straight = fit_losses(size, 5 * size**-0.4 * np.exp(noise))
    assert straight["power law"].parameters["beta"] == pytest.approx(0.4, abs=0.01)  # 4 errors
    assert min(straight.values(), key=lambda f: f.aicc).law != BENDS
    broken = fit_losses(size, np.where(size < 3_000, size**-0.2, 3_000**0.4 * size**-0.6))
    best = min(broken.values(), key=lambda f: f.aicc)
    assert best.law == BENDS
    # the search looks every 600**(1/59), a factor of 1.12
    assert best.parameters["D0"] == pytest.approx(3_000, rel=0.12)
    assert best.parameters["turn"] == pytest.approx(0.4, abs=0.03)


def test_runs_differ_only_in_what_they_say() -> None:
    pool = Images(
        x=torch.randn(500, 784), y=torch.arange(500) % 10,
        other_x=torch.randn(100, 784), other_y=torch.arange(100) % 10,
    )  # fmt: skip
    small = grid.Run(arm="plain", width=4, layers=1, samples=50, seed=1)
    large = grid.Run(arm="plain", width=4, layers=1, samples=200, seed=1)
    noisy = grid.Run(arm="labels", width=4, layers=1, samples=200, seed=1, noise=1.0)
    x, y = training.training_set(large, pool)
    assert torch.equal(training.training_set(small, pool)[0], x[:50])  # nested
    same_x, other_y = training.training_set(noisy, pool)
    assert torch.equal(same_x, x)
    assert (other_y == y).double().mean() < 0.25  # expected .1, 200 labels: .15 is 7 errors away
    first, again = training.new_net(small), training.new_net(noisy)
    assert torch.equal(first.state_dict()["0.weight"], again.state_dict()["0.weight"])
    assert len({run.key for run in grid.full()}) == len(list(grid.full()))


def test_counts_of_one_urn_run_twice_are_not_correlated() -> None:
    """The order study's two answers on made-up nets: independent rates, and the same rates."""
    rng = np.random.default_rng(0)
    rates = rng.beta(0.5, 1.0, (3, 2_000))

    def row(rate: np.ndarray, seed: int, order: int) -> dict:
        counts = rng.binomial(10_000, rate).tolist()
        layer = {"counts_untrained": counts, "counts_test": counts, "test": {"n": 10_000}}
        return {"arm": "orders", "seed": seed, "order": order, "subset": None,
                "layer_results": [layer]}  # fmt: skip

    fixed = [row(rates[0], 0, 0), row(rates[0], 0, 1)]
    urns = [row(rates[1], 0, 0), row(rates[2], 0, 1)]
    assert order_study.agreements(fixed, "orders")["another order"].mean > 0.99
    assert order_study.shared_variance(fixed, "orders") > 0.99
    # 2,000 independent units: standard error .022
    assert abs(order_study.agreements(urns, "orders")["another order"].mean) < 0.1
    assert abs(order_study.shared_variance(urns, "orders")) < 0.1


def test_the_quick_form_runs_every_arm_and_resumes(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(scaling_study.tempfile, "mkdtemp", lambda: str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["scaling_study", "--quick"])
    torch.manual_seed(0)
    scaling_study.main()
    said = capsys.readouterr().out
    found = rows(str(tmp_path / "scaling_study"))
    assert len(found) == len(list(grid.quick()))
    assert {r["arm"] for r in found} == set(grid.Arm.__args__)
    assert "| claim | criterion | verdict (cases) |" in said
    json.dumps(found, allow_nan=False)  # every row is plain JSON
    for row in found:
        assert len(row["layer_results"]) == row["layers"]
        assert row["steps"] <= row["cap"]
        for layer in row["layer_results"]:
            assert layer["live"]["working"][-1] >= layer["live"]["working"][0]
    for content in figures.drawn(found).values():
        assert content.startswith("<svg xmlns")
        assert "nan" not in content
    path = tmp_path / "scaling_study.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    scaling_study.run(str(tmp_path / "scaling_study"), small=True)
    again = rows(str(tmp_path / "scaling_study"))
    assert len(again) == len(found)
    # the same net again, bit by bit: everything but the clock
    clock = ("seconds", "train_seconds", "time")
    assert {k: v for k, v in again[-1].items() if k not in clock} == {
        k: v for k, v in found[-1].items() if k not in clock
    }
