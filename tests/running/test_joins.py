from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.running.joins import Tap, norm_factor, tapping

X = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block whose last steps are given."""

    def __init__(self, join: Callable[..., Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(4, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.norm2 = nn.BatchNorm2d(4, affine=False)
        for norm in (self.norm, self.norm2):
            norm.running_mean.normal_()  # pyright: ignore
            norm.running_var.uniform_(0.5, 2.0)  # pyright: ignore
        nn.init.uniform_(self.norm.weight, -2.0, 2.0)
        self.drop = nn.Dropout(0.5, inplace=True)
        self.relu = nn.ReLU(inplace=True)
        self.join = join
        self.reached_end = False

    def forward(self, x: Tensor) -> Tensor:
        out = self.join(self, self.last(F.relu(self.first(x))), x)
        self.reached_end = True
        return out


def tap(join: Callable[..., Tensor], stop_at: str | None = None) -> tuple[Block, Tap]:
    model = Block(join).eval()
    with torch.no_grad(), tapping(model, "last", stop_at=stop_at) as found:
        model(X)
    return model, found


def layer(model: Block) -> Tensor:
    with torch.no_grad():
        return model.last(F.relu(model.first(X)))


def in_place(m: Block, out: Tensor, x: Tensor) -> Tensor:
    out += x
    return out


def in_place_then_relu(m: Block, out: Tensor, x: Tensor) -> Tensor:
    out += x
    return m.relu(out)


def shortcut_takes_it(m: Block, out: Tensor, x: Tensor) -> Tensor:
    y = x.clone()
    y += out
    return y


JOINS = {
    "a + b": lambda m, out, x: out + x,
    "b + a": lambda m, out, x: x + out,
    "a += b": in_place,
    "b += a": shortcut_takes_it,
    "torch.add": lambda m, out, x: torch.add(x, out),
    "torch.add by keyword": lambda m, out, x: torch.add(x, other=out),
    "method": lambda m, out, x: out.add(x),
    "method in place": lambda m, out, x: out.add_(x),
    "sum of a list": lambda m, out, x: sum([x, out]),
    "through dropout": lambda m, out, x: m.drop(out) + x,
    "then relu in place": in_place_then_relu,
    "then relu": lambda m, out, x: F.relu(out + x, inplace=True),
}


@pytest.mark.parametrize("join", JOINS.values(), ids=JOINS.keys())
def test_an_addition_is_found_and_its_sum_kept(join: Callable[..., Tensor]) -> None:
    model, found = tap(join)

    assert found.output is not None
    assert torch.equal(found.output, layer(model))  # whatever was written into it afterwards
    assert found.total is not None
    assert torch.equal(found.total, layer(model) + X)
    assert found.scale is None
    assert model.reached_end


def test_the_factors_of_normalizations_between_multiply_up() -> None:
    model, found = tap(lambda m, out, x: m.norm2(m.norm(out)) + x)

    assert found.norms == [model.norm, model.norm2]
    assert found.scale is not None
    assert found.total is not None
    with torch.no_grad():
        expected = model.norm2(model.norm(layer(model))) + X
        moved = model.norm2(model.norm(layer(model) + 1.0))
        slope = moved - model.norm2(model.norm(layer(model)))
    assert torch.equal(found.total, expected)
    # a difference quotient of an affine map: rounding of two numbers below 20, over a step of 1
    eps = torch.finfo().eps
    torch.testing.assert_close(
        slope, found.scale.reshape(1, -1, 1, 1).expand_as(slope), rtol=0, atol=8 * 20 * eps
    )


def test_the_factor_of_a_normalization_by_hand() -> None:
    norm = nn.BatchNorm2d(2, eps=1.0).eval()
    norm.running_var = torch.tensor([3.0, 8.0])
    norm.weight.data = torch.tensor([1.0, -6.0])
    assert norm_factor(norm).tolist() == [0.5, -2.0]


NO_JOINS = {
    "returned": lambda m, out, x: out,
    "concatenated": lambda m, out, x: torch.cat([out, x], 1),
    "multiplied": lambda m, out, x: out * x,
    "after a relu": lambda m, out, x: F.relu(out) + x,
    "after a relu in place": lambda m, out, x: F.relu(out, inplace=True) + x,
    "after a relu module in place": lambda m, out, x: m.relu(out) + x,
    "after a method in place": lambda m, out, x: out.mul_(2.0) + x,
    "doubled": lambda m, out, x: out + out,
    "with a number": lambda m, out, x: out + 1.0,
    "with a factor": lambda m, out, x: torch.add(x, out, alpha=2),
    "broadcast": lambda m, out, x: out.mean((2, 3), keepdim=True) + x,
    "after pooling": lambda m, out, x: m.norm(F.avg_pool2d(out, 1)) + x,
}


@pytest.mark.parametrize("join", NO_JOINS.values(), ids=NO_JOINS.keys())
def test_what_is_no_plain_addition_of_the_output_is_not_taken_for_one(
    join: Callable[..., Tensor],
) -> None:
    model, found = tap(join)
    assert found.total is None
    assert found.output is not None
    assert torch.equal(found.output, layer(model))


def test_an_output_that_is_broadcast_does_not_join() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.mean(1, keepdim=True)) + x

    with torch.no_grad(), tapping(model := Gate(), "fc") as found:
        model(torch.randn(2, 3, 4))
    assert found.total is None


def test_an_addition_of_a_number_on_the_way_does_not_hide_the_sum_before_it() -> None:
    model, found = tap(lambda m, out, x: (out + x) + 1.0)
    assert found.total is not None
    assert torch.equal(found.total, layer(model) + X)


def test_only_the_first_addition_counts() -> None:
    model, found = tap(lambda m, out, x: (out + x) + x)
    assert found.total is not None
    assert torch.equal(found.total, layer(model) + X)


def test_the_input_is_kept_although_the_model_overwrites_it() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = x * 2
            out = self.fc(h)
            return out + h.mul_(0)

    x = torch.randn(3, 4)
    with torch.no_grad(), tapping(model := Overwriting(), "fc") as found:
        model(x)
    assert found.input is not None
    assert torch.equal(found.input, x * 2)


@pytest.mark.parametrize(("stop_at", "total"), [("output", False), ("total", True)])
def test_a_run_can_stop_as_soon_as_enough_is_seen(stop_at: str, total: bool) -> None:
    model, found = tap(lambda m, out, x: out + x, stop_at=stop_at)
    assert not model.reached_end
    assert found.output is not None
    assert (found.total is not None) == total


@pytest.mark.parametrize("fails", [False, True])
def test_no_hook_outlives_a_tap(fails: bool) -> None:
    def join(m: Block, out: Tensor, x: Tensor) -> Tensor:
        if fails:
            raise KeyError("stop")
        return out + x

    model = Block(join).eval()
    try:
        with tapping(model, "last"):
            model(X)
    except KeyError:
        assert fails
    assert all(not m._forward_hooks for m in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()
