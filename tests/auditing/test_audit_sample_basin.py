"""Radii of samples: a linear classifier's are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actprune.auditing import sample_basin as basin
from actprune.auditing.sample_basin import (
    HALVINGS,
    LIMIT,
    Rays,
    compare,
    direction,
    resampled_medians,
    sample_basin,
    sample_rays,
)
from actprune.data.batch import as_batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.running.hashing import model_hash


def linear(classes: int, inputs: int = 6) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, classes).eval()


def true_radii(model: nn.Linear, x: Tensor, ids: Tensor, directions: int, seed: int) -> np.ndarray:
    """Where each ray meets the first hyperplane between its class and another: float64 [S, K]."""
    w, b = model.weight.detach().double(), model.bias.detach().double()
    z = x.double() @ w.T + b
    y = z.argmax(1)
    found = []
    for k in range(directions):
        u = direction(ids, k, x.shape[1:], seed).double()
        # z_y - z_j falls by eps ||x|| (w_j - w_y) u
        margin = z.gather(1, y[:, None]) - z
        slope = (u @ w.T - (u @ w.T).gather(1, y[:, None])) * x.double().norm(dim=1, keepdim=True)
        eps = torch.where(slope > 0, margin / slope, torch.inf)
        eps[torch.arange(len(x)), y] = torch.inf
        found.append(eps.amin(1).numpy())
    return np.stack(found, 1)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_linear_classifiers_radii_are_the_distances_to_its_hyperplanes(classes: int) -> None:
    model = linear(classes)
    x = torch.randn(80, 6)
    rays = sample_rays(model, list(Arrays.of(x).batches(32)), samples=80, directions=4, seed=5)
    truth = true_radii(model, x, torch.arange(80), 4, seed=5)
    assert rays.ids.tolist() == list(range(80))
    near = truth <= LIMIT
    assert 0 < near.mean() < 1  # some rays lead away from every hyperplane
    assert np.isinf(rays.radii[~near]).all()
    # the interval is halved to (1/2)^(HALVINGS + 1) of its upper end, whose middle is reported; on
    # top float32 decides the answer to 1e-5 or so
    assert np.abs(rays.radii[near] / truth[near] - 1).max() <= 2.0 ** -(HALVINGS + 1) + 1e-4
    found = sample_basin(rays, level=0.9, seed=0)
    median = np.median(truth)
    if median <= LIMIT:
        assert found.r50 == pytest.approx(median, rel=2.0**-HALVINGS)
    else:
        assert found.r50 is None
    assert found.never == pytest.approx((~near).mean())
    assert (found.samples, found.of, found.directions) == (80, 80, 4)


def test_r50_by_hand() -> None:
    """x = (1, 0), classes split at the origin: a ray leaves where 1 + eps cos(a) = 0."""
    model = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    x = torch.tensor([[1.0, 0.0]]).repeat(400, 1)
    rays = sample_rays(model, list(Arrays.of(x).batches()), samples=400, directions=4, seed=0)
    # leaves by eps where cos(a) < -1 / eps, at an angle uniform on the circle: a quarter of all
    # rays by eps = sqrt(2), a third by eps = 2, and never half of them
    for eps, share in ((2**0.5, 0.25), (2.0, 1 / 3)):
        got = (rays.radii <= eps).mean()
        assert abs(got - share) <= 4 * (share * (1 - share) / 1600) ** 0.5 + 0.005
    assert sample_basin(rays, level=0.9, seed=0).r50 is None


def test_directions_belong_to_the_sample_whatever_the_batches() -> None:
    model = linear(4)
    x = torch.randn(50, 6)
    found = [
        sample_rays(model, list(Arrays.of(x).batches(size)), samples=50, directions=2, seed=1)
        for size in (7, 50)
    ]
    # float32 products of matrices of other sizes may round otherwise at the very border
    np.testing.assert_allclose(found[0].radii, found[1].radii, rtol=2.0**-HALVINGS)
    u = direction(torch.arange(50), 0, (3, 2), seed=1)
    torch.testing.assert_close(u.flatten(1).norm(dim=1), torch.ones(50))
    assert not torch.equal(u[0], u[1])
    assert not torch.equal(u, direction(torch.arange(50), 1, (3, 2), seed=1))
    assert not torch.equal(u, direction(torch.arange(50), 0, (3, 2), seed=2))


def test_only_correct_samples_count_and_the_model_stays_as_it_was() -> None:
    model = linear(3).train()
    before = model_hash(model)
    x = torch.randn(60, 6)
    with torch.no_grad():
        y = model(x).argmax(1)
    wrong = torch.arange(60) % 3 == 0
    y[wrong] = (y[wrong] + 1) % 3
    source = Arrays.of(x, labels=y)
    rays = sample_rays(model, list(source.batches(16)), samples=60, directions=1, seed=0)
    assert rays.ids.tolist() == torch.nonzero(~wrong).squeeze(1).tolist()
    assert rays.of == 60
    assert model.training
    assert model_hash(model) == before
    few = list(Arrays.of(x[wrong], labels=y[wrong]).batches())
    with pytest.raises(ActpruneError, match="no sample is classified correctly"):
        sample_rays(model, few, samples=60, directions=1, seed=0)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids)


@pytest.mark.parametrize(
    ("model", "x", "y", "said"),
    [
        (Tokens(), torch.zeros(4, 3).long(), None, "tokens or indices, which have no norm"),
        (nn.Linear(3, 1), torch.ones(4, 3), None, "one number a sample, so no answer"),
        (nn.Linear(3, 2), torch.ones(4, 3), torch.zeros(4, 2), "are numbers, not classes"),
        (nn.Linear(3, 2), torch.ones(4, 5, 3), None, "several answers a sample"),
    ],
)
def test_where_there_is_no_basin(model: nn.Module, x: Tensor, y: Tensor | None, said: str) -> None:
    batches = list(Arrays.of(x, labels=y).batches())
    with pytest.raises(ActpruneError, match=said):
        sample_rays(model, batches, samples=4, directions=1, seed=0)


def test_one_input_of_several_cannot_be_chosen() -> None:
    batch = as_batch((torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2).long()), 0)
    with pytest.raises(ActpruneError, match="2 inputs hold numbers"):
        basin.input_of(batch)


def test_an_interval_resamples_whole_samples() -> None:
    # two samples of two rays each: resampled medians are 1, 3 or the middle, 2
    rays = Rays(ids=np.arange(2), radii=np.array([[1.0, 1.0], [3.0, 3.0]]), of=2)
    (medians,) = resampled_medians([rays.radii], seed=0)
    assert set(medians.tolist()) == {1.0, 2.0, 3.0}
    # one in four: 2,000 draws, four standard errors
    assert abs((medians == 1.0).mean() - 0.25) <= 4 * (0.25 * 0.75 / 2000) ** 0.5
    found = sample_basin(rays, level=0.9, seed=0)
    assert (found.r50, found.low, found.high) == (2.0, 1.0, 3.0)
    assert found.quantiles["0.25"] == 1.0


def test_the_interval_covers_the_true_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basin, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(300):
        # rays of one sample share its size: log-normal around 1, median 1
        size = rng.normal(size=(60, 1)) + 0.5 * rng.normal(size=(60, 4))
        rays = Rays(ids=np.arange(60), radii=np.exp(size), of=60)
        found = sample_basin(rays, level=0.9, seed=i)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.0 <= found.high
    # 300 trials: four binomial standard errors of .9 are .069
    assert abs(covered / 300 - 0.9) <= 0.07


def test_two_models_are_compared_on_what_both_handle() -> None:
    one = Rays(ids=np.array([1, 2, 3]), radii=np.array([[2.0], [4.0], [6.0]]), of=4)
    two = Rays(ids=np.array([2, 3, 9]), radii=np.array([[2.0], [3.0], [1.0]]), of=4)
    found = compare(one, two, level=0.9, seed=0)
    assert found is not None
    assert (found.samples, found.r50, found.r50_against, found.ratio) == (2, 5.0, 2.5, 2.0)
    assert (found.low, found.high) == (2.0, 2.0)  # each sample's ratio is 2
    assert (
        compare(one, Rays(ids=np.array([7]), radii=np.ones((1, 1)), of=1), level=0.9, seed=0)
        is None
    )
    far = Rays(ids=np.array([2, 3]), radii=np.full((2, 1), np.inf), of=2)
    beyond = compare(one, far, level=0.9, seed=0)
    assert beyond is not None
    assert (beyond.ratio, beyond.low, beyond.high, beyond.r50_against) == (None,) * 4
