from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops.stats import eager, naive, unit_stats

pytest.importorskip("triton", reason="Triton is not installed")

from actprune.ops.stats import kernel

pytestmark = pytest.mark.gpu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = [(1, 1, 1), (5, 3, 1), (2, 7, 13), (1, 1, 1030), (3, 70, 49), (2, 2, 2), (1, 5, 64)]
RULES = [(0.0, False), (-0.25, False), (0.0, True), (0.1, True)]


def activations(S: int, U: int, P: int, dtype: torch.dtype = torch.float32) -> Tensor:
    gen = torch.Generator().manual_seed(S + 10 * U + 100 * P)
    x = torch.randn(S, U, P, generator=gen, dtype=torch.float64)
    x[torch.rand(S, U, P, generator=gen) < 0.3] = 0.0  # as a ReLU leaves them
    return x.to(DEVICE, dtype)


def check(x_SUP: Tensor, threshold: float = 0.25, magnitude: bool = False) -> None:
    got = unit_stats(x_SUP, threshold=threshold, magnitude=magnitude, backend="triton")
    active, total, square, low, high = naive.unit_stats(x_SUP, threshold, magnitude)

    assert torch.equal(got[0], active)
    assert torch.equal(got[3], low)  # every narrower type is exact in float64
    assert torch.equal(got[4], high)
    # A chunk's terms in float32, any order, and the chunks' sums in float64: below P * eps of the
    # sum of sizes. The squares are rounded once more before; what lies below float32's normal
    # numbers (1.2e-38) is lost to at most its smallest one (1.4e-45) a term.
    eps, P = torch.finfo(torch.float32).eps, x_SUP.shape[-1]
    assert ((got[1] - total).abs() <= P * eps * x_SUP.double().abs().sum(-1)).all()
    assert ((got[2] - square).abs() <= (P + 1) * eps * square + P * 1.5e-45).all()
    assert [v.dtype for v in got] == [torch.int64, *[torch.float64] * 4]
    assert [v.shape for v in got] == [x_SUP.shape[:2]] * 5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("S", "U", "P"), SHAPES)
def test_the_kernel_matches_the_definition(S: int, U: int, P: int, dtype: torch.dtype) -> None:
    for threshold, magnitude in RULES:
        check(activations(S, U, P, dtype), threshold, magnitude)


@pytest.mark.parametrize(("S", "U"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("P", [1, 4])
def test_nothing_to_reduce_keeps_its_shape(S: int, U: int, P: int) -> None:
    check(activations(S, U, P))


def views() -> dict[str, Tensor]:
    """Layouts that models produce, none of them contiguous as [S, U, P]."""
    images = activations(3, 6, 35).reshape(3, 6, 5, 7)
    return {
        "channels-last": images.contiguous(memory_format=torch.channels_last).flatten(2),
        "slice of units": images[:, 1:4].flatten(2),
        "every second unit": activations(3, 12, 5)[:, ::2],
        "every third position": activations(3, 4, 50)[:, :, ::3],
        "tokens": activations(3, 35, 70).transpose(1, 2),
        "tokens, time first": activations(35, 3, 20).permute(1, 2, 0),
        "one unit, expanded": activations(3, 6, 1).expand(3, 6, 9),
        "one sample, expanded": activations(1, 6, 5).expand(4, 6, 5),
        "an offset": activations(2, 4, 9)[1:, 1:, 1:],
        "any order": activations(5, 4, 9).permute(2, 0, 1),
    }


@pytest.mark.parametrize("name", views())
def test_any_strides_will_do(name: str) -> None:
    check(views()[name])


@pytest.mark.parametrize("P", [15, 16, 17, 63, 64, 65])
@pytest.mark.parametrize("tokens", [False, True])
def test_chunks_of_positions_add_up(P: int, tokens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "TILE", 32)
    for name, value in {"WIDTH_U": 4, "WIDTH_P": 8, "CHUNK_U": 16, "CHUNK_P": 16}.items():
        monkeypatch.setattr(kernel, name, value)
    check(activations(2, P, 5).transpose(1, 2) if tokens else activations(2, 5, P), -0.1)


@pytest.mark.parametrize("strides", [(2**30, 4, 1), (8, 2**30, 1), (4, 1, 2**30)])
def test_addresses_pass_the_end_of_32_bits(strides: tuple[int, int, int]) -> None:
    try:  # 4 GiB of addresses, of which a few pages are touched
        storage = torch.empty(2**31 + 64, dtype=torch.float16, device=DEVICE)
    except RuntimeError as e:
        pytest.skip(f"no room: {e}")
    x = storage.as_strided((3, 3, 3) if strides[0] > 8 else (1, 3, 3), strides)
    x.copy_(activations(x.shape[0], 3, 3, torch.float16))
    check(x)


def test_two_runs_give_the_same_bits() -> None:
    x = activations(2, 33, 700)
    first, second = (unit_stats(x, threshold=0.0, magnitude=False, backend="triton") for _ in "ab")
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # the interpreter's squares
@pytest.mark.parametrize("value", [0.1, 1.0, -0.1, 1e-40, 1.401298464324817e-45, 3.4e38])
def test_a_threshold_need_not_be_a_float32(value: float) -> None:
    x = torch.full((1, 1, 2), value, device=DEVICE)
    exact = x[0, 0, 0].double().cpu()
    up, down = (torch.nextafter(exact, torch.tensor(v).double()) for v in (torch.inf, -torch.inf))
    for threshold in (exact.item(), up.item(), down.item(), -1e300, 1e300):
        for magnitude in (False, True):
            got = unit_stats(x, threshold=threshold, magnitude=magnitude, backend="triton")
            assert torch.equal(got[0], naive.unit_stats(x, threshold, magnitude)[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("P", [1, 4])
def test_not_a_number_and_infinity_show_as_in_plain_pytorch(bad: float, P: int) -> None:
    x = torch.zeros(1, 2, P, device=DEVICE)
    x[0, 1, -1] = bad
    got = unit_stats(x, threshold=0.0, magnitude=False, backend="triton")
    for ours, plain in zip(got, eager.unit_stats(x, 0.0, False), strict=True):
        assert torch.equal(ours.nan_to_num(7.0), plain.nan_to_num(7.0))


def test_what_no_kernel_takes_is_refused_by_name_and_served_by_auto() -> None:
    x = activations(2, 3, 4, torch.float64)
    with pytest.raises(ActpruneError, match=r"no torch\.float64; use backend='auto'"):
        unit_stats(x, threshold=0.0, magnitude=False, backend="triton")
    auto = unit_stats(x, threshold=0.0, magnitude=False)
    for got, expected in zip(auto, eager.unit_stats(x, 0.0, False), strict=True):
        assert torch.equal(got, expected)


def test_a_kernel_on_a_cpu_tensor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ActpruneError, match="need a CUDA tensor"):
        unit_stats(torch.zeros(1, 1, 2), threshold=0.0, magnitude=False, backend="triton")


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_more_samples_than_a_grid_has_rows() -> None:
    check(activations(70_000, 3, 5).transpose(0, 1).contiguous().transpose(0, 1))
