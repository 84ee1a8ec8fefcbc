"""A consumer written as a regression gives back the consumer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.refit.design import columns_of, entries, inputs, matrix, outputs, taps

CONVS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 1), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": (1, 3), "padding": 2},
    {"kernel_size": 3, "dilation": 2, "padding": 2},
    {"kernel_size": (2, 3), "dilation": (3, 1), "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": (2, 4), "padding": "same"},  # pads one side more than the other
    {"kernel_size": 2, "padding": "same", "dilation": 3},
    {"kernel_size": 3, "padding": "valid"},
    {"kernel_size": 1, "bias": False},
]


def rebuilt(layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    """The layer's outputs, [R, D], from the regression's own parts."""
    z = inputs(layer, x, torch.arange(entries(layer))) @ matrix(layer, layer.weight).T
    return z if layer.bias is None else z + layer.bias


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (5, 4, 7)])
def test_a_linear_layer_is_its_regression(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(7, 3, bias=bias).double(), torch.randn(shape, dtype=torch.float64)
    # float64, sums of 7 terms of size 1: rounding stays below 1e-14
    torch.testing.assert_close(rebuilt(layer, x), outputs(layer(x), layer), rtol=0, atol=1e-13)
    assert (entries(layer), taps(layer)) == (7, 1)


@pytest.mark.parametrize("options", CONVS)
def test_a_convolution_is_its_regression(options: dict) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 5, **options).double()
    x = torch.randn(3, 4, 9, 11, dtype=torch.float64)
    # float64, sums of at most 36 terms of size 1
    torch.testing.assert_close(rebuilt(layer, x), outputs(layer(x), layer), rtol=0, atol=1e-13)


def test_the_columns_of_an_entry_are_its_taps() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 5, (2, 3), padding=1)
    some = torch.tensor([3, 1])
    assert taps(layer) == 6
    assert columns_of(layer, some).tolist() == [*range(18, 24), *range(6, 12)]
    x = torch.randn(2, 4, 5, 5)
    whole = inputs(layer, x, torch.arange(4))
    assert torch.equal(inputs(layer, x, some), whole[:, columns_of(layer, some)])
    weight = matrix(layer, layer.weight)
    assert torch.equal(weight[:, 18:24], layer.weight[:, 3].flatten(1).double())


def test_rows_are_samples_then_positions_row_by_row() -> None:
    layer = nn.Conv2d(1, 1, 1)
    z = torch.arange(12.0).reshape(2, 1, 2, 3)
    assert outputs(z, layer).squeeze(1).tolist() == list(range(12))
    assert inputs(layer, z, torch.tensor([0])).squeeze(1).tolist() == list(range(12))
