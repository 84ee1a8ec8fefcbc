from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.gram import STRIP, Precision, add_gram, naive, precision, relative_error

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ANYWHERE: list[Precision] = ["float64", "float32"]


def rows(R: int, C: int, dtype: torch.dtype = torch.float32) -> Tensor:
    gen = torch.Generator().manual_seed(R + C)
    return (torch.randn(R, C, generator=gen, dtype=torch.float64) + 0.5).to(dtype)


def check(x: Tensor, wanted: Precision, scale: float = 1.0) -> None:
    got = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    add_gram(got, x, precision=wanted, scale=scale)
    # by the theorem in `relative_error`, and the definition's own float64 sum; the scale is rounded
    # once a block of rows
    share = relative_error(wanted, len(x)) + relative_error("float64", len(x)) + 2.0**-53
    limit = share * scale * naive.gram(x.abs(), x.abs())
    assert ((got - scale * naive.gram(x, x)).abs() <= limit).all()
    for start in range(0, x.shape[1], STRIP):  # what is not multiplied is mirrored
        left, own = slice(0, start), slice(start, start + STRIP)
        assert torch.equal(got[left, own], got[own, left].T)


@pytest.mark.parametrize("wanted", ANYWHERE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("R", "C"), [(1, 1), (7, 3), (0, 4), (200, 33), (9000, 5)])
def test_precision_is_what_it_says(R: int, C: int, dtype: torch.dtype, wanted: Precision) -> None:
    check(rows(R, C, dtype), wanted)
    check(rows(R, C, dtype), wanted, scale=1.75)


@pytest.mark.parametrize("wanted", ANYWHERE)
@pytest.mark.parametrize("C", [STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 7])
def test_strips_make_up_the_whole(C: int, wanted: Precision) -> None:
    check(rows(40, C), wanted)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs CUDA")
@pytest.mark.gpu
@pytest.mark.parametrize("wanted", ["float64", "float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("R", "C"), [(200, 33), (9000, 600)])
def test_precision_on_a_gpu_is_what_it_says(
    R: int, C: int, dtype: torch.dtype, wanted: Precision
) -> None:
    check(rows(R, C, dtype).to(DEVICE), wanted)


@pytest.mark.parametrize(("wanted", "bits"), [("tf32", 11), ("bfloat16", 8)])
def test_factors_of_few_bits_stay_inside_the_bound(wanted: Precision, bits: int) -> None:
    """The rounding of the factors by hand, cut off as hardware may do it for tf32."""
    x = rows(300, 20, torch.float64)
    exponent = torch.floor(torch.log2(x.abs()))
    step = 2.0 ** (exponent - bits + 1)
    rounded = torch.trunc(x / step) * step if wanted == "tf32" else torch.round(x / step) * step
    limit = relative_error(wanted, 300) * naive.gram(x.abs(), x.abs())
    off = (naive.gram(rounded, rounded) - naive.gram(x, x)).abs()
    assert (off <= limit).all()
    assert (off > relative_error("float32", 300) * naive.gram(x.abs(), x.abs())).any()


def test_a_narrower_matrix_rounds_every_addition() -> None:
    x = rows(500, 9)
    got = torch.zeros(9, 9)
    for part in x.split(100):
        add_gram(got, part)
    # five additions, each off by 2^-24 of the sum so far
    size = naive.gram(x.abs(), x.abs())
    assert ((got.double() - naive.gram(x, x)).abs() <= 5 * 2.0**-24 * (1 + 1e-6) * size).all()
    assert got.dtype == torch.float32


def test_the_process_s_setting_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    for setting in ("high", "highest"):
        torch.set_float32_matmul_precision(setting)
        try:
            check(rows(50, 5), "float32")
            assert torch.get_float32_matmul_precision() == setting
        finally:
            torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("wanted", ["tf32", "bfloat16"])
def test_what_needs_a_gpu_says_so(wanted: Precision) -> None:
    with pytest.raises(ActpruneError, match=f"precision='{wanted}' needs a CUDA device, got cpu"):
        add_gram(torch.zeros(2, 2).double(), torch.zeros(3, 2), precision=wanted)


def test_what_does_not_fit_is_refused() -> None:
    unknown: str = "float8"
    with pytest.raises(ActpruneError, match=r"precision must be one of float64, .* got 'float8'"):
        precision.check_precision(unknown, torch.device("cpu"))
    for into, x in (((2, 2), (3, 3)), ((2, 3), (3, 3)), ((3, 3), (3,)), ((3, 3), (1, 2, 3))):
        with pytest.raises(ActpruneError, match=r"Expected rows of a matrix \(\d, \d\), got"):
            add_gram(torch.zeros(into).double(), torch.zeros(x))
