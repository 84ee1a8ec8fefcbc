from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from profile_checks import assert_same_counts
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling import memory
from actprune.profiling.collect import profile
from actprune.profiling.gram import rooms as gram_rooms
from actprune.profiling.gram.drawing import drawn_positions
from actprune.profiling.gram.settings import GramSettings
from actprune.profiling.merge import merge
from actprune.profiling.result import FOLDS, Profile
from actprune.profiling.store import load_profile, save_profile
from actprune.profiling.subtract import subtract
from actprune.refit.independent import covariance

P, FEW = 24, 6


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 2))


@pytest.fixture
def tokens() -> Tensor:
    """150 samples of 24 positions, alike within a sample."""
    gen = torch.Generator().manual_seed(0)
    return torch.randn(150, 1, 4, generator=gen) + torch.randn(150, P, 4, generator=gen)


def test_positions_are_drawn_evenly_and_alike_whatever_the_batch() -> None:
    ids = torch.arange(5_000)
    at = drawn_positions(ids, P, FEW, seed=3)
    assert at.shape == (5_000, FEW)
    assert (at[:, 1:] > at[:, :-1]).all()  # ascending, without replacement
    assert torch.equal(drawn_positions(ids[7:9], P, FEW, seed=3), at[7:9])
    assert not torch.equal(drawn_positions(ids, P, FEW, seed=4), at)
    # each position, and each pair, as often as any other: five sigma of the binomial
    chosen = torch.zeros(5_000, P).scatter_(1, at, 1.0)
    for count, share in (
        (chosen.sum(0), FEW / P),
        ((chosen.T @ chosen)[~torch.eye(P).bool()], FEW * (FEW - 1) / (P * (P - 1))),
    ):
        sigma = (5_000 * share * (1 - share)) ** 0.5
        assert ((count - 5_000 * share).abs() <= 5 * sigma).all()


def test_errors_of_drawn_positions_cover_the_whole(model: nn.Module, tokens: Tensor) -> None:
    whole = profile(model, tokens, gram=True)
    off: list[np.ndarray] = []
    for seed in range(12):
        exact = profile(model, tokens, gram=True, seed=seed, like=whole)
        some = profile(model, tokens, gram=GramSettings(positions=FEW), seed=seed, like=whole)
        for x, y in zip(some.sites, exact.sites, strict=True):
            assert x.gram is not None
            assert y.gram is not None
            error = x.gram_stderr
            assert error is not None
            off.append(((x.gram - y.gram) / np.where(error > 0, error, np.inf)).ravel())
    z = np.concatenate(off)
    # The error is an upper bound in expectation: at least the normal's share lies within it, less
    # five sigma of 12 seeds x 2 sites x 3 folds, as if all entries of a matrix were one.
    assert (np.abs(z) <= 1.96).mean() >= 0.95 - 5 * (0.05 * 0.95 / 72) ** 0.5
    # and a bound that is of use: sum a_i^2 a_j^2 is not often below a tenth of its upper bound
    assert (z**2).mean() >= 0.1
    # unbiased: the mean of 72 matrices' errors
    assert abs(z.mean()) <= 5 / 72**0.5


def test_few_positions_are_taken_whole(model: nn.Module, tokens: Tensor) -> None:
    exact = profile(model, tokens, gram=True)
    for few in (P, 100):
        some = profile(model, tokens, gram=GramSettings(positions=few))
        for x, y in zip(some.sites, exact.sites, strict=True):
            assert np.array_equal(x.gram, y.gram)  # pyright: ignore
            assert x.gram_stderr is not None
            assert not x.gram_stderr.any()
            assert x.gram_drawn is not None
            for fold, part in enumerate(FOLDS):
                np.testing.assert_allclose(
                    x.gram_drawn[fold, 0],
                    y.total[list(part.value)].sum(0),
                    rtol=1e-4,  # float32 sums of 24 positions, which may cancel
                    atol=1e-3,
                )
    assert exact.sites[0].gram_stderr is not None
    assert not exact.sites[0].gram_stderr.any()
    assert profile(model, tokens).sites[0].gram_stderr is None


def test_drawn_matrices_do_not_depend_on_the_batch_and_add_up(
    model: nn.Module, tokens: Tensor
) -> None:
    for p in model.parameters():
        p.data = (2 * p.data).round()
    tokens = tokens[:, :9].round()
    net = nn.Sequential(model[0], nn.ReLU(), model[2], nn.Hardtanh(-4, 4), model[4])  # pyright: ignore
    # P / m = 3, and P (P - m) / (m (P - 1)) = 9 / 4: every sum is exact
    settings = GramSettings(positions=3)
    whole = profile(net, tokens, gram=settings, rule="positive")
    assert whole.identity.statistics == ("counts", "moments", "gram of 3 positions")
    assert_same_counts(profile(net, tokens, gram=settings, rule="positive", batch_size=7), whole)

    a, b = (
        profile(
            net, Arrays.of(tokens).where(lambda i, k=k: (i < 60) == (k == 0)),
            gram=settings, rule="positive",
        )
        for k in (0, 1)
    )  # fmt: skip
    rest = subtract(merge(a, b), b)
    for m, w, r, x in zip(merge(a, b).sites, whole.sites, rest.sites, a.sites, strict=True):
        for name in ("gram", "gram_drawn"):
            assert np.array_equal(getattr(m, name), getattr(w, name))
            assert np.array_equal(getattr(r, name), getattr(x, name))
    with pytest.raises(ActpruneError, match="must agree in statistics"):
        merge(a, profile(net, tokens[:2], gram=True, like=whole))


def test_drawn_covariances_have_no_negative_variance(model: nn.Module, tokens: Tensor) -> None:
    """The means are of the drawn positions too."""
    model[0].bias.data += 100.0  # pyright: ignore
    seen = profile(model, tokens, gram=GramSettings(positions=2))
    for s in seen.sites:
        cov = covariance(s, *FOLDS).numpy()
        # rounding of 300 products in float64, relative to the second moments
        assert np.linalg.eigvalsh(cov)[0] >= -1e-10 * s.second_moment.sum()


def test_a_plan_takes_drawn_and_narrow_matrices(model: nn.Module, tokens: Tensor) -> None:
    settings = GramSettings(positions=FEW, precision="float32", storage="float32")
    seen = profile(model, tokens, gram=settings)
    assert seen.sites[0].gram is not None
    assert seen.sites[0].gram.dtype == np.float32
    assert plan(model, seen, target="units=50%").sites


def test_narrow_matrices_are_near_the_exact_ones_and_come_back(
    model: nn.Module, tokens: Tensor, tmp_path: Path
) -> None:
    exact = profile(model, tokens, gram=True)
    for settings in (
        GramSettings(precision="float32"),
        GramSettings(storage="float32"),
        GramSettings(precision="float32", storage="float32"),
    ):
        seen = profile(model, tokens, gram=settings, batch_size=150)
        save_profile(seen, tmp_path / "p")
        assert_same_counts(load_profile(tmp_path / "p"), seen)
        assert seen.identity == exact.identity  # they may be merged
        for x, y in zip(seen.sites, exact.sites, strict=True):
            assert x.gram is not None
            assert y.gram is not None
            diagonal = np.sqrt(np.diagonal(y.gram, axis1=1, axis2=2))
            size = diagonal[:, :, None] * diagonal[:, None, :]  # at least the products' sizes
            # 3,600 terms in float32, of products of float32, and one addition in float32
            share = 3602 * 2.0**-24 / (1 - 3602 * 2.0**-24)
            assert (np.abs(x.gram - y.gram) <= share * size).all()


def test_matrices_in_files_are_the_same(profiled: Callable[..., Profile], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    in_memory = profiled(0, 150, gram=True)
    in_files = profiled(0, 150, gram=GramSettings(offload=scratch))
    assert_same_counts(in_files, in_memory)
    assert isinstance(in_files.sites[0].gram, np.memmap)
    assert not list(scratch.iterdir())  # nothing is left, even if the process is killed
    save_profile(in_files, tmp_path / "p")
    assert_same_counts(load_profile(tmp_path / "p"), in_memory)
    halves = [profiled(*r, gram=GramSettings(offload=scratch)) for r in ((0, 70), (70, 150))]
    assert_same_counts(merge(*halves), in_memory, first=False)


def test_too_little_room_is_said_beforehand(
    profiled: Callable[..., Profile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 2 * 8 * 3 * (6**2 + 5**2)  # two copies of both sites' matrices
    monkeypatch.setattr(gram_rooms, "free_memory", lambda device: needed)
    profiled(0, 150, gram=True)
    monkeypatch.setattr(gram_rooms, "free_memory", lambda device: needed - 1)
    with pytest.raises(
        ActpruneError, match=r"Gram matrices of 2 sites need 0\.0 GB, and 0\.0 GB are free; pro"
    ):
        profiled(0, 150, gram=True)
    profiled(0, 150, gram=GramSettings(offload=tmp_path))
    profiled(0, 150, gram=GramSettings(storage="float32"))
    profiled(0, 150)

    full = SimpleNamespace(free=needed // 2 - 1)
    monkeypatch.setattr(gram_rooms.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(ActpruneError, match="Gram matrices of 2 sites need"):
        profiled(0, 150, gram=GramSettings(offload=tmp_path))


def test_a_huge_matrix_is_refused_and_not_attempted() -> None:
    """2^18 units would take 1.6 TB, twice."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(1, 2**18), nn.Linear(2**18, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.relu(self.a(x)))

    with pytest.raises(ActpruneError, match=r"Gram matrices of 1 sites? need \d+\.\d GB, and .* "):
        profile(Wide(), torch.zeros(4, 1), gram=True)


def test_free_memory_is_the_least_of_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (memory.free_memory(torch.device("cpu")) or 1) > 0
    for told, expected in (((5, 7), 5), ((None, 7), 7), ((5, None), 5), ((None, None), None)):
        monkeypatch.setattr(memory, "_meminfo", lambda t=told: t[0])
        monkeypatch.setattr(memory, "_left_to_cgroup", lambda t=told: t[1])
        assert memory.free_memory(torch.device("cpu")) == expected
    memory.check_room(10, None, "x", "y")  # where nobody tells, nothing is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "precision must be one of float64, float32, .*got 'float16'"),
        ({"storage": "bfloat16"}, "storage must be one of float64, float32, got 'bfloat16'"),
        ({"positions": 0}, "positions must be at least 1, got 0"),
        ({"offload": "/no/such/folder"}, "offload='/no/such/folder' is no folder"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ActpruneError, match=message):
        GramSettings(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_precisions_of_a_gpu_are_refused_without_one(profiled: Callable[..., Profile]) -> None:
    with pytest.raises(ActpruneError, match="precision='tf32' needs a CUDA device"):
        profiled(0, 150, gram=GramSettings(precision="tf32"))
