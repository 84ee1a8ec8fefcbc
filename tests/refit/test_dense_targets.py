"""Targets are the dense model's, however often the data must be read for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.refit.places import Place, find_places
from actprune.refit.targets import DenseTargets

NAMES = ["a", "b", "c"]


class Stream(nn.Module):
    """`b` is added into a residual stream, `a` and `c` are not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 2)
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.c(x + self.b(self.a(x).relu()))


def batches() -> list[Batch]:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(20)
    return [Batch(args=(x[i],), kwargs={}, labels=None, ids=i) for i in ids.split(8)]


def test_an_addition_into_a_stream_is_found() -> None:
    places = find_places(Stream(), batches()[0], NAMES, downstream=False)
    assert [(p.name, p.joins) for p in places] == [("a", False), ("b", True), ("c", False)]


@pytest.mark.parametrize(
    ("budget", "readings"),
    # 20 samples of float32: a has 400 bytes, b 240, c 160
    [(1, 3), (640, 2), (10_000, 1)],
)
@torch.no_grad()
def test_a_small_budget_reads_more_often_and_gives_the_same(budget: int, readings: int) -> None:
    model, data = Stream(), batches()
    places = [Place(name=name, joins=name == "b", norm=None, intercept=True) for name in NAMES]
    targets = DenseTargets(model, data, places, lambda _name, out, _batch: out, budget)
    found = {name: torch.cat(targets.take(name)) for name in NAMES}
    assert model.runs == readings * len(data)
    x = torch.cat([b.args[0] for b in data])
    a = model.a(x)
    stream = x + model.b(a.relu())
    # float32 sums of a few terms of order 1, in batches of another size
    torch.testing.assert_close(found["a"], a, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["b"], stream, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["c"], model.c(stream), rtol=0, atol=1e-6)
