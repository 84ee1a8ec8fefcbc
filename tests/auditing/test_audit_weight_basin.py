"""Radii of the weights: a linear regression's are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actprune.auditing import crossing
from actprune.auditing.crossing import crossings, median_crossing, search
from actprune.auditing.result import WeightBasin
from actprune.auditing.weight_basin import perturbed_layers, relative_noise, weight_basin
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.running.evaluate import loss_for
from actprune.running.hashing import model_hash


def measured(model: nn.Module, source: Arrays, loss: str | None = None, **options) -> WeightBasin:
    batches = list(source.batches(64))
    asked = {"rise": 0.5, "samples": 200, "directions": 5, "level": 0.9, "seed": 0, **options}
    return weight_basin(model, batches, loss_for(model, batches, loss), **asked)


def test_a_regressions_radius_in_closed_form() -> None:
    """The loss rises by eps^2 ||w||^2 mean (x u)^2 along a direction u of norm 1."""
    torch.manual_seed(0)
    model = nn.Linear(6, 1).eval()
    x = torch.randn(150, 6)
    with torch.no_grad():
        y = model(x)
    found = measured(model, Arrays.of(x, labels=y), rise=0.3)
    radii = []
    for k in range(5):
        noise = relative_noise({"": model}, k, seed=0)[""]  # ||w|| u
        radii.append((0.3 / (x @ noise.T).square().mean().item()) ** 0.5)
    assert found.loss is not None
    # between two tried radii, 1/16 apart at most, a straight line replaces the parabola: off by
    # h^2 / (8 eps) with h <= eps / 8, so by 1/512; float32 outputs besides
    assert found.loss.radius == pytest.approx(np.median(radii), rel=1 / 512 + 1e-4)
    assert found.loss.threshold == 0.3
    assert found.answers is None  # numbers are no answers
    assert (found.layers, found.samples, found.directions) == (1, 150, 5)
    assert found.params == pytest.approx(6 / 7)
    low, radius, high = found.loss.low, found.loss.radius, found.loss.high
    assert low is not None
    assert radius is not None
    assert high is not None
    assert low <= radius <= high


def test_a_classifiers_answers_change_where_half_have_changed() -> None:
    """One input x = 1 and two logits w1, w2: the answer changes where their order does."""
    model = nn.Linear(1, 2, bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [0.0]]))
    source = Arrays.of(torch.ones(20, 1), labels=torch.zeros(20).long())
    found = measured(model, source, directions=9)
    radii = []
    for k in range(9):
        u = relative_noise({"": model}, k, seed=0)[""].flatten()  # ||W|| = 1
        slope = (u[1] - u[0]).item()
        radii.append(1 / slope if slope > 1 / 8 else np.inf)
    median = np.median(radii)
    assert found.answers is not None
    if np.isfinite(median):
        # all answers flip at once, so the crossing lies half way between the last two radii tried
        assert found.answers.radius == pytest.approx(median, rel=1 / 16)
    else:
        assert found.answers.radius is None


def test_the_model_is_never_written() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(4 * 36, 3)).train()
    before = model_hash(model)
    versions = [p._version for p in model.parameters()]
    found = measured(model, Arrays.of(torch.randn(40, 1, 8, 8)), directions=2)
    assert model_hash(model) == before
    assert [p._version for p in model.parameters()] == versions
    assert model.training
    assert found.layers == 2


def test_noise_is_as_long_as_each_layers_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 7)).eval()
    layers = perturbed_layers(model, next(Arrays.of(torch.randn(3, 5)).batches()))
    noise = relative_noise(layers, 0, seed=0)
    for name, layer in layers.items():
        torch.testing.assert_close(noise[name].norm(), layer.weight.norm().detach())
    assert not torch.equal(noise["1"] / noise["1"].norm(), noise["2"] / noise["2"].norm())
    again, other = relative_noise(layers, 0, seed=0), relative_noise(layers, 1, seed=0)
    assert torch.equal(again["1"], noise["1"])
    assert not torch.equal(other["1"], noise["1"])


class Own(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def test_only_layers_that_run_and_compute_what_their_class_says() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.own, self.idle = nn.Linear(4, 4), Own(4, 4), nn.Linear(4, 4)
            self.mirrored = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")

        def forward(self, x: Tensor) -> Tensor:
            return self.own(self.plain(self.mirrored(x[:, None])[:, 0])).mean(1)

    batch = next(Arrays.of(torch.randn(3, 4, 4)).batches())
    assert list(perturbed_layers(Net().eval(), batch)) == ["plain"]
    with pytest.raises(ActpruneError, match="no linear or convolutional layer to perturb"):
        measured(nn.Flatten(), Arrays.of(torch.randn(9, 3)))


def test_the_search_doubles_and_then_halves() -> None:
    asked: list[float] = []

    def evaluate(eps: float) -> dict[str, np.ndarray]:
        asked.append(eps)
        return {"a": np.full(3, eps), "b": np.full(3, eps**2)}

    found = search(evaluate, {"a": 0.7, "b": 100.0}, smallest=0.25, limit=2.0, halvings=2)
    # a: .25, .5, 1 passed, and one more; halved to .75, .625; b: at the limit, 2, not passed
    assert asked == [0.25, 0.5, 1.0, 2.0, 0.75, 0.625]
    assert list(found) == [0.0, 0.25, 0.5, 0.625, 0.75, 1.0, 2.0]
    even = np.full((3, 1), 1 / 3)
    assert crossings(found, "a", 0.7, even) == pytest.approx([0.7])  # a straight line is exact
    assert crossings(found, "b", 100.0, even).tolist() == [np.inf]


def test_an_infinite_loss_is_a_crossing() -> None:
    def evaluate(eps: float) -> dict[str, np.ndarray]:
        return {"a": np.array([0.0, np.nan if eps > 1 else 0.0])}

    found = search(evaluate, {"a": 0.5}, smallest=0.5, limit=4.0, halvings=3)
    even = np.full((2, 1), 0.5)
    assert crossings(found, "a", 0.5, even) == pytest.approx([1.0])


def test_the_interval_covers_the_true_median(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rise eps^2 d_k c_s, d_k and c_s log-normal: radius 1 / sqrt(d_k mean c) for threshold 1."""
    monkeypatch.setattr(crossing, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    grid = np.concatenate([[0.0], np.geomspace(0.05, 20, 120)])
    covered = 0
    for i in range(200):
        d, c = np.exp(rng.normal(size=12)), np.exp(0.5 * rng.normal(size=60) - 0.125)
        curves = [{e: {"a": e**2 * dk * c} for e in grid} for dk in d]
        found = median_crossing(curves, "a", 1.0, np.arange(60), level=0.9, seed=i)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.0 <= found.high  # the median of d is 1 and the mean of c
    # at least the level, less four binomial standard errors of .085; resampling both ways is wide
    assert covered / 200 >= 0.9 - 0.085
