from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.histogram import BINS, edges, magnitude_histograms

pytest.importorskip("triton", reason="Triton is not installed")

from actprune.ops.histogram import kernel

pytestmark = pytest.mark.gpu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = [(1, 1, 1), (5, 3, 1), (1, 70, 1), (2, 7, 13), (1, 1, 1030), (3, 40, 49), (2, 2, 2)]


def activations(S: int, U: int, P: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Magnitudes over all bins and beyond, zeros among them."""
    gen = torch.Generator().manual_seed(S + 10 * U + 100 * P)
    x = torch.randn(S, U, P, generator=gen, dtype=torch.float64)
    x *= 2.0 ** torch.randint(-24, 15, (S, U, P), generator=gen)
    x[torch.rand(S, U, P, generator=gen) < 0.3] = 0.0
    return x.to(DEVICE, dtype)


def check(x_SUP: Tensor) -> None:
    got = magnitude_histograms(x_SUP, backend="triton")
    for counts, expected in zip(got, magnitude_histograms(x_SUP, backend="naive"), strict=True):
        assert torch.equal(counts, expected)
        assert counts.dtype == torch.int64
        assert counts.shape == (x_SUP.shape[1], BINS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("S", "U", "P"), SHAPES)
def test_the_kernel_matches_the_definition(S: int, U: int, P: int, dtype: torch.dtype) -> None:
    check(activations(S, U, P, dtype))


@pytest.mark.parametrize(("S", "U"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("P", [1, 4])
def test_nothing_to_count_keeps_its_shape(S: int, U: int, P: int) -> None:
    check(activations(S, U, P))


def views() -> dict[str, Tensor]:
    """Layouts that models produce, none of them contiguous as [S, U, P]."""
    images = activations(3, 6, 35).reshape(3, 6, 5, 7)
    return {
        "channels-last": images.contiguous(memory_format=torch.channels_last).flatten(2),
        "slice of units": images[:, 1:4].flatten(2),
        "every third position": activations(3, 4, 50)[:, :, ::3],
        "tokens": activations(3, 35, 70).transpose(1, 2),
        "tokens, time first": activations(35, 3, 20).permute(1, 2, 0),
        "one unit, expanded": activations(3, 6, 1).expand(3, 6, 9),
        "one sample, expanded": activations(1, 6, 5).expand(4, 6, 5),
        "any order": activations(5, 4, 9).permute(2, 0, 1),
    }


@pytest.mark.parametrize("name", views())
def test_any_strides_will_do(name: str) -> None:
    check(views()[name])


@pytest.mark.parametrize("P", [15, 16, 17, 33])
@pytest.mark.parametrize("tokens", [False, True])
def test_chunks_of_positions_add_up(P: int, tokens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "TILE", 32)
    for name, value in {"WIDTH_U": 4, "WIDTH_P": 8, "CHUNK_U": 16, "CHUNK_P": 16}.items():
        monkeypatch.setattr(kernel, name, value)
    check(activations(2, P, 5).transpose(1, 2) if tokens else activations(2, 5, P))


@pytest.mark.parametrize("strides", [(2**30, 4, 1), (8, 2**30, 1), (4, 1, 2**30)])
def test_addresses_pass_the_end_of_32_bits(strides: tuple[int, int, int]) -> None:
    try:  # 4 GiB of addresses, of which a few pages are touched
        storage = torch.empty(2**31 + 64, dtype=torch.float16, device=DEVICE)
    except RuntimeError as e:
        pytest.skip(f"no room: {e}")
    x = storage.as_strided((3, 3, 3) if strides[0] > 8 else (1, 3, 3), strides)
    x.copy_(activations(x.shape[0], 3, 3, torch.float16))
    check(x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bins_are_exact_at_and_beside_every_edge(dtype: torch.dtype) -> None:
    edge = edges().to(dtype)  # an edge has one mantissa bit: it is a number of every type
    bits = edge.view(torch.int32 if dtype == torch.float32 else torch.int16)
    below, above = (bits - 1).view(dtype), (bits + 1).view(dtype)
    x = torch.stack([below, edge, above, -below, -edge], dim=-1)[None].to(DEVICE)  # [1, 65, 5]
    if dtype != torch.float16:  # its lowest edges are subnormal, beside which steps are wider
        positions, _ = magnitude_histograms(x, backend="triton")
        own = torch.arange(65, device=DEVICE)
        assert (positions[own, own] == 2).all()
        assert (positions[own, own + 1] == 3).all()
    check(x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_subnormals_and_giants_have_their_bins(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    smallest = info.smallest_normal * info.eps  # the smallest subnormal
    ends = torch.tensor([0.0, -0.0, smallest, -smallest, info.tiny, info.max, info.min, 4096.0])
    x = ends.to(DEVICE, dtype).reshape(1, 1, -1)
    positions, maxima = magnitude_histograms(x, backend="triton")
    assert positions.sum() == 8
    assert positions[0, BINS - 1] == 3
    assert maxima[0, BINS - 1] == 1
    check(x)
    check(x.transpose(1, 2))
    check(torch.tensor([torch.nan, torch.inf, -torch.inf]).to(DEVICE, dtype).reshape(1, 1, 3))


def test_what_no_kernel_takes_is_refused_by_name_and_served_by_auto() -> None:
    x = activations(2, 3, 4, torch.float64)
    with pytest.raises(ActpruneError, match=r"no torch\.float64; use backend='auto'"):
        magnitude_histograms(x, backend="triton")
    auto, plain = magnitude_histograms(x), magnitude_histograms(x, backend="naive")
    assert all(torch.equal(a, b) for a, b in zip(auto, plain, strict=True))
