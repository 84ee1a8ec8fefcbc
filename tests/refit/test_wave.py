"""One pass side by side gives what passes of their own give, and ends whatever happens."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.refit import sequential, wave
from actprune.refit.sequential import compensate
from actprune.refit.settings import Compensation
from actprune.sites.cut import Cut
from actprune.sites.find import survey


class Adding(nn.Module):
    """Two blocks that are added into a stream in one of the ways people write it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.stem, self.head = nn.Conv2d(2, 5, 3, padding=1), nn.Linear(5, 3)
        for i in "12":
            self.add_module(f"a{i}", nn.Conv2d(5, 8, 3, padding=1, bias=False))
            self.add_module(f"n{i}", nn.BatchNorm2d(8))
            self.add_module(f"b{i}", nn.Conv2d(8, 5, 3, padding=1, bias=False))
            norm = nn.BatchNorm2d(5)
            norm.weight.data = torch.rand(5) + 0.5
            norm.running_mean = torch.randn(5)
            self.add_module(f"m{i}", norm)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for i in "12":
            a, n, b, m = (self.get_submodule(k + i) for k in "anbm")
            y = m(b(n(a(x)).relu()))
            if self.way == "x + y":
                x = x + y
            elif self.way == "y += x":
                y += x
                x = y
            elif self.way == "x += y":
                x += y
            else:
                x = torch.add(input=x, other=y)
            x = nn.functional.relu(x, inplace=True)
        return self.head(x.mean((2, 3)))


def batches(n: int = 64, size: int = 16) -> list[Batch]:
    x = torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    return [Batch(args=(x[i],), kwargs={}, labels=None, ids=i) for i in torch.arange(n).split(size)]


def fitted(model: nn.Module) -> dict[str, Any]:
    data = batches()
    sites = [s for s in survey(model, data[0]).sites if s.name.startswith("a")]
    cut = Cut.removing(sites, {"a1": [0, 3, 5], "a2": [1, 2, 6, 7]})
    return dict(compensate(model, sites, cut, Compensation(ridge=1e-3), data, seed=0))


@pytest.mark.parametrize("way", ["x + y", "y += x", "x += y", "torch.add"])
def test_side_by_side_is_one_by_one(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Adding(way).double().eval()
    together = fitted(model)
    monkeypatch.setattr(sequential, "MOST", 0)
    apart = fitted(model)
    assert list(together) == list(apart) == ["b1", "a2", "b2", "head"]
    for name, affine in apart.items():
        # float64, the same sums of the same numbers up to solves of condition below 1e4
        torch.testing.assert_close(together[name].weight, affine.weight, rtol=1e-9, atol=1e-10)
        assert (together[name].bias is None) == (affine.bias is None)


def test_threads_and_hooks_end_also_when_a_fit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = Adding("x + y").double().eval(), threading.active_count()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no fit")

    monkeypatch.setattr(sequential, "refit_patches", fail)
    with pytest.raises(RuntimeError, match="no fit"):
        fitted(model)
    assert threading.active_count() == before
    assert not any(m._forward_hooks for m in model.modules())
    assert not any("forward" in m.__dict__ for m in model.modules())


def test_what_a_pass_raises_is_raised_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = Adding("x + y").double().eval(), threading.active_count()
    monkeypatch.setattr(wave, "compute", lambda *_: torch.zeros(1))  # no shape that could go on
    with pytest.raises(ValueError, match="expected 4D input"):
        fitted(model)
    assert threading.active_count() == asked
