"""Order shares of a network's sites."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actprune.auditing.activations import find_activations
from actprune.auditing.order import EPS, GAP, order
from actprune.auditing.pairs import comparable_pairs, kept_pairs_by_definition
from actprune.auditing.result import SiteOrder
from actprune.data.source import Arrays
from actprune.running.state import undisturbed
from actprune.sites.find import survey


class Abs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def net(f: nn.Module, width: int = 32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, width), f, nn.Linear(width, 2)).eval()


def measured(model: nn.Module, x: Tensor, size: int = 64, seed: int = 0) -> SiteOrder:
    batches = list(Arrays.of(x).batches(size))
    sites = survey(model, batches[0]).sites
    with undisturbed(model):
        found, _ = find_activations(model, batches[0], sites)
    (one,) = order(model, batches, found, seed=seed)
    return one


X = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))


def test_a_relu_is_the_formula_and_its_classes() -> None:
    model = net(nn.ReLU())
    with torch.no_grad():
        model.get_parameter("0.bias")[0], model.get_parameter("0.bias")[1] = 100.0, -100.0
        z = model[0](X)
    found = measured(model, X)
    off = (z <= 0).sum(0).double()
    shares = 1 - off * (off - 1) / (300 * 299)
    assert found.unit_shares == pytest.approx(shares.tolist(), abs=5e-7)  # written to 6 digits
    assert found.share == pytest.approx(shares.mean().item(), rel=1e-12)
    assert found.preserving == int((shares >= 1 - EPS).sum())
    assert (found.always_on, found.mixed, found.always_off) == (1, 30, 1)
    assert (found.rows, found.samples, found.units, found.gap) == (300, 300, 32, 0.0)
    assert np.sum(found.ranks) == pytest.approx(1)


def test_no_activation_function_keeps_every_pair() -> None:
    found = measured(net(nn.Identity()), X)
    assert (found.share, found.stderr, found.preserving) == (1.0, 0.0, 32)
    assert found.always_on is None
    ranks = np.array(found.ranks)
    assert np.count_nonzero(ranks - np.diag(np.diag(ranks))) == 0


def test_the_absolute_value_keeps_half() -> None:
    model = net(Abs(), width=64)
    with torch.no_grad():
        model.get_parameter("0.bias").zero_()
    found = measured(model, torch.cat([X, -X]))  # each unit exactly symmetric about 0
    # pairs +-x, +-y: of the four, half keep their order whatever x and y; x against -x never does
    assert found.share == pytest.approx((300 * 299 * 2 / 2) / (600 * 599 / 2), rel=1e-3)


@pytest.mark.parametrize("f", [nn.GELU(), nn.SiLU(), nn.Tanh()])
def test_smooth_functions_are_held_to_a_gap(f: nn.Module) -> None:
    model = net(f)
    found = measured(model, X)
    with torch.no_grad():
        z = model[0](X).T
        a = f(model[0](X)).T
    rms = float(a.double().square().mean().sqrt())
    assert found.gap == pytest.approx(GAP * rms, rel=1e-6)
    kept = kept_pairs_by_definition(z, a, found.gap).double() / comparable_pairs(z)
    assert found.share == pytest.approx(kept.mean().item(), rel=1e-12)


def test_rounding_alone_does_not_decide_where_a_tanh_is_flat() -> None:
    model = net(nn.Tanh())
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(0.1)
        model.get_parameter("0.bias").fill_(6.0)  # outputs differ in their last digits
    found = measured(model, X)
    assert found.share == 0.0
    assert found.preserving == 0


def test_positions_are_drawn_when_there_are_many() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(2 * 144, 2)
    ).eval()
    x = torch.randn(64, 1, 16, 16)
    batches = list(Arrays.of(x).batches(64))
    sites = [s for s in survey(model, batches[0]).sites if s.name == "0"]
    found, _ = find_activations(model, batches[0], sites)
    (one,) = order(model, batches, found, seed=0)
    assert (one.rows, one.samples) == (2048, 64)
    with torch.no_grad():
        z = model[0](x).transpose(0, 1).flatten(1)
    n = z.shape[1]
    off = (z <= 0).sum(1).double()
    truth = (1 - off * (off - 1) / (n * (n - 1))).mean().item()
    assert one.stderr is not None
    assert abs(one.share - truth) <= 4 * one.stderr  # pyright: ignore[reportOptionalOperand]


def test_the_error_is_the_spread_of_repeated_samples() -> None:
    """The root mean square of 40 errors against the spread of 40 shares; eight groups a share."""
    gen = torch.Generator().manual_seed(3)
    model = net(nn.ReLU(), width=4)
    found = [measured(model, torch.randn(200, 6, generator=gen), size=200) for _ in range(40)]
    spread = np.std([f.share for f in found if f.share is not None], ddof=1)
    error = np.sqrt(np.mean([f.stderr**2 for f in found if f.stderr is not None]))
    # ratio of a standard deviation on 39 degrees of freedom to one on 40 * 7: four of its relative
    # errors, 1 / sqrt(2 * 39) and 1 / sqrt(2 * 280); groups of 25 have a little more than 1 / 8 of
    # the variance, by a term of order 1 / 25
    four = 4 * (1 / 78 + 1 / 560) ** 0.5
    assert 1 - four <= error / spread <= (1 + four) * 1.04


def test_too_few_samples_have_a_share_but_no_error() -> None:
    found = measured(net(nn.ReLU()), X[:9])
    assert found.share is not None
    assert found.stderr is None
