"""What criteria read from the data, against autograd and plain numpy, without a trace."""

from __future__ import annotations

import copy
from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.criteria import CRITERIA
from actprune.planning.evidence import gather
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation


class Net(nn.Module):
    """A convolution, its batch normalization, one more, and a flattened linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(2, 5, 3, padding=1)
        self.n = nn.BatchNorm2d(5)
        self.b = nn.Conv2d(5, 4, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.c = nn.Linear(4 * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.n(self.a(x)))
        return self.c(self.drop(self.b(x).relu()).flatten(1))


def images(n: int = 60) -> Tensor:
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def labels(n: int = 60) -> Tensor:
    return torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(2))


def data(*, labelled: bool = True) -> Arrays:
    return Arrays.of(images(), labels=labels() if labelled else None, spec="mine")


@cache
def seen() -> Profile:
    return profile(Net(), data())


def batches(size: int, *, labelled: bool = True) -> list[Batch]:
    ids = torch.arange(60)
    return [
        Batch(args=(images()[i],), kwargs={}, labels=labels()[i] if labelled else None, ids=ids[i])
        for i in ids.split(size)
    ]


def gathered(model: nn.Module, some: list[Batch]):
    sites = [s.site for s in seen().sites]
    return gather(model, seen(), sites, some, seed=0)


def activations(model: Net) -> tuple[Tensor, Tensor]:
    """What the consumers of a and b read, [n, U, P] in float64."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        a = F.gelu(model.n(model.a(images())))
        b = model.b(a).relu()
    return a.flatten(2).double(), b.flatten(2).double()


def test_sizes_are_those_of_the_activations() -> None:
    found = gathered(Net(), batches(7))
    for name, a in zip("ab", activations(Net()), strict=True):
        size = found[name].sizes()
        # float32 activations of another batch size differ in their last bits
        mean = a.abs().mean((0, 2))
        np.testing.assert_allclose(size.mean_abs, mean, rtol=1e-5, atol=1e-7)
        norm = a.abs().mean(2).square().sum(0).sqrt()
        np.testing.assert_allclose(size.sample_norm, norm, rtol=1e-5, atol=1e-7)
        assert size.nonzero.tolist() == (a != 0).double().mean((0, 2)).tolist()


def test_slopes_are_derivatives_of_each_samples_loss_by_a_factor_on_the_unit() -> None:
    model = Net().double().eval()
    some = [
        Batch(args=(b.args[0].double(),), kwargs={}, labels=b.labels, ids=b.ids) for b in batches(7)
    ]
    found = gathered(model, some)

    def losses(z_a: Tensor, z_b: Tensor) -> Tensor:
        a = F.gelu(model.n(model.a(images().double()))) * z_a[:, None, None]
        b = model.b(a).relu() * z_b[:, None, None]
        return F.cross_entropy(model.c(b.flatten(1)), labels(), reduction="none")

    ones = torch.ones(5).double(), torch.ones(4).double()
    for name, jacobian_SU in zip("ab", torch.func.jacrev(losses, (0, 1))(*ones), strict=True):
        expected = jacobian_SU.detach().square().mean(0)
        np.testing.assert_allclose(found[name].slope(), expected, rtol=1e-9)  # float64 sums


@pytest.mark.parametrize("what", ["sizes", "slope"])
def test_the_model_stays_as_it_was(what: str) -> None:
    model = Net().train()
    model.a.weight.requires_grad_(False)
    model.b.weight.grad = torch.full_like(model.b.weight, 7.0)
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    getattr(gathered(model, batches(30))["a"], what)()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(m.training for m in model.modules())
    grads = [n for n, p in model.named_parameters() if p.grad is not None]
    assert grads == ["b.weight"]
    assert model.b.weight.grad.eq(7.0).all()  # pyright: ignore
    flags = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert flags == ["a.weight"]
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_one_reading_serves_all_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    plain = Batch.run
    monkeypatch.setattr(Batch, "run", lambda b, m: runs.append(len(b)) or plain(b, m))
    found = gathered(Net(), batches(30))
    assert runs == []
    for _ in range(2):
        for e in found.values():
            e.sizes()
    assert runs == [30, 30]


@pytest.mark.parametrize("kind", get_args(Compensation.model_fields["kind"].annotation))
@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_goes_with_every_compensation(criterion: str, kind) -> None:
    made = plan(
        Net(), seen(), "units=50%", criterion=criterion, compensation=Compensation(kind=kind),
        batches=data(), probes=False,
    )  # fmt: skip
    assert made.criterion == criterion
    assert [len(p.kept) for p in made.sites] == [2, 2]
    order = CRITERIA[criterion](gathered(Net(), batches(60))[made.sites[0].site.name]).order
    assert sorted(order.tolist()) == list(range(5))


@pytest.mark.parametrize("criterion", ["apoz", "mean_abs", "minitron", "taylor"])
def test_without_data_what_needs_them_says_so(criterion: str) -> None:
    with pytest.raises(ActpruneError) as e:
        plan(
            Net(), seen(), "units=50%", criterion=criterion, compensation=Compensation(kind="none")
        )
    assert str(e.value) == (
        "Site 'a': this criterion needs activations that the profile does not carry; give the data."
    )


def test_a_gradient_needs_labels_and_a_model_that_has_one() -> None:
    with pytest.raises(ActpruneError) as e:
        gathered(Net(), batches(30, labelled=False))["a"].slope()
    assert str(e.value) == (
        "Criterion 'taylor' needs labels for the gradient of the loss, and the data have none; "
        "give labelled data, or choose another criterion."
    )
    model = Net()
    model.forward = torch.no_grad()(model.forward)
    with pytest.raises(ActpruneError, match=r"^Criterion 'taylor' needs gradients, and the model"):
        gathered(model, batches(30))["a"].slope()
