"""The local forecast: exact where the loss is quadratic and the network linear."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import scipy.stats
import torch
from torch import nn

from actprune.data.source import Arrays
from actprune.data.split import Part, heldout, in_parts
from actprune.errors import BudgetError
from actprune.planning.local import local_forecast
from actprune.planning.plan import plan
from actprune.planning.probed import probed_forecast
from actprune.profiling.collect import profile
from actprune.refit.sequential import compensate
from actprune.refit.settings import Compensation
from actprune.running.evaluate import changes
from actprune.running.loss import LOSSES
from actprune.running.substitute import Affine
from actprune.sites.cut import Cut
from actprune.sites.find import survey

CUT = {"0": [0, 2], "2": [1, 3, 4]}


def net(activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 7), activation(), nn.Linear(7, 6), activation(), nn.Linear(6, 3)
    ).double()


def data(n: int, labels: str) -> Arrays:
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=gen, dtype=torch.float64)
    y = torch.randn(n, 3, generator=gen, dtype=torch.float64)
    if labels == "classes":
        y = y.argmax(1)
    return Arrays.of(x, labels=None if labels == "none" else y)


def cut_weights(model: nn.Module, source: Arrays, kind: str) -> Mapping[str, Affine]:
    batches = list(source.batches())
    sites = survey(model, batches[0]).sites
    settings = Compensation.model_validate({"kind": kind})
    return compensate(model, sites, Cut.removing(sites, CUT), settings, batches[:1], seed=0)


def partway(model: nn.Module, maps: Mapping[str, Affine], share: float) -> dict[str, Affine]:
    """Weights moved a share of the way to `maps`."""
    part = {}
    for name, to in maps.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        assert to.bias is not None
        part[name] = Affine(
            weight=layer.weight + share * (to.weight - layer.weight),
            bias=layer.bias + share * (to.bias - layer.bias),
        )
    return part


@pytest.mark.parametrize("kind", ["none", "mean", "refit"])
def test_it_is_exact_for_a_linear_network_and_squared_errors(kind: str) -> None:
    model, source = net(nn.Identity), data(300, "values")
    maps = cut_weights(model, source, kind)
    found = local_forecast(model, maps, source.batches(), LOSSES["mse"], level=0.9)
    measured = changes(model, maps, source.batches(), LOSSES["mse"])
    # float64, sums of a few terms of order 1
    assert found.loss_delta == pytest.approx(measured.mean(), abs=1e-12)
    # the second order leaves nothing out, so the interval is the mean's alone
    t = scipy.stats.ttest_1samp(measured, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((t.low, t.high), abs=1e-10)
    assert (found.level, found.samples, found.method) == (0.9, 300, "local")
    tried = probed_forecast(model, maps, source.batches(), LOSSES["mse"], level=0.9)
    assert (tried.low, tried.high) == pytest.approx((t.low, t.high), abs=1e-12)
    assert (tried.loss_delta, tried.method) == (pytest.approx(measured.mean()), "probed")


def test_a_linear_networks_divergence_from_itself_is_exact_too() -> None:
    model, source = net(nn.Identity), data(200, "none")
    maps = cut_weights(model, source, "none")
    loss = LOSSES["kl"]
    small = partway(model, maps, 1e-3)
    found = local_forecast(model, small, source.batches(), loss, level=0.9)
    measured = changes(model, small, source.batches(), loss).mean()
    # the third order is a thousandth of the second
    assert found.loss_delta == pytest.approx(measured, rel=5e-3)
    assert found.loss_delta > 0


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_small_cuts_of_a_nonlinear_network_agree(activation: type[nn.Module]) -> None:
    model, source = net(activation), data(300, "classes")
    maps = cut_weights(model, source, "mean")
    loss = LOSSES["cross_entropy"]

    def gap(share: float) -> float:
        """|foreseen - tried| for weights moved part of the way to the cut ones."""
        part = partway(model, maps, share)
        found = local_forecast(model, part, source.batches(), loss, level=0.9).loss_delta
        return abs(
            found - probed_forecast(model, part, source.batches(), loss, level=0.9).loss_delta
        )

    # the forecast is right to first order in the share, so a tenth of it leaves a hundredth, give
    # or take single samples that cross a kink; where none does the network is linear: rounding
    rounding = 1e-15
    assert gap(0.01) < max(10**-1.5 * gap(0.1), rounding)
    assert gap(0.001) < max(10**-1.5 * gap(0.01), rounding)
    assert gap(0.1) > 1e-9


def test_it_is_the_loss_of_the_linear_network_widened_by_what_the_second_order_leaves_out() -> None:
    model, source = net(nn.ReLU), data(150, "classes")
    head = model[4]  # the last layer: linear from there on
    assert isinstance(head, nn.Linear)
    gen = torch.Generator().manual_seed(1)
    large = head.weight + 3 * torch.randn(head.weight.shape, generator=gen, dtype=torch.float64)
    maps = {"4": Affine(weight=large.detach(), bias=head.bias.detach())}
    loss = LOSSES["cross_entropy"]
    found = local_forecast(model, maps, source.batches(), loss, level=0.8)
    tried = probed_forecast(model, maps, source.batches(), loss, level=0.8)
    assert found.loss_delta == pytest.approx(tried.loss_delta, rel=1e-9)
    x, y = source.inputs[0], source.labels
    assert y is not None
    with torch.no_grad():
        dense, change = model(x), model[:4](x) @ (large - head.weight).T
    p = dense.softmax(1)
    g = p - nn.functional.one_hot(y, 3)  # g t + t H t / 2 with H = diag p - p p^T, written out
    second = (g * change).sum(1) + (p * change.square()).sum(1) / 2 - (p * change).sum(1) ** 2 / 2
    entropy = nn.functional.cross_entropy
    beyond = (entropy(dense + change, y) - entropy(dense, y) - second.mean()).item()
    assert abs(beyond) > 0.01
    for wide, narrow in ((found.high, tried.high), (found.low, tried.low)):
        half = ((narrow - tried.loss_delta) ** 2 + beyond**2) ** 0.5
        assert abs(wide - found.loss_delta) == pytest.approx(half)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ("classes", "cross_entropy (nats)"),
        ("values", "mean squared error"),
        ("none", "KL(dense || pruned) of the outputs (nats), no labels"),
    ],
)
def test_a_plans_forecast_is_made_on_samples_that_nothing_else_has_read(
    labels: str, kind: str
) -> None:
    model, source = net(nn.ReLU), data(600, labels)
    seen = profile(model, source, leave_out=True)
    made = plan(model, seen, "units=60%", batches=source, probes=False)
    assert made.loss_kind == kind
    assert made.forecast is not None
    seen_ids, checking = ~heldout(source.ids, 0), in_parts(source.ids, 0, Part.CHECK)
    inside = seen_ids & checking
    check = source.where(lambda ids: inside[ids])
    fit = source.where(lambda ids: (seen_ids & ~checking)[ids])
    maps = compensate(
        model, made.all_sites, made.cut, made.compensation, list(fit.batches()), seed=0
    )
    name = {"classes": "cross_entropy", "values": "mse", "none": "kl"}[labels]
    for kept, make in ((made.forecast, probed_forecast), (made.local, local_forecast)):
        again = make(model, maps, check.batches(), LOSSES[name], level=0.9)
        assert kept is not None
        assert (kept.samples, kept.method) == (int(inside.sum()), again.method)
        assert kept.loss_delta == pytest.approx(again.loss_delta, rel=1e-9)
        assert (kept.low, kept.high) == pytest.approx((again.low, again.high))


def test_a_loss_target_is_kept_by_the_upper_end_of_the_forecast() -> None:
    model, source = net(nn.ReLU), data(600, "classes")
    seen = profile(model, source)
    sizes = []
    for bound in (0.02, 0.1, 0.5):
        made = plan(model, seen, f"loss=+{bound}", batches=source, probes=False)
        assert made.forecast is not None
        assert made.tried is not None  # on samples that the forecast has not read
        assert made.tried.chosen.forecast.high <= bound
        assert made.tried.chosen.forecast != made.forecast
        assert made.targets[0].reached == made.forecast.loss_delta
        sizes.append(made.after.params)
    assert sizes[0] >= sizes[1] >= sizes[2]
    assert sizes[2] < made.before.params


def test_a_loss_target_out_of_reach_is_refused() -> None:
    model, source = net(nn.ReLU), data(600, "classes")
    seen = profile(model, source)
    forced = [f"0:{u}" for u in range(6)]
    with pytest.raises(BudgetError) as e:
        plan(model, seen, "loss=+1e-9", drop=forced, batches=source, probes=False)
    assert str(e.value).startswith(
        "Target loss=+1e-09 cannot be met: even the least cut exceeds it; it changes the loss "
    )
    assert "(tried 1 size on " in str(e.value)
    with pytest.raises(BudgetError) as e:
        plan(model, seen, ["units=20%", "loss=+1e-9"], batches=source, probes=False)
    assert str(e.value).startswith(
        "Target loss=+1e-09 cannot be met together with the cost targets: they are forecast to "
        "change the loss by "
    )
    both = plan(model, seen, ["units=60%", "loss=+9"], batches=source, probes=False)
    assert [t.target.kind for t in both.targets] == ["units", "loss"]
    assert both.tried is not None
    assert both.tried.sizes == 1
    assert both.tried.chosen.forecast.high <= 9
