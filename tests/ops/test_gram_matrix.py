from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.gram import gram

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def rows(R: int, C: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(R, C, generator=torch.Generator().manual_seed(seed)).to(dtype)


def by_definition(x: Tensor, y: Tensor) -> Tensor:
    return (x.double()[:, :, None] * y.double()[:, None, :]).sum(0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("R", "C", "D"), [(1, 1, 1), (7, 3, 5), (200, 33, 2), (0, 4, 3)])
def test_a_gram_matrix_sums_products_over_rows(R: int, C: int, D: int, dtype: torch.dtype) -> None:
    x, y = rows(R, C, 0, dtype), rows(R, D, 1, dtype)
    # R products in float64, any order: below (R + 1) * eps of the sum of their sizes
    for a, b, got in ((x, y, gram(x, y)), (x, x, gram(x))):
        limit = (R + 1) * torch.finfo(torch.float64).eps * by_definition(a.abs(), b.abs())
        assert got.dtype == torch.float64
        assert ((got - by_definition(a, b)).abs() <= limit).all()


def test_a_gram_matrix_of_a_view_is_that_of_its_values() -> None:
    x = rows(40, 12)
    assert torch.equal(gram(x[:, ::3]), gram(x[:, ::3].contiguous()))
    assert torch.equal(gram(x.T.contiguous().T), gram(x))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(3), None),
        (torch.zeros(3, 2, 2), None),
        (torch.zeros(3, 2), torch.zeros(4, 2)),
        (torch.zeros(3, 2), torch.zeros(3)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x: Tensor, y: Tensor | None) -> None:
    with pytest.raises(ActpruneError, match=r"Expected two matrices with the same rows, got \("):
        gram(x, y)
