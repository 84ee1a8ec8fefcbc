from __future__ import annotations

import cProfile
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from site_models import TOKENS, VECTORS, mlp
from torch import Tensor, nn
from torch_pruning import dependency

from actprune.data.batch import as_batch
from actprune.sites import coupling
from actprune.sites.find import survey
from actprune.sites.guard import WorkExceededError, call_budget


@pytest.fixture
def walk(tmp_path: Path) -> Callable[[int | None], int]:
    """A function of a package `endless`; it makes so many calls, or never ends."""
    folder = tmp_path / "endless"
    folder.mkdir()
    source = (
        "def step(n):\n    return n + 1\n\n"
        "def walk(limit):\n    n = 0\n"
        "    while limit is None or n < limit:\n        n = step(n)\n    return n\n"
    )
    (folder / "walk.py").write_text(source)
    namespace: dict[str, Any] = {}
    exec(compile(source, str(folder / "walk.py"), "exec"), namespace)
    return namespace["walk"]


def test_an_endless_walk_ends(walk: Callable[[int | None], int]) -> None:
    with pytest.raises(WorkExceededError, match="more than 1000 calls of endless"):  # noqa: SIM117
        with call_budget(1000, "endless"):
            walk(None)
    assert sys.getprofile() is None


def test_the_budget_is_exact(walk: Callable[[int | None], int]) -> None:
    with call_budget(1000, "endless"):
        assert walk(999) == 999  # 999 steps, and the walk itself
    with pytest.raises(WorkExceededError), call_budget(1000, "endless"):
        walk(1000)


def test_calls_elsewhere_do_not_count(walk: Callable[[int | None], int]) -> None:
    with call_budget(5, "another"):
        assert walk(1000) == 1000


def test_a_profile_function_is_suspended_and_comes_back(
    walk: Callable[[int | None], int],
) -> None:
    def mine(*_: Any) -> None:
        pass

    before = sys.getprofile()
    sys.setprofile(mine)
    try:
        with call_budget(100, "endless"):
            assert sys.getprofile() is not mine
        assert sys.getprofile() is mine
        with pytest.raises(WorkExceededError), call_budget(100, "endless"):
            walk(None)
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(before)


def test_a_running_cprofile_goes_on() -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        with call_budget(100, "endless"):
            pass
        itertools.count()
        sorted([3, 1])
    finally:
        profiler.disable()
    names = {str(entry.code) for entry in profiler.getstats()}
    assert any("sorted" in name for name in names)


class Rotating(nn.Module):
    """Attention with rotary embeddings and shared keys, made by one layer: torch-pruning 1.6 walks
    it for ever."""

    def __init__(self, width: int = 16, heads: int = 4, groups: int = 2) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.qkv = nn.Linear(width, width + 2 * groups * self.size)
        self.o = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 32), nn.Linear(32, width)

    def rotated(self, x: Tensor) -> Tensor:
        half = self.size // 2
        return 0.6 * x + 0.8 * torch.cat((-x[..., half:], x[..., :half]), -1)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def repeated(self, x: Tensor) -> Tensor:
        b, _, t, d = x.shape
        times = self.heads // self.groups
        return x[:, :, None].expand(b, self.groups, times, t, d).reshape(b, self.heads, t, d)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = map(
            self.split, self.qkv(x).split([x.shape[-1], *[self.groups * self.size] * 2], -1)
        )
        weights = torch.softmax(
            self.rotated(q) @ self.repeated(self.rotated(k)).transpose(2, 3), -1
        )
        seen = (weights @ self.repeated(v)).transpose(1, 2)
        x = x + self.o(seen.reshape(*x.shape))
        return x + self.down(F.gelu(self.up(x)))


def test_a_search_for_couplings_that_does_not_end_is_a_refusal() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), Rotating(), Rotating(), nn.Linear(16, 3))

    found = survey(model, as_batch(TOKENS, 0))

    reasons = {r.layer: r.reason for r in found.refusals}
    for layer in ("1.qkv", "2.qkv"):
        assert reasons[layer] == "torch-pruning's search for its couplings does not end"
    assert [s.name for s in found.sites] == ["1.up", "2.up"]  # the rest is still found


def endless(*_: Any, **__: Any) -> None:
    """Stands for torch-pruning where its trace meets a cycle that it does not notice."""
    graph = dependency.DependencyGraph()
    while True:
        graph.is_out_channel_pruning_fn(endless)


def test_where_a_trace_does_not_end_interventions_still_find_sites(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependency.DependencyGraph, "build_dependency", endless)
    monkeypatch.setattr(coupling, "CALLS_A_MODULE", 100)
    model = mlp()
    found = survey(model, as_batch(VECTORS, 0))
    reason = "torch-pruning's trace of this model does not come to an end"
    assert [(s.name, s.obstacle) for s in found.sites] == [("0", None), ("2", None)]
    assert sorted(found.census.layers) == ["0", "2", "4"]
    assert [(r.layer, r.reason) for r in found.refusals] == [("4", reason)]
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.is_grad_enabled()
