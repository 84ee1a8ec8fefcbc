from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.stats import eager, naive, unit_stats

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SHAPES = [(1, 1, 1), (5, 3, 1), (2, 7, 13), (3, 1, 1000), (4, 5, 49), (0, 3, 2), (2, 0, 3)]
RULES = [(0.0, False), (0.25, False), (0.0, True), (0.1, True)]


def activations(S: int, U: int, P: int, dtype: torch.dtype) -> Tensor:
    gen = torch.Generator().manual_seed(S + 10 * U + 100 * P)
    x = torch.randn(S, U, P, generator=gen, dtype=torch.float64)
    x[torch.rand(S, U, P, generator=gen) < 0.3] = 0.0  # as a ReLU leaves them
    return x.to(dtype)


def check(x_SUP: Tensor, threshold: float, magnitude: bool) -> None:
    got = unit_stats(x_SUP, threshold=threshold, magnitude=magnitude, backend="eager")
    active, total, square, low, high = naive.unit_stats(x_SUP, threshold, magnitude)

    assert torch.equal(got[0], active)
    assert torch.equal(got[3], low)  # every narrower type is exact in float64
    assert torch.equal(got[4], high)
    # P terms in the working precision, any order: below P * eps of the sum of sizes; the squares
    # are rounded once more before
    working = torch.float64 if x_SUP.dtype == torch.float64 else torch.float32
    eps, P = torch.finfo(working).eps, x_SUP.shape[-1]
    assert ((got[1] - total).abs() <= P * eps * x_SUP.double().abs().sum(-1)).all()
    assert ((got[2] - square).abs() <= (P + 1) * eps * square).all()
    assert [x.dtype for x in got] == [torch.int64, *[torch.float64] * 4]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("S", "U", "P"), SHAPES)
@pytest.mark.parametrize(("threshold", "magnitude"), RULES)
def test_eager_statistics_match_their_definition(
    S: int, U: int, P: int, dtype: torch.dtype, threshold: float, magnitude: bool
) -> None:
    if S * U == 0:  # nothing to reduce over, but the shapes hold
        got = unit_stats(torch.zeros(S, U, P, dtype=dtype), threshold=0.0, magnitude=False)
        assert [x.shape for x in got] == [(S, U)] * 5
    else:
        check(activations(S, U, P, dtype), threshold, magnitude)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("threshold", "magnitude"), RULES)
def test_any_strides_will_do(dtype: torch.dtype, threshold: float, magnitude: bool) -> None:
    images = activations(3, 6, 35, dtype).reshape(3, 6, 5, 7)
    views = [
        images.contiguous(memory_format=torch.channels_last).flatten(2),
        images[:, 1:4].flatten(2),
        images[:, :, ::2, ::3].flatten(2),
        activations(3, 35, 6, dtype).transpose(1, 2),
        activations(3, 6, 1, dtype).expand(3, 6, 9),
        activations(3, 12, 5, dtype)[:, ::2],
        activations(1, 6, 5, dtype).expand(4, 6, 5),
    ]
    for x_SUP in views:
        check(x_SUP, threshold, magnitude)


def test_statistics_by_hand() -> None:
    x = torch.tensor([[[0.0, 2.0, -3.0, 0.5]]])
    for backend in ("naive", "eager", "auto"):
        got = unit_stats(x, threshold=0.0, magnitude=False, backend=backend)
        assert [v.item() for v in got] == [2, -0.5, 13.25, -3.0, 2.0]
        got = unit_stats(x, threshold=0.5, magnitude=True, backend=backend)
        assert got[0].item() == 2  # strictly above


@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-1e30, 1e30),
    st.integers(-2, 2),
    st.booleans(),
    st.integers(1, 2),
)
def test_a_threshold_need_not_be_a_float32(
    value: float, threshold: float, steps: int, near: bool, positions: int
) -> None:
    if near:  # a double next to the value, which rounds to it
        for _ in range(abs(steps)):
            limit = torch.tensor(float("inf") * steps, dtype=torch.float64)
            value64 = torch.tensor(value, dtype=torch.float64)
            threshold = torch.nextafter(value64, limit).item()
    x = torch.full((1, 1, positions), value, dtype=torch.float32)
    for magnitude in (False, True):
        got = eager.unit_stats(x, threshold, magnitude)[0]
        assert torch.equal(got, naive.unit_stats(x, threshold, magnitude)[0])


def test_not_a_number_and_infinity_show_in_the_squares() -> None:
    for bad in (float("nan"), float("inf"), -float("inf")):
        for positions in (1, 4):
            x = torch.zeros(1, 2, positions)
            x[0, 1, -1] = bad
            square = unit_stats(x, threshold=0.0, magnitude=False)[2]
            assert torch.isfinite(square).tolist() == [[True, False]]


@pytest.mark.parametrize(
    "x",
    [torch.zeros(2, 3), torch.zeros(2, 3, 0), torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4).int()],
)
def test_what_is_no_activation_is_refused(x: Tensor) -> None:
    with pytest.raises(ActpruneError, match=r"Expected floating activations of shape .* got torch"):
        unit_stats(x, threshold=0.0, magnitude=False)
