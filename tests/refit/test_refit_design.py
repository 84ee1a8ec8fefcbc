"""A consumer written as a regression gives back the consumer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.refit.design import columns_of, entries, inputs, matrix, outputs, taps
from actprune.refit.moments import Moments
from actprune.refit.ridge import ridge
from actprune.running.substitute import Affine, compute
from actprune.sites.site import Slot

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
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": (2, 1), "padding_mode": "replicate", "stride": 2},
    {"kernel_size": (2, 3), "padding": "same", "padding_mode": "circular"},
]


def rebuilt(layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    """The layer's outputs, [R, D], from the regression's own parts."""
    z = inputs(layer, x, torch.arange(entries(layer))) @ matrix(layer, layer.weight).T
    return z if layer.bias is None else z + layer.bias


def unfolded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Every patch read pixel by pixel, [R, P]: what lies outside, by the padding's definition."""
    (kh, kw), (dh, dw), (sh, sw) = layer.kernel_size, layer.dilation, layer.stride
    sizes, starts = x.shape[2:], []
    for size, k, d, s, pad in zip(sizes, (kh, kw), (dh, dw), (sh, sw), sides(layer), strict=True):
        starts.append(range(-pad[0], size + pad[1] - d * (k - 1), s))
    rows = []
    for image in x:
        for top in starts[0]:
            for left in starts[1]:
                taps_ij = [(top + i * dh, left + j * dw) for i in range(kh) for j in range(kw)]
                pixels = [pixel(image, i, j, layer.padding_mode) for i, j in taps_ij]
                rows.append(torch.stack(pixels, 1).flatten())
    return torch.stack(rows)


def sides(layer: nn.Conv2d) -> list[tuple[int, int]]:
    """Padding before and after, of rows and columns; 'same' puts the odd one behind."""
    if layer.padding == "valid":
        return [(0, 0), (0, 0)]
    if layer.padding == "same":
        whole = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(w // 2, w - w // 2) for w in whole]
    assert not isinstance(layer.padding, str)
    return [(p, p) for p in layer.padding]


def pixel(image: Tensor, i: int, j: int, mode: str) -> Tensor:
    """The channels at row i and column j, which may lie outside."""
    inside = []
    for at, size in ((i, image.shape[1]), (j, image.shape[2])):
        if mode == "zeros" and not 0 <= at < size:
            return torch.zeros_like(image[:, 0, 0])
        if mode == "circular":
            at %= size
        elif mode == "replicate":
            at = min(max(at, 0), size - 1)
        elif mode == "reflect":
            at = abs(at) if at < size else 2 * (size - 1) - at
        inside.append(at)
    return image[:, inside[0], inside[1]]


@pytest.mark.parametrize("options", CONVS)
def test_the_refit_is_the_least_squares_answer_on_patches_read_pixel_by_pixel(
    options: dict,
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 5, **options).double()
    x = torch.randn(6, 4, 9, 11, dtype=torch.float64)
    kept = torch.tensor([0, 2, 3])  # channel 1 is gone; nothing among the kept can replace it
    z = layer(x).detach()
    prior = matrix(layer, layer.weight)[:, columns_of(layer, kept)]
    moments = Moments.of(inputs(layer, x, kept), outputs(z, layer))
    weight, bias = ridge(moments, prior, 1e-14)

    rows = unfolded(layer, x[:, kept])
    with_one = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
    best = torch.linalg.lstsq(with_one, z.flatten(2).transpose(1, 2).reshape(-1, 5)).solution
    # normal equations: condition of the covariance of noise (below 1e3), its ridge 1e-14, and
    # rounding of the sums of some 600 terms
    torch.testing.assert_close(weight, best[:-1].T, rtol=0, atol=1e-9)
    torch.testing.assert_close(bias, best[-1], rtol=0, atol=1e-9)
    same = compute(layer, Affine(weight=layer.weight, bias=layer.bias), x)
    torch.testing.assert_close(same, z, rtol=0, atol=1e-13)


def test_the_refit_behind_a_flatten_is_the_least_squares_answer_on_its_pixels() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(4 * 6, 3).double(), torch.randn(300, 4, 2, 3, dtype=torch.float64)
    kept = Slot(module="c", role="consumer", repeat=6).index([0, 2, 3])
    z = layer(x.flatten(1)).detach()
    prior = matrix(layer, layer.weight)[:, columns_of(layer, kept)]
    weight, bias = ridge(
        Moments.of(inputs(layer, x.flatten(1), kept), outputs(z, layer)), prior, 1e-14
    )
    pixels = [x[:, c, i, j] for c in (0, 2, 3) for i in range(2) for j in range(3)]
    best = torch.linalg.lstsq(torch.stack([*pixels, torch.ones(300).double()], 1), z).solution
    torch.testing.assert_close(weight, best[:-1].T, rtol=0, atol=1e-9)  # as above
    torch.testing.assert_close(bias, best[-1], rtol=0, atol=1e-9)


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
