"""Activation functions replaced by straight lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actprune.auditing.activations import find_activations
from actprune.auditing.choosing import half_of
from actprune.auditing.result import Substitution
from actprune.auditing.substitution import fit_maps, substitution
from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.running.evaluate import loss_for
from actprune.running.hashing import model_hash
from actprune.sites.find import survey


def fitted(model: nn.Module, source: Arrays, size: int = 50) -> tuple[list[Batch], dict]:
    batches = list(source.batches(size))
    found, reasons = find_activations(model, batches[0], survey(model, batches[0]).sites)
    assert reasons == {}
    return batches, found


def measured(model: nn.Module, source: Arrays, **options: Any) -> dict[str, Substitution]:
    batches, found = fitted(model, source)
    loss = loss_for(model, batches, None)
    return {s.site: s for s in substitution(model, batches, found, loss, seed=0, **options)}


def pair(f: nn.Module) -> nn.Sequential:
    """Two units z = x and z = -x, one output."""
    first, last = nn.Linear(1, 2), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        last.weight.fill_(1.0)
        first.bias.zero_()
        last.bias.zero_()
    return nn.Sequential(first, f, last).eval()


def test_the_least_squares_line_by_hand() -> None:
    model = pair(nn.ReLU())
    ids = torch.arange(400)
    half = half_of(Batch(args=(), kwargs={}, labels=None, ids=ids), 0)
    x = torch.zeros(400, 1)
    for h in (0, 1):  # -1, 0, 1 equally often in each half
        mine = torch.nonzero(half == h).squeeze(1)
        mine = mine[: len(mine) // 3 * 3]
        x[mine, 0] = torch.tensor([-1.0, 0.0, 1.0]).repeat(len(mine) // 3)
        for i in torch.nonzero(half == h).squeeze(1)[len(mine) :]:
            ids[i] = -1
    keep = ids >= 0
    source = Arrays.of(x).where(lambda i: keep[i])
    batches, found = fitted(model, source)
    maps = fit_maps(model, batches, found, seed=0)["0"]
    # cov(z, relu z) / var z = (1/3) / (2/3); intercept mean(relu z) = 1/3; of the variance 2/9 the
    # line explains 1/2 * 1/3 = 1/6. Sums of whole numbers are exact, the divisions round once or so
    assert maps.slope_FU.tolist() == [[pytest.approx(0.5)] * 2] * 2
    assert maps.intercept_FU.tolist() == [[pytest.approx(1 / 3)] * 2] * 2
    assert maps.explained == pytest.approx(0.75)
    # the output |x| becomes 2/3 everywhere: squared gaps 1/9, 4/9, 1/9 over the variance 2/9
    (site,) = measured(model, source).values()
    assert site.loss_delta == pytest.approx((2 / 9) / (2 / 9), rel=1e-6)


def test_two_values_lie_on_a_line_so_that_nothing_changes() -> None:
    x = torch.tensor([[-1.0], [2.0]]).repeat(100, 1)
    model = pair(nn.GELU())
    with torch.no_grad():
        model.get_parameter("2.weight")[0, 1] = 0.0
    (site,) = measured(model, Arrays.of(x)).values()
    assert site.explained == pytest.approx(1.0)
    # float32 outputs through a line in float64: squared relative gaps of eps^2 and its roundings
    assert site.loss_delta == pytest.approx(0.0, abs=1e-12)


def test_a_linear_network_is_linear() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 8), nn.Identity(), nn.Linear(8, 8), nn.Identity(), nn.Linear(8, 3)
    ).eval()
    x = torch.randn(120, 5)
    found = measured(model, Arrays.of(x, labels=torch.randint(0, 3, (120,))))
    assert list(found) == ["0", "2", "all"]
    for site in found.values():
        assert site.loss_delta == pytest.approx(0.0, abs=1e-6)  # float32
        assert site.activation in ("none", "")


def test_what_is_measured_is_the_loss_with_the_other_halfs_lines() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)
    ).eval()
    before = model_hash(model)
    x, y = torch.randn(120, 5), torch.randint(0, 3, (120,))
    source = Arrays.of(x, labels=y)
    found = measured(model, source)
    assert model_hash(model) == before
    half = half_of(next(source.batches(120)), 0)
    with torch.no_grad():
        z = model[0](x).double()
        a = z.relu()
        line = torch.zeros_like(z)
        for h in (0, 1):
            for u in range(8):
                slope, intercept = np.polyfit(z[half == h, u].numpy(), a[half == h, u].numpy(), 1)
                line[half != h, u] = slope * z[half != h, u] + intercept
        out = [model[2:](t.float()).double() for t in (line, a)]
        losses = [nn.functional.cross_entropy(o, y, reduction="none") for o in out]
    change = (losses[0] - losses[1]).numpy()
    # float32 outputs of order 1 on either side
    assert found["0"].loss_delta == pytest.approx(change.mean(), abs=1e-5)
    assert found["0"].stderr == pytest.approx(change.std(ddof=1) / 120**0.5, rel=1e-3)
    right = (out[0].argmax(1) == y).double().mean().item()
    assert found["0"].metrics["accuracy"] == pytest.approx(right)


def test_the_error_covers_the_mean_over_all_samples() -> None:
    """90 % intervals of 60 disjoint draws around the mean change of the same lines."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    x = torch.randn(60 * 100, 3)
    with torch.no_grad():
        y = model(x).argmax(1)
    truth = measured(model, Arrays.of(x, labels=y))["0"].loss_delta
    covered = 0
    for i in range(60):
        part = slice(100 * i, 100 * i + 100)
        found = measured(model, Arrays.of(x[part], labels=y[part]))["0"]
        assert found.stderr is not None
        covered += abs(found.loss_delta - truth) <= 1.645 * found.stderr
    # binomial at 90 % of 60: four standard errors are 9.3, and refitting lines on 50 samples adds
    # a bias of order (2 of 50) to each change
    assert covered >= 54 - 10


def test_one_half_alone_is_refused() -> None:
    model = pair(nn.ReLU())
    batches, found = fitted(model, Arrays.of(torch.ones(1, 1)))
    loss = loss_for(model, list(Arrays.of(torch.randn(9, 1)).batches()), None)
    with pytest.raises(ActpruneError, match="two halves; give more data"):
        substitution(model, batches, found, loss, seed=0)


def test_tensors_of_another_shape_or_type_stay_so() -> None:
    def hook(_m: nn.Module, args: tuple[Tensor, ...]) -> None:
        shapes.add((args[0].dtype, args[0].shape[1:]))

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3)).eval().bfloat16()
    batches, found = fitted(model, Arrays.of(torch.randn(60, 2, 7, 7).bfloat16()))
    loss = loss_for(model, batches, None)
    shapes: set = set()
    model[2].register_forward_pre_hook(hook)
    substitution(model, batches, found, loss, seed=0)
    assert shapes == {(torch.bfloat16, torch.Size([3, 5, 5]))}
