from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.histogram import BINS, count_above, count_at_least, edges, magnitude_histograms

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
SHAPES = [(1, 1, 1), (5, 3, 1), (2, 7, 13), (1, 1, 1000), (3, 40, 49), (0, 3, 2), (2, 0, 3)]
EDGES = edges().tolist()

float32s = st.floats(width=32, allow_nan=False)
near_edges = st.builds(lambda e, s: e * s, st.sampled_from(EDGES), st.sampled_from([-1, 1]))
values = st.lists(float32s | near_edges, min_size=1, max_size=40)


def activations(S: int, U: int, P: int, dtype: torch.dtype) -> Tensor:
    """Magnitudes over all bins and beyond, zeros among them."""
    gen = torch.Generator().manual_seed(S + 10 * U + 100 * P)
    x = torch.randn(S, U, P, generator=gen, dtype=torch.float64)
    x *= 2.0 ** torch.randint(-24, 15, (S, U, P), generator=gen)
    x[torch.rand(S, U, P, generator=gen) < 0.3] = 0.0
    return x.to(dtype)


def bin_by_hand(value: float) -> int:
    return sum(edge <= abs(value) for edge in EDGES)


def test_there_are_two_bins_an_octave_and_one_at_each_end() -> None:
    assert BINS == 66
    assert len(EDGES) == 65
    assert EDGES[:3] == [2**-20, 1.5 * 2**-20, 2**-19]
    assert EDGES[-2:] == [1.5 * 2**11, 2**12]


def test_histograms_by_hand() -> None:
    x = torch.tensor([[[0.0, 1.0, -1.49], [2.0**13, 0.0, 0.0]], [[1.5, 0.5, 0.0], [0.0] * 3]])
    for backend in ("naive", "eager", "auto"):
        positions, maxima = magnitude_histograms(x, backend=backend)
        assert positions.nonzero().tolist() == [[0, 0], [0, 39], [0, 41], [0, 42], [1, 0], [1, 65]]
        assert positions[positions > 0].tolist() == [2, 1, 2, 1, 5, 1]
        assert maxima.nonzero().tolist() == [[0, 41], [0, 42], [1, 0], [1, 65]]
        assert positions.dtype == maxima.dtype == torch.int64


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("S", "U", "P"), SHAPES)
def test_eager_histograms_match_their_definition(
    S: int, U: int, P: int, dtype: torch.dtype
) -> None:
    x = activations(S, U, P, dtype)
    views = [x, x.transpose(0, 1), activations(S, P, U, dtype).transpose(1, 2), x[:, ::2]]
    for view in views:
        if view.shape[-1]:
            got = magnitude_histograms(view, backend="eager")
            expected = magnitude_histograms(view, backend="naive")
            for one, other in zip(got, expected, strict=True):
                assert torch.equal(one, other)
                assert one.shape == (view.shape[1], BINS)


def test_a_double_just_below_an_edge_stays_below() -> None:
    edge = edges()[:, None]
    below, above = (torch.nextafter(edge, edge * f) for f in (0.0, 2.0))
    x = torch.stack([below, edge, above, -below], dim=-1).transpose(0, 1)  # [1, 65, 4]
    for backend in ("naive", "eager"):
        positions, _ = magnitude_histograms(x, backend=backend)
        own = torch.arange(65)
        assert positions[own, own].tolist() == [2] * 65
        assert positions[own, own + 1].tolist() == [2] * 65


@given(values)
def test_every_value_is_in_one_bin_and_the_edges_count_exactly(numbers: list[float]) -> None:
    x = torch.tensor(numbers).reshape(1, 1, -1)
    positions, maxima = magnitude_histograms(x)
    assert positions.sum() == len(numbers)
    expected = torch.bincount(torch.tensor([bin_by_hand(v) for v in numbers]), minlength=BINS)
    assert torch.equal(positions[0], expected)
    assert maxima[0].nonzero().tolist() == [[max(bin_by_hand(v) for v in numbers)]]
    for edge in EDGES:
        direct = sum(abs(v) >= edge for v in numbers)
        low, high = count_at_least(positions, edge)
        assert low.item() == high.item() == direct


@given(values, st.floats(allow_nan=False) | st.sampled_from(EDGES) | st.sampled_from([0.0, -0.0]))
def test_any_threshold_is_bracketed(numbers: list[float], threshold: float) -> None:
    positions, _ = magnitude_histograms(torch.tensor(numbers).reshape(1, 1, -1))
    for count, direct in (
        (count_above, sum(abs(v) > threshold for v in numbers)),
        (count_at_least, sum(abs(v) >= threshold for v in numbers)),
    ):
        low, high = count(positions, threshold)
        assert low.item() <= direct <= high.item()


@given(values)
def test_above_an_edge_only_the_edge_s_bin_is_in_doubt(numbers: list[float]) -> None:
    positions, _ = magnitude_histograms(torch.tensor(numbers).reshape(1, 1, -1))
    for i, edge in enumerate(EDGES):
        low, high = count_above(positions, edge)
        assert (high - low).item() == positions[0, i + 1].item()
        at_edge = sum(abs(v) == edge for v in numbers)
        inside = sum(bin_by_hand(v) == i + 1 for v in numbers)
        if at_edge == inside:
            assert low.item() == sum(abs(v) > edge for v in numbers)
        if at_edge == 0:
            assert high.item() == sum(abs(v) > edge for v in numbers)


def test_counts_from_a_histogram_by_hand() -> None:
    histogram = torch.zeros(2, BINS, dtype=torch.int64)
    histogram[0, 0], histogram[0, 41], histogram[1, 65] = 5, 3, 2  # bin 41 is [1, 1.5)
    for count, threshold, low, high in (
        (count_at_least, 0.0, [8, 2], [8, 2]),
        (count_at_least, 1.0, [3, 2], [3, 2]),
        (count_at_least, 1.2, [0, 2], [3, 2]),
        (count_at_least, 1.5, [0, 2], [0, 2]),
        (count_at_least, math.inf, [0, 0], [0, 2]),
        (count_above, -1.0, [8, 2], [8, 2]),
        (count_above, 0.0, [3, 2], [8, 2]),
        (count_above, 0.9, [3, 2], [3, 2]),
        (count_above, 1.0, [0, 2], [3, 2]),
        (count_above, 1.5, [0, 2], [0, 2]),
        (count_above, 1e9, [0, 0], [0, 2]),
        (count_above, math.inf, [0, 0], [0, 0]),
    ):
        got = count(histogram, threshold)
        assert [v.tolist() for v in got] == [low, high], (count.__name__, threshold)


def test_what_is_no_histogram_or_no_threshold_is_refused() -> None:
    for count in (count_above, count_at_least):
        with pytest.raises(ActpruneError, match=r"shape \[\.\.\., 66\], got \(3, 65\)"):
            count(torch.zeros(3, 65), 1.0)
        with pytest.raises(ActpruneError, match="must be a number"):
            count(torch.zeros(3, BINS), math.nan)


@pytest.mark.parametrize(
    "x",
    [torch.zeros(2, 3), torch.zeros(2, 3, 0), torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4).int()],
)
def test_what_is_no_activation_is_refused(x: Tensor) -> None:
    with pytest.raises(ActpruneError, match=r"Expected floating activations of shape .* got torch"):
        magnitude_histograms(x)


def test_a_backend_that_does_not_exist_is_refused() -> None:
    backend: str = "cuda"
    with pytest.raises(ActpruneError, match=r"backend must be one of .* got 'cuda'"):
        magnitude_histograms(torch.zeros(1, 1, 1), backend=backend)  # pyright: ignore[reportArgumentType]
