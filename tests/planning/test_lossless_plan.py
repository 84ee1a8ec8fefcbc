"""Lossless: exactly the units that never moved, and an output that does not notice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.pruning.prune import prune


def still(layer: nn.Linear | nn.Conv2d, dead: list[int], constant: list[int]) -> None:
    """Units that ReLU always sends to 0, and units that are always 3 + their number."""
    with torch.no_grad():
        assert layer.bias is not None
        layer.bias[dead] = -100.0
        layer.weight[constant] = 0.0
        layer.bias[constant] = torch.tensor(constant).float() + 3


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3, bias=False)
    )
    still(model[0], [1, 7], [4])  # pyright: ignore
    still(model[2], [0], [2, 9])  # pyright: ignore
    return model.eval()


def cnn(padding: int) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=padding, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip
    still(model[0], [1, 7], [4])  # pyright: ignore
    with torch.no_grad():
        model[2].weight[5] = 0.0  # pyright: ignore  # without a bias: dead
    return model.eval()


def made(model: nn.Module, x: Tensor, **options) -> tuple[Plan, nn.Module]:
    data = Arrays.of(x)
    seen = profile(model, data)
    planned = plan(model, seen, "lossless", batches=data, **options)
    return planned, prune(model, planned, batches=data)


def unmoved(model: nn.Sequential, x: Tensor, upto: int) -> tuple[int, ...]:
    """Units whose activation after the first `upto` layers is the same everywhere."""
    with torch.no_grad():
        a = model[:upto](x)
    a = a.transpose(0, 1).flatten(1)
    return tuple((a.amin(1) == a.amax(1)).nonzero().flatten().tolist())


def gap(model: nn.Module, small: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return (model(x) - small(x)).abs().max().item()


def samples(*shape: int) -> Tensor:
    return torch.randn(200, *shape, generator=torch.Generator().manual_seed(0))


def test_a_perceptron_loses_its_dead_and_constant_units_and_nothing_else() -> None:
    model, x = mlp(), samples(5)
    planned, small = made(model, x)
    assert [p.removed for p in planned.sites] == [unmoved(model, x, 2), unmoved(model, x, 4)]
    assert planned.sites[0].removed == (1, 4, 7)
    assert {0, 2, 9} <= set(planned.sites[1].removed)
    constants = [dict(zip(p.removed, p.constants, strict=True)) for p in planned.sites]
    assert constants[0] == {1: 0.0, 4: 7.0, 7: 0.0}
    assert (constants[1][0], constants[1][2], constants[1][9]) == (0.0, 5.0, 12.0)
    assert planned.compensation.kind == "exact"  # the constants go into the biases
    assert planned.forecast is not None
    assert planned.forecast.high == pytest.approx(0, abs=1e-6)
    # float32 sums of 12 terms below 100, taken in another order: 12 x 100 x 6e-8, through 10 more
    assert gap(model, small, x) < 1e-3
    before = sum(p.numel() for p in model.parameters())
    assert (planned.before.params, planned.after.params) == (
        before,
        sum(p.numel() for p in small.parameters()),
    )


@pytest.mark.parametrize(("padding", "removed"), [(0, (1, 4, 7)), (1, (1, 7))])
def test_a_constant_is_no_bias_under_zero_padding(padding: int, removed: tuple[int, ...]) -> None:
    model, x = cnn(padding), samples(2, 8, 8)
    planned, small = made(model, x)
    assert [p.removed for p in planned.sites] == [removed, unmoved(model, x, 4)]
    assert unmoved(model, x, 2) == (1, 4, 7)
    assert 5 in planned.sites[1].removed
    # float32 sums of 72 terms below 10 in another order
    assert gap(model, small, x) < 1e-4
    assert planned.compensation.kind == ("none" if padding else "exact")


def test_dead_units_alone_need_no_compensation() -> None:
    model = mlp()
    with torch.no_grad():
        model[0].weight[4] = 1.0  # pyright: ignore
        model[2].weight[[2, 9]] = torch.randn(2, 12)  # pyright: ignore
    planned, small = made(model, samples(5))
    assert planned.sites[0].removed == (1, 7)
    assert 0 in planned.sites[1].removed
    assert planned.compensation.kind == "none"
    head = small.get_submodule("4")
    assert head.bias is None


def test_units_always_on_for_any_input_merge_without_a_box() -> None:
    model, x = mlp(), samples(5)
    with torch.no_grad():  # sums of what is never negative, 5 and 12 above zero
        model[2].weight[[2, 9]] = 1.0  # pyright: ignore
    data = Arrays.of(x)
    planned = plan(model, profile(model, data), "lossless=proved", batches=data)
    small = prune(model, planned)
    assert planned.exact is not None
    assert planned.exact.box is None
    assert len({2, 9} & set(planned.exact.merged["2"])) == 1  # they differ by 7, and 7 is no unit
    # float32 sums of 12 terms below 100, taken in another order: 12 x 100 x 6e-8, through 10 more
    assert gap(model, small, 100 * x) < 100 * 1e-3


def test_a_site_that_never_moves_keeps_one_unit() -> None:
    model = mlp()
    still(model[0], list(range(12)), [])  # pyright: ignore
    planned, small = made(model, samples(5))
    assert planned.sites[0].kept == (11,)
    assert gap(model, small, samples(5)) < 1e-3


def test_nothing_to_remove_is_a_plan_too() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).eval()
    planned, small = made(model, samples(4))
    assert planned.removed == 0
    assert planned.met
    assert planned.before == planned.after
    assert gap(model, small, samples(4)) == 0


def test_keep_and_round_to_are_respected() -> None:
    model, x = mlp(), samples(5)
    kept, small = made(model, x, keep=["0:1", "2:9"])
    assert kept.sites[0].removed == (4, 7)
    assert kept.sites[1].removed == unmoved(model, x, 4)[:-1]
    assert gap(model, small, x) < 1e-3
    rounded, _ = made(model, x, round_to=5)
    # 9 of 12 have to stay: two groups of five, so one dead unit does
    assert rounded.sites[0].removed == (1, 4)
    left = 10 - len(unmoved(model, x, 4))
    assert len(rounded.sites[1].kept) == -(-left // 5) * 5


def test_what_cannot_be_asked_together_is_refused() -> None:
    model, x = mlp(), samples(5)
    with pytest.raises(ActpruneError) as e:
        made(model, x, drop=["0:0"])
    assert str(e.value) == "The target lossless chooses its units itself; leave out drop."
    with pytest.raises(ActpruneError) as e:
        plan(model, profile(model, [x]), ["lossless", "macs=50%"])
    assert str(e.value) == "The target lossless stands alone; leave the others out."
