from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.ops import native as compiling
from actprune.ops.stats import eager, naive, native, unit_stats, unit_stats_into

DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [
    (1, 1, 1), (5, 3, 1), (2, 7, 13), (2, 2, 2), (3, 70, 49), (1, 300, 5), (4, 257, 1),
    (1, 2, 15), (1, 2, 16), (1, 2, 17), (1, 3, 4095), (1, 3, 4096), (2, 3, 4097), (1, 2, 8193),
]  # fmt: skip
RULES = [(0.0, False), (-0.25, False), (0.0, True), (0.1, True), (-1.0, True)]
CHUNK, LANES = 4096, 16  # as in native.c


@pytest.fixture(autouse=True)
def _compiled(native_kernels: None) -> None:
    """Compiled into a folder of the tests' own."""


def activations(S: int, U: int, P: int, dtype: torch.dtype = torch.float32) -> Tensor:
    gen = torch.Generator().manual_seed(S + 10 * U + 100 * P)
    x = torch.randn(S, U, P, generator=gen, dtype=torch.float64)
    x[torch.rand(S, U, P, generator=gen) < 0.3] = 0.0  # as a ReLU leaves them
    return x.to(dtype)


def check(x_SUP: Tensor, threshold: float = 0.25, magnitude: bool = False) -> tuple[Tensor, ...]:
    got = unit_stats(x_SUP, threshold=threshold, magnitude=magnitude, backend="native")
    active, total, square, low, high = naive.unit_stats(x_SUP, threshold, magnitude)

    assert torch.equal(got[0], active)
    assert torch.equal(got[3], low)  # every narrower type is exact in float64
    assert torch.equal(got[4], high)
    # Positions side by side: at most 256 terms in each of 16 float32 lanes, then four levels of a
    # tree. Units side by side: at most 4,096 terms in a row. n additions are off by n u / (1 - n u)
    # of the sum of sizes, u = 2^-24; squares are rounded once more before. Beyond, and in the
    # definition, P additions in float64 each. What lies below float32's normal numbers (1.2e-38)
    # is lost to at most its smallest one (1.4e-45) a term.
    S, U, P = x_SUP.shape
    along_positions = x_SUP.stride(2) == 1 or P == 1
    n = min(P, CHUNK) + 1
    n = math.ceil(n / LANES) + 4 if along_positions else n
    u = 2.0**-24
    share = n * u / (1 - n * u) + 2 * P * 2.0**-53
    assert ((got[1] - total).abs() <= share * x_SUP.double().abs().sum(-1)).all()
    assert ((got[2] - square).abs() <= (share + u) * square + P * 1.5e-45).all()
    assert [v.dtype for v in got] == [torch.int64, *[torch.float64] * 4]
    assert [v.shape for v in got] == [(S, U)] * 5
    return got


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("S", "U", "P"), SHAPES)
@pytest.mark.parametrize("tokens", [False, True])
def test_the_compiled_loops_match_the_definition(
    S: int, U: int, P: int, dtype: torch.dtype, tokens: bool
) -> None:
    x = activations(S, P, U, dtype).transpose(1, 2) if tokens else activations(S, U, P, dtype)
    for threshold, magnitude in RULES:
        check(x, threshold, magnitude)


@pytest.mark.parametrize("tokens", [False, True])
def test_more_than_a_million_positions(tokens: bool) -> None:
    P = 2**20 + 17
    x = activations(1, P, 2).transpose(1, 2) if tokens else activations(1, 2, P)
    check(x + 1.0)  # sums that grow with the positions
    ones = torch.ones(1, P, 2).transpose(1, 2) if tokens else torch.ones(1, 2, P)
    assert unit_stats(ones, threshold=0.5, magnitude=False, backend="native")[0].tolist() == [
        [P, P]
    ]


@pytest.mark.parametrize(("S", "U"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("P", [1, 4])
def test_nothing_to_reduce_keeps_its_shape(S: int, U: int, P: int) -> None:
    check(activations(S, U, P))


def views(dtype: torch.dtype) -> dict[str, Tensor]:
    """Layouts that models produce, with units or positions side by side."""
    images = activations(3, 6, 35, dtype).reshape(3, 6, 5, 7)
    return {
        "channels-last": images.contiguous(memory_format=torch.channels_last).flatten(2),
        "slice of units": images[:, 1:4].flatten(2),
        "every second unit": activations(3, 12, 5, dtype)[:, ::2],
        "tokens": activations(3, 35, 70, dtype).transpose(1, 2),
        "tokens, time first": activations(35, 3, 20, dtype).permute(1, 2, 0),
        "slice of tokens": activations(3, 35, 70, dtype)[:, 3:20, 5:50].transpose(1, 2),
        "every third token": activations(3, 35, 70, dtype)[:, ::3].transpose(1, 2),
        "one unit, expanded": activations(3, 1, 9, dtype).expand(3, 6, 9),
        "one token, expanded": activations(3, 1, 6, dtype).expand(3, 9, 6).transpose(1, 2),
        "one position, expanded": activations(3, 6, 1, dtype).expand(3, 6, 9),
        "one sample, expanded": activations(1, 6, 5, dtype).expand(4, 6, 5),
        "samples last": activations(5, 6, 4, dtype).permute(2, 1, 0)[:, :, :1],
        "an offset": activations(2, 4, 9, dtype)[1:, 1:, 1:],
        "one unit of many tokens": activations(3, 35, 70, dtype)[:, :, :1].transpose(1, 2),
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", views(torch.float32))
def test_strides_that_models_leave(name: str, dtype: torch.dtype) -> None:
    x_SUP = views(dtype)[name]
    assert native.takes(x_SUP)
    for threshold, magnitude in RULES:
        check(x_SUP, threshold, magnitude)


@pytest.mark.parametrize(
    "x",
    [
        activations(3, 4, 50)[:, :, ::3],
        activations(3, 12, 1)[:, ::2].expand(3, 6, 9),
        activations(2, 3, 4, torch.float64),
        activations(2, 3, 4, torch.float16),
        torch.complex(activations(2, 3, 4), activations(2, 3, 4)).conj().imag,  # lazily negated
    ],
    ids=["strided", "expanded", "float64", "float16", "negated"],
)
def test_what_it_does_not_take_is_refused_by_name_and_served_by_auto(x: Tensor) -> None:
    assert not native.takes(x)
    with pytest.raises(ActpruneError, match=r"backend='native' needs .* use backend='auto'"):
        unit_stats(x, threshold=0.0, magnitude=False, backend="native")
    got = unit_stats(x, threshold=0.0, magnitude=False)
    assert torch.equal(got[0], naive.unit_stats(x, 0.0, False)[0])


@pytest.mark.parametrize("value", [0.1, 1.0, -0.1, 1e-40, 1.401298464324817e-45, 3.4e38])
def test_a_threshold_need_not_be_a_float32(value: float) -> None:
    x = torch.full((1, 1, 20), value)
    exact = x[0, 0, 0].double()
    up, down = (torch.nextafter(exact, torch.tensor(v).double()) for v in (torch.inf, -torch.inf))
    limits = (exact.item(), up.item(), down.item(), -1e300, 1e300, math.inf, -math.inf)
    for threshold in limits:
        for magnitude in (False, True):
            got = unit_stats(x, threshold=threshold, magnitude=magnitude, backend="native")
            assert torch.equal(got[0], naive.unit_stats(x, threshold, magnitude)[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("P", [1, 4, 40, 5000])
@pytest.mark.parametrize("tokens", [False, True])
def test_not_a_number_and_infinity_show_as_in_the_definition(
    bad: float, P: int, tokens: bool
) -> None:
    for where in {0, P // 2, P - 1}:
        x = torch.zeros(1, P, 2).transpose(1, 2) if tokens else torch.zeros(1, 2, P)
        x[0, 1, where] = bad
        got = unit_stats(x, threshold=0.0, magnitude=True, backend="native")
        for ours, plain in zip(got, naive.unit_stats(x, 0.0, True), strict=True):
            assert torch.equal(ours.nan_to_num(7.0), plain.nan_to_num(7.0))
    all_bad = torch.full((1, 3, P), bad)
    got = unit_stats(all_bad, threshold=0.0, magnitude=True, backend="native")
    for ours, plain in zip(got, naive.unit_stats(all_bad, 0.0, True), strict=True):
        assert torch.equal(ours.nan_to_num(7.0), plain.nan_to_num(7.0))


def test_both_infinities_cancel_in_the_sum_alone() -> None:
    x = torch.tensor([[[math.inf, -math.inf, 1.0]]])
    active, total, square, low, high = unit_stats(
        x, threshold=0.0, magnitude=False, backend="native"
    )
    assert active.item() == 2
    assert math.isnan(total.item())
    assert (square.item(), low.item(), high.item()) == (math.inf, -math.inf, math.inf)


def test_minus_zero_is_zero() -> None:
    for dtype in DTYPES:
        x = torch.full((1, 3, 20), -0.0, dtype=dtype)
        for magnitude in (False, True):
            got = unit_stats(x, threshold=0.0, magnitude=magnitude, backend="native")
            assert all(torch.equal(v, torch.zeros(1, 3)) for v in (got[0].float(), *got[1:]))
            assert unit_stats(x, threshold=-1e-45, magnitude=magnitude, backend="native")[
                0
            ].tolist() == [[20] * 3]


@pytest.mark.parametrize(("S", "U", "P"), [(3, 5, 7), (40, 64, 49), (2, 3, 30_000), (300, 513, 1)])
@pytest.mark.parametrize("tokens", [False, True])
def test_threads_change_no_bit(S: int, U: int, P: int, tokens: bool) -> None:
    """Below and above the size from which threads are used."""
    x = activations(S, P, U).transpose(1, 2) if tokens else activations(S, U, P)
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            runs.append(check(x))
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_the_bits_of_a_row_do_not_depend_on_its_neighbours() -> None:
    x = activations(6, 9, 5003)
    whole = unit_stats(x, threshold=0.0, magnitude=False, backend="native")
    for part, rows in ((x[2:3], slice(2, 3)), (x[3:], slice(3, 6))):
        alone = unit_stats(part, threshold=0.0, magnitude=False, backend="native")
        assert all(torch.equal(a, b[rows]) for a, b in zip(alone, whole, strict=True))


def test_results_go_into_a_view_of_a_page_and_nowhere_else() -> None:
    x = activations(4, 7, 33)
    for backend in ("native", "eager", "naive"):
        page = torch.full((5, 9, 20), -7.0, dtype=torch.float64)
        unit_stats_into(page[:, 2:6, 5:12], x, threshold=0.1, magnitude=True, backend=backend)
        expected = unit_stats(x, threshold=0.1, magnitude=True, backend=backend)
        for row, stat in zip(page[:, 2:6, 5:12], expected, strict=True):
            assert torch.equal(row, stat.double())
        page[:, 2:6, 5:12] = -7.0
        assert (page == -7.0).all()


def test_a_page_whose_units_lie_apart_is_served_too() -> None:
    x = activations(4, 7, 33)
    page = torch.zeros(5, 4, 14, dtype=torch.float64)[..., ::2]
    unit_stats_into(page, x, threshold=0.1, magnitude=True, backend="native")
    expected = unit_stats(x, threshold=0.1, magnitude=True, backend="native")
    assert all(torch.equal(a, b.double()) for a, b in zip(page, expected, strict=True))


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 3, 7), (4, 4, 7), (5, 28)])
def test_a_page_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    for backend in ("native", "auto"):
        with pytest.raises(ActpruneError, match=r"float64 tensor of shape \(5, 4, 7\), got torch"):
            unit_stats_into(
                torch.zeros(shape, dtype=torch.float64), activations(4, 7, 3),
                threshold=0.0, magnitude=False, backend=backend,
            )  # fmt: skip
    with pytest.raises(ActpruneError, match=r"got torch\.float32 \(5, 4, 7\)"):
        unit_stats_into(torch.zeros(5, 4, 7), activations(4, 7, 3), threshold=0.0, magnitude=False)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Whether there is a compiler is asked anew, and again afterwards."""
    compiling.library.cache_clear()
    yield
    compiling.library.cache_clear()


def assert_served_without() -> None:
    x = activations(3, 5, 40)
    assert not native.available()
    with pytest.raises(ActpruneError, match="backend='native' needs a C compiler"):
        unit_stats(x, threshold=0.1, magnitude=False, backend="native")
    for got, expected in zip(
        unit_stats(x, threshold=0.1, magnitude=False), eager.unit_stats(x, 0.1, False), strict=True
    ):
        assert torch.equal(got, expected)


@pytest.mark.usefixtures("fresh")
class TestWithoutACompiler:
    @pytest.mark.parametrize("compiler", ["/nonexistent", "/bin/false", "no-such-compiler"])
    def test_that_works(
        self, compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", compiler)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert_served_without()

    def test_that_compiles(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It tells its version and then fails."""
        broken = tmp_path / "cc"
        broken.write_text('#!/bin/sh\n[ "$1" = --version ]\n')
        broken.chmod(0o755)
        monkeypatch.setenv("CC", str(broken))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert_served_without()
        assert not list((tmp_path / "cache" / "actprune" / "native").iterdir())

    def test_that_is_wanted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(compiling.DISABLE, "0")
        assert_served_without()

    def test_without_a_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nowhere(self: Path) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "expanduser", nowhere)
        assert_served_without()

    def test_a_cache_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert_served_without()

    @pytest.mark.parametrize(
        ("folder", "mode"), [("native", 0o770), ("native", 0o707), ("", 0o777)]
    )
    def test_a_cache_that_others_can_write(
        self, folder: str, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "actprune" / "native").mkdir(parents=True, mode=0o700)
        (tmp_path / "actprune" / folder).chmod(mode)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert_served_without()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("content", [b"", b"\x7fELF"])
def test_a_library_cut_short_is_made_anew(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler = shutil.which(os.environ.get("CC") or "cc")
    assert compiler is not None
    kept = compiling._folder() / f"native-{compiling._key(native.SOURCE, compiler)}.so"
    kept.write_bytes(content)
    assert native.available()
    check(activations(2, 3, 40))
    assert kept.stat().st_mode & 0o077 == 0


def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    """Each gets a library that works, and one is kept."""
    script = (
        "import sys; from pathlib import Path; from actprune.ops import native\n"
        "library = native.library(Path(sys.argv[1]))\n"
        "print(library is not None and bool(library.float32))"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(native.SOURCE)],
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["True"] * 2
    assert len(list((tmp_path / "actprune" / "native").iterdir())) == 1
